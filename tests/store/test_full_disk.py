"""A store without room, by configuration or on a real full disk: nothing lost, and it goes on."""

import asyncio
import errno
import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pytest
from aiohttp import ClientSession

from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import check_sound, rows
from tests.webapp import CHUNK
from trials.clients import Answer
from trials.serving import ServerProcess

pytestmark = pytest.mark.file

MEBIBYTE = 1 << 20
LARGE = "/stream?chunks=48"  # 3 MiB


async def offered(client: Client, size: int, **headers: str) -> Answer:
    """Offer a job whose request has a body."""
    headers = headers or {"x-arango-async": "store"}
    return await client("POST", "/echo", data=BytesIO(bytes(size)), headers=headers)


# --- bounded by configuration -------------------------------------------------------------------


async def test_a_submission_that_does_not_fit_is_refused_for_now_and_nothing_stays_of_it(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, store={"max_size": "4MiB"})
    client = Client(http, server.url)
    arango = await offered(client, 8 * MEBIBYTE)
    assert (arango.status, arango.headers["Retry-After"]) == (503, "1")
    said = json.loads(arango.body)
    assert (said["errorNum"], said["errorMessage"]) == (1104, "the store is as large as it may get")
    native = await offered(client, 8 * MEBIBYTE, Prefer="respond-async")
    assert (native.status, native.headers["Retry-After"]) == (503, "1")
    assert (
        b"there is no space left to write: it is as large as [store] max_size allows" in native.body
    )
    await server.store.upkeep.sweep()
    assert rows(store_path, "SELECT (SELECT count(*) FROM job), count(*) FROM body") == [(0, 0)]
    small = await client.submit("/echo", "POST", data=b"small")
    assert (await client.fetched(small)).body == b"small"
    check_sound(store_path)


async def test_a_result_that_does_not_fit_is_kept_until_it_does(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, store={"max_size": "8MiB"})
    client = Client(http, server.url)
    first, second = await client.done(LARGE), await client.done(LARGE)
    third = await client.submit(LARGE)
    while rows(store_path, "SELECT count(*) FROM chunk WHERE body_id = 3") != [(4,)]:
        assert (await client("GET", f"/_api/job/{third}")).status == 204
    assert (await offered(client, MEBIBYTE)).status == 503
    assert (await client("DELETE", f"/_api/job/{first}")).status == 200
    await server.store.upkeep.sweep()
    for job_id in (second, third):
        assert (await client.fetched(job_id)).body == CHUNK * 48
    check_sound(store_path)


async def test_a_full_store_takes_jobs_again_when_results_were_deleted(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY, store={"max_size": "4MiB"}, retention={"fetched": 0})
    client = Client(http, server.url)
    accepted = 0
    while (answer := await offered(client, 500_000)).status == 202:
        accepted += 1
    assert (answer.status, accepted > 0) == (503, True)
    await client("DELETE", "/_api/job/all")
    while (answer := await offered(client, 500_000)).status == 503:
        await client("DELETE", "/_api/job/all")
        await server.store.upkeep.purge(before=2**62)
        await server.store.upkeep.sweep()
    assert (await client.fetched(int(answer.headers["x-arango-async-id"]))).body == bytes(500_000)
    check_sound(store_path)


# --- a disk that is full ------------------------------------------------------------------------


def grow(file: BinaryIO) -> None:
    """Write on and on."""
    while file.write(bytes(4096)):
        pass


class SmallDisk(ServerProcess):
    """A real server whose store lies on a disk of 16 MiB, which nobody else sees.

    The disk is a tmpfs in a mount namespace of the server's own, so that it goes with the server.

    Args:
        folder: where the disk is mounted.
        arguments: further arguments of ``jobstore serve``.
    """

    def __init__(self, folder: Path, *arguments: str) -> None:
        super().__init__(folder / "jobs.db", *arguments)
        self._folder = folder

    @staticmethod
    def mounting(folder: Path) -> list[str]:
        """Return what mounts such a disk and then runs the command that is appended."""
        own = () if os.geteuid() == 0 else ("--map-root-user",)
        mount = 'mount -t tmpfs -o size=16m tmpfs "$0" && exec "$@"'
        return ["unshare", "--mount", *own, "sh", "-c", mount, str(folder)]

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [*self.mounting(self._folder), *super().command]

    @property
    def disk(self) -> Path:
        """The disk, as seen from here."""
        return Path(f"/proc/{self.process.pid}/root{self._folder}")

    def fill(self) -> None:
        """Leave no room on the disk."""
        with (
            (self.disk / "filler").open("wb", buffering=0) as filler,
            pytest.raises(OSError, match=os.strerror(errno.ENOSPC)),
        ):
            grow(filler)

    def leave(self, pages: int) -> None:
        """Leave room for so many pages on a disk that is full."""
        filler = self.disk / "filler"
        os.truncate(filler, filler.stat().st_size - pages * 4096)

    def make_room(self) -> None:
        """Take what filled the disk away."""
        (self.disk / "filler").unlink()

    def copied_to(self, folder: Path) -> Path:
        """Copy the store of the idle server, since SQLite finds no way to it; return the copy."""
        for name in ("jobs.db", "jobs.db-wal"):
            shutil.copy(self.disk / name, folder)
        return folder / "jobs.db"

    def says(self, words: str) -> bool:
        """Tell whether it has logged something."""
        return words in "".join(self.output)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder on which a disk may be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    probe = subprocess.run(
        [*SmallDisk.mounting(folder), "true"], check=False, capture_output=True, text=True
    )
    if probe.returncode:
        pytest.skip(f"no disk can be mounted here: {probe.stderr.strip()}")
    return folder


@dataclass
class Patient:
    """A service that answers with 3 MiB, but only when it may."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    may: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked.set()
        await self.may.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 * MEBIBYTE))
        writer.write(bytes(3 * MEBIBYTE))


async def test_on_a_full_disk_nothing_is_lost_and_with_room_again_all_goes_on(
    folder: Path, services: Services, http: ClientSession
) -> None:
    service, config = Patient(), folder.with_name("config.toml")
    config.write_text(
        '[[target]]\napp = "jobstore.demo:create_app"\n'
        f'[[target]]\nprefix = "/slow"\nupstream = "{await services.listen(service.talk)}"\n'
        '[retention]\ninterval = "1h"\n'
    )
    server = SmallDisk(folder, "--config", str(config))
    await server.start()
    client = Client(http, server.url)
    accepted = [await client.done("/echo", "POST", data=b"held") for _ in range(5)]
    running = await client.submit("/slow")
    await service.asked.wait()

    server.fill()
    while (answer := await offered(client, 300_000)).status == 202:
        accepted.append(int(answer.headers["x-arango-async-id"]))
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    service.may.set()
    while not server.says("there is no space left to write; trying again"):
        assert (await client("GET", f"/_api/job/{running}")).status == 204
    assert (await client("GET", "/_api/version")).status == 200
    asked = {held: (await client("PUT", f"/_api/job/{held}")).status for held in accepted[:5]}
    assert set(asked.values()) <= {200, 503}

    server.make_room()
    assert (await client.fetched(running)).body == bytes(3 * MEBIBYTE)
    for job_id in [job_id for job_id in accepted if asked.get(job_id) != 200]:
        assert (await client.fetched(job_id)).body in (b"held", bytes(300_000))
    last = await client.submit("/echo", "POST", data=b"last")
    assert (await client.fetched(last)).body == b"last"
    check_sound(server.copied_to(folder))
    assert await server.terminate() == 0


async def test_however_little_room_there_is_whoever_waits_for_a_result_is_told_of_the_job(
    folder: Path, http: ClientSession
) -> None:
    server = SmallDisk(folder)
    await server.start()
    client = Client(http, server.url)
    waiting = {"Prefer": "respond-async, wait=1"}
    accepted = []
    # A submission writes 7 pages, the end of a job 8, and taking its result 5.
    for pages in range(4, 24, 2):
        server.fill()
        server.leave(pages)
        answer = await client("POST", "/echo", data=b"told", headers=waiting)
        assert answer.status in {200, 202, 503}
        assert answer.status != 200 or answer.body == b"told"
        if answer.status == 202:
            accepted.append(json.loads(answer.body)["id"])
        server.make_room()
    for job_id in accepted:
        assert (await client.fetched(job_id)).body == b"told"
    assert await server.terminate() == 0
