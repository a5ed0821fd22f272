"""A store whose files are removed or replaced under its server: noticed before the next answer."""

import shutil
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Start
from tests.stores import check_sound, prepare, rows
from trials.serving import ServerProcess

pytestmark = pytest.mark.file

FILES = ["jobs.db", "jobs.db-wal", "jobs.db-shm"]
ASYNC = {"x-arango-async": "store"}


def files(folder: Path) -> dict[str, bytes]:
    """Read all files that a folder has."""
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def elsewhere(folder: Path) -> Path:
    """Make another store, and give its folder."""
    other = folder / "other"
    other.mkdir()
    prepare(other / "jobs.db")
    for name in FILES[1:]:  # which an idle store does not have
        (other / name).write_bytes(b"of another store")
    return other


def moved(path: Path, name: str) -> Path:
    """Move a file to another name beside it."""
    return path.rename(path.with_name(name))


async def holding(start: Start, http: ClientSession) -> tuple[ServerProcess, Client, int]:
    """Start a server that holds a result; return it, a client of it, and the job's id."""
    server = await start()
    client = Client(http, server.url)
    return server, client, await client.done("/echo", "POST", data=b"held")


async def notices(server: ServerProcess, client: Client, held: int, name: str) -> None:
    """Check that a server has noticed what became of a file, and says so to everyone."""
    looks = ["/_jobs", f"/_jobs/{held}", f"/_api/job/{held}", "/_api/job/done", "/_jobs/readyz"]
    assert (await client("POST", "/echo", data=b"late", headers=ASYNC)).status == 503
    assert (await client("PUT", f"/_api/job/{held}")).status == 503
    assert {path: (await client("GET", path)).status for path in looks} == dict.fromkeys(looks, 503)
    await server.logged(name)
    assert len([line for line in server.output if " ERROR " in line and name in line]) == 1


@pytest.mark.parametrize("name", FILES)
async def test_a_file_that_is_removed_is_noticed_before_the_next_answer(
    server_process: Start, store_path: Path, http: ClientSession, name: str
) -> None:
    server, client, held = await holding(server_process, http)
    store_path.with_name(name).unlink()
    await notices(server, client, held, f"{name} was removed")
    assert await server.terminate() == 0


@pytest.mark.parametrize("name", FILES)
async def test_a_file_in_the_place_of_ours_is_never_written(
    server_process: Start, store_path: Path, tmp_path: Path, http: ClientSession, name: str
) -> None:
    server, client, held = await holding(server_process, http)
    other = elsewhere(tmp_path)
    shutil.copy(other / name, other / "copy")
    (other / "copy").rename(store_path.with_name(name))
    before = files(tmp_path)
    await notices(server, client, held, f"{name} was replaced")
    assert await server.terminate() == 0
    after = files(tmp_path)
    assert after[name] == before[name]


async def test_a_whole_other_store_in_the_place_of_ours_is_never_written(
    server_process: Start, store_path: Path, tmp_path: Path, http: ClientSession
) -> None:
    server, client, held = await holding(server_process, http)
    other, aside = elsewhere(tmp_path), tmp_path / "aside"
    aside.mkdir()
    for name in FILES:
        store_path.with_name(name).rename(aside / name)
        (other / name).rename(store_path.with_name(name))
    before = {name: store_path.with_name(name).read_bytes() for name in FILES}
    await notices(server, client, held, "jobs.db was replaced")
    assert await server.terminate() == 0
    assert {name: store_path.with_name(name).read_bytes() for name in FILES} == before
    assert rows(aside / "jobs.db", "SELECT id, result FROM job") == [(held, "held")]


@pytest.mark.parametrize("name", ["jobs.db-wal", "jobs.db-shm"])
@pytest.mark.parametrize("noticed", [True, False], ids=["noticed", "not noticed"])
async def test_what_was_acknowledged_outlives_the_loss_of_the_write_ahead_log(
    server_process: Start, store_path: Path, http: ClientSession, name: str, *, noticed: bool
) -> None:
    server = await server_process()
    client = Client(http, server.url)
    held = [await client.done("/echo", "POST", data=b"held") for _ in range(3)]
    store_path.with_name(name).unlink()
    if noticed:
        await notices(server, client, held[0], name)
    assert await server.terminate() == 0
    check_sound(store_path)
    again = await server_process()
    for job_id in held:
        assert (await Client(http, again.url).fetched(job_id)).body == b"held"


async def test_a_store_that_was_moved_away_takes_all_that_was_acknowledged_along(
    server_process: Start, store_path: Path, http: ClientSession
) -> None:
    server, client, held = await holding(server_process, http)
    away = moved(store_path, "away.db")
    await notices(server, client, held, "jobs.db was removed")
    assert await server.terminate() == 0
    assert rows(away, "SELECT id, result FROM job") == [(held, "held")]
    assert "jobs.db" not in files(store_path.parent)


async def test_a_store_is_missed_even_if_nobody_asks_for_anything(
    server_process: Start, store_path: Path
) -> None:
    server = await server_process()
    moved(store_path, "away.db")
    await server.logged("jobs.db was removed")
    assert await server.terminate() == 0


async def test_a_store_comes_back_with_a_new_start_of_its_server(
    server_process: Start, store_path: Path, http: ClientSession
) -> None:
    server, client, held = await holding(server_process, http)
    away = moved(store_path, "away.db")
    assert (await client("POST", "/echo", data=b"late", headers=ASYNC)).status == 503
    moved(away, "jobs.db")
    assert (await client("POST", "/echo", data=b"late", headers=ASYNC)).status == 503
    assert await server.terminate() == 0
    again = await server_process()
    assert (await Client(http, again.url).fetched(held)).body == b"held"
    assert rows(store_path, "SELECT count(*) FROM job") == [(1,)]
