"""What keeps the real command from serving: it says so in a sentence, and changes nothing."""

import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.store.sqlite.engine import SCHEMA_VERSION
from tests.client import Client
from tests.commands import overwrite
from tests.conftest import Start
from tests.stores import prepare
from trials.nursery import ran

Refused = Callable[..., tuple[int, str]]


@pytest.fixture
def refused(nursery: Path | None, tmp_path: Path) -> Refused:
    """Give a function that starts a server that cannot serve.

    It returns the exit code, and the complaint.
    """
    del nursery  # which only has to be there

    def start(*arguments: object) -> tuple[int, str]:
        log = tmp_path / "complaint"
        log.unlink(missing_ok=True)
        code, printed = ran(["serve", *map(str, arguments)], log)
        complaint = log.read_text()
        assert printed == b""
        assert "Traceback" not in complaint
        return code, complaint

    return start


def missing(path: Path) -> None:
    """Let it be missing, with its folder."""
    path.parent.rmdir()


def text(path: Path) -> None:
    """Write a letter."""
    path.write_text("Dear diary, this is no database at all.\n" * 100)


def foreign(path: Path) -> None:
    """Make a database of somebody else's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE job (id INTEGER PRIMARY KEY)")


def newer(path: Path) -> None:
    """Make a store as a later version may."""
    prepare(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 9999")


def damaged(path: Path) -> None:
    """Make a store and overwrite its first tree."""
    prepare(path)
    overwrite(path, 100, bytes(3000))


def truncated(path: Path) -> None:
    """Make a store and lose its second half."""
    prepare(path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (missing, "its folder does not exist"),
        (Path.mkdir, "this is not a file"),
        (text, "this is not a jobstore file; nothing was changed"),
        (foreign, "this is not a jobstore file; nothing was changed"),
        (
            newer,
            f"its schema version is 9999, this jobstore knows versions up to {SCHEMA_VERSION};",
        ),
        (damaged, "the file is damaged"),
        (truncated, "the file is damaged"),
    ],
    ids=["missing", "folder", "text", "foreign", "newer", "damaged", "truncated"],
)
def test_a_file_that_is_no_usable_store_is_refused_and_left_as_it_is(
    refused: Refused, tmp_path: Path, make: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "stores" / "jobs.db"
    path.parent.mkdir()
    make(path)
    before = path.read_bytes() if path.is_file() else None
    code, complaint = refused("--store", path, "--port", 0)
    assert (code, complaint.startswith("jobstore: ")) == (1, True)
    assert f"{path}: " in complaint
    assert sentence in complaint
    assert (path.read_bytes() if path.is_file() else None) == before


async def test_a_second_server_on_the_same_file_is_told_the_firsts_pid_and_disturbs_nothing(
    refused: Refused, server_process: Start, store_path: Path, http: ClientSession
) -> None:
    first = await server_process()
    client = Client(http, first.url)
    job_id = await client.done("/_api/version")
    code, complaint = refused("--store", store_path, "--port", 0)
    assert (
        code,
        f"the server with process id {first.process.pid} is using this store" in complaint,
    ) == (
        1,
        True,
    )
    assert (await client.fetched(job_id)).status == 200


async def test_what_a_killed_server_leaves_behind_keeps_nobody_out(
    server_process: Start, http: ClientSession
) -> None:
    first = await server_process()
    job_id = await Client(http, first.url).done("/_api/version")
    await first.kill()
    second = await server_process()
    assert (await Client(http, second.url).fetched(job_id)).status == 200


def test_an_address_that_cannot_be_used_is_refused_before_the_store_is_made(
    refused: Refused,
    store_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, complaint = refused("--store", store_path, "--port", port)
    assert (code, f"cannot listen on 127.0.0.1:{port}: Address already in use" in complaint) == (
        1,
        True,
    )
    code, complaint = refused("--store", store_path, "--host", "192.0.2.1", "--port", 0)
    assert (code, "cannot listen on 192.0.2.1:0: " in complaint) == (1, True)
    assert not store_path.exists()


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("[executor]\nconcurency = 1\n", "[executor] concurency: no such key; did you mean conc"),
        ("[exekutor]\nconcurrency = 1\n", "did you mean [executor]"),
        ('[log]\nlevel = "loud"\n', '[log] level: expected "debug", "info", "warning" or "error"'),
        ("[server\n", "expected TOML"),
        ('[[target]]\napp = "no.such.module:app"\n', "cannot load the application no.such.module"),
        ('[[target]]\napp = "os:getcwd"\n', "os:getcwd returns str; expected an aiohttp Applicati"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_file_and_key(
    refused: Refused, tmp_path: Path, config: str, sentence: str
) -> None:
    file = tmp_path / "jobstore.toml"
    file.write_text(config)
    code, complaint = refused("--config", file, "--store", tmp_path / "jobs.db", "--port", 0)
    assert (code, sentence in complaint) == (1, True), complaint


def test_a_flag_that_does_not_exist_is_wrong_usage(refused: Refused, store_path: Path) -> None:
    code, complaint = refused("--store", store_path, "--prot", "80")
    assert (code, "--port" in complaint) == (2, True)
    code, complaint = refused("--upstream", "http://127.0.0.1:1", "--app", "a:b")
    assert (code, "cannot be used together" in complaint) == (2, True)
