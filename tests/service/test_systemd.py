"""What systemd hands over and hears: sockets, and that all is well as long as it is."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession, UnixConnector

from jobstore.model.errors import CannotListen
from jobstore.service.inherited import inherited
from jobstore.service.systemd import NOBODY, Supervisor
from tests.client import Client
from tests.conftest import Start
from tests.packages import needs
from tests.stores import held_up
from trials.clients import client


class Ear:
    """Where a server's words go, in the place of systemd's.

    Args:
        path: the socket.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0)
        self.heard: list[str] = []

    async def hear(self, word: str) -> str:
        """Wait until something is told that begins so, and give all of it; it is told once."""
        loop = asyncio.get_running_loop()
        while True:
            for line in self.heard:
                if line.startswith(word):
                    self.heard.remove(line)
                    return line
            self.heard += (await loop.sock_recv(self._socket, 4096)).decode().splitlines()

    def forget(self) -> None:
        """Forget what was told so far."""
        self.words("")
        self.heard.clear()

    def words(self, word: str) -> int:
        """Count what has been told by now that begins so."""
        with suppress(BlockingIOError):
            while True:
                self.heard += self._socket.recv(4096).decode().splitlines()
        return sum(line.startswith(word) for line in self.heard)

    def close(self) -> None:
        """Hear nothing more."""
        self._socket.close()


@pytest.fixture
def ear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ear]:
    path = tmp_path / "notify.sock"
    listening = Ear(path)
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    yield listening
    listening.close()


async def test_a_server_says_that_it_is_ready_what_it_does_and_that_it_stops(
    server_process: Start, ear: Ear, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSTORE_EXECUTOR__DRAIN", "20s")
    server = await server_process("--app", "tests.gates:create_app")
    assert await ear.hear("EXTEND_TIMEOUT_USEC") == "EXTEND_TIMEOUT_USEC=60000000"
    assert await ear.hear("STATUS") == "STATUS=0 queued, 0 running"
    assert await ear.hear("READY=1")
    gates = Client(http, server.url)
    await gates.submit("/wait/a", "POST")
    await gates.when("a", "started")
    server.process.send_signal(signal.SIGHUP)
    assert await ear.hear("RELOADING=1")
    assert int((await ear.hear("MONOTONIC_USEC")).partition("=")[2]) > 0
    assert await ear.hear("READY=1")
    server.process.send_signal(signal.SIGTERM)
    assert await ear.hear("STOPPING=1")
    while "1 job is running; waiting for them until" not in await ear.hear("STATUS"):
        pass
    assert await ear.hear("EXTEND_TIMEOUT_USEC") == "EXTEND_TIMEOUT_USEC=80000000"
    await gates.let("a")
    assert await server.process.wait() == 0


async def test_that_all_is_well_is_said_only_while_the_writer_works(
    server_process: Start,
    ear: Ear,
    store_path: Path,
    http: ClientSession,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000")
    server = await server_process()
    for _ in range(3):
        await ear.hear("WATCHDOG=1")
    client = Client(http, server.url)
    async with held_up(store_path):  # another process has the file, so that the writer waits
        submitting = asyncio.create_task(client.submit("/_api/version"))
        await client("GET", "/_api/job/pending")
        ear.forget()
        for _ in range(100):
            await client("GET", "/_api/version")  # the loop is well
        assert ear.words("WATCHDOG=1") <= 1  # which was on its way
    await submitting
    await ear.hear("WATCHDOG=1")


@pytest.mark.parametrize(
    ("environment", "listens", "pulse"),
    [
        ({}, False, None),
        ({"NOTIFY_SOCKET": "elsewhere"}, False, None),
        ({"NOTIFY_SOCKET": "/run/x"}, True, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "30000000"}, True, 10.0),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "3", "WATCHDOG_PID": "1"}, True, None),
        ({"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "often"}, True, None),
        ({"WATCHDOG_USEC": "3"}, False, None),
    ],
)
def test_nobody_is_told_anything_who_has_not_asked(
    environment: dict[str, str], listens: bool, pulse: float | None
) -> None:
    supervisor = Supervisor(environment)
    assert (supervisor.listens, supervisor.pulse) == (listens, pulse)
    supervisor.ready()
    NOBODY.ready()


def test_a_name_that_is_no_file_is_reached_too() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(f"\0jobstore-test-{os.getpid()}")
        Supervisor({"NOTIFY_SOCKET": f"@jobstore-test-{os.getpid()}"}).status("two\nlines")
        assert listening.recv(100) == b"STATUS=two lines"


# --- sockets ------------------------------------------------------------------------------------


@asynccontextmanager
async def activated(*options: str, folder: Path) -> AsyncIterator[None]:
    """Have systemd's own program listen, and start the server with the first connection."""
    process = await asyncio.create_subprocess_exec(
        "systemd-socket-activate", *options, sys.executable, "-m", "jobstore", "serve",
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        while b"Listening on" not in await process.stdout.readline():
            pass
        yield
    finally:
        process.terminate()
        await process.communicate()


@needs("systemd-socket-activate", package="systemd")
async def test_the_first_connection_starts_a_server_on_sockets_that_are_there_already(
    tmp_path: Path,
) -> None:
    main, admin = tmp_path / "main.sock", tmp_path / "admin.sock"
    options = ["-l", str(main), "-l", str(admin), "--fdname=http:admin"]
    async with (
        activated(*options, folder=tmp_path),
        client(connector=UnixConnector(str(main))) as http,
        client(connector=UnixConnector(str(admin))) as operators,
    ):
        jobs, probes = Client(http, "http://localhost"), Client(operators, "http://localhost")
        job_id = await jobs.done("/_api/version")
        assert (await jobs.fetched(job_id)).status == 200
        assert (await jobs("GET", "/_jobs/readyz")).status == 404
        assert (await probes("GET", "/_jobs/readyz")).status == 200
        assert (await probes("GET", "/_jobs")).status == 404
    assert main.exists()  # it was not the server's own


def handed_over(*sockets: socket.socket, names: str = "", code: str) -> str:
    """Run code in a process that has sockets from the number 3 on; return what it prints."""
    script = (
        "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid());"
        "from jobstore.model.errors import CannotListen;"
        "from jobstore.service.inherited import inherited\n"
        f"{code}"
    )
    shell = "".join(f" {3 + place}<&{each.fileno()}" for place, each in enumerate(sockets))
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {shell}', sys.executable, script],
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names},
        pass_fds=[each.fileno() for each in sockets],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip


def test_what_was_handed_over_is_told_apart_by_its_names() -> None:
    code = (
        "with inherited(os.environ, secure=False) as found:\n"
        "    print(len(found.main), len(found.admin), 'LISTEN_FDS' in os.environ)\n"
        "    print(found.main[0].socket.get_inheritable())\n"
    )
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
    ):
        assert handed_over(one, two, names="x:admin", code=code) == "1 1 False\nFalse\n"
        assert handed_over(one, two, code=code) == "2 0 False\nFalse\n"


def test_what_nobody_can_connect_to_is_refused() -> None:
    code = (
        "try:\n    with inherited(os.environ, secure=False): pass\n"
        "except CannotListen as error: print(error)\n"
    )
    with socket.socket() as unbound, socket.socket(type=socket.SOCK_DGRAM) as datagrams:
        for wrong in (unbound, datagrams):
            said = handed_over(wrong, code=code)
            assert "descriptor 3, passed by systemd: clients cannot connect to it" in said
    with Path(__file__).open() as file:
        assert "this is not a socket" in handed_over(file, code=code)  # type: ignore[arg-type]


def test_what_was_handed_to_another_process_is_left_alone() -> None:
    environment = {"LISTEN_PID": "1", "LISTEN_FDS": "1"}
    with inherited(environment, secure=False) as found:
        assert found.main == found.admin == []
    assert environment == {}
    with (
        pytest.raises(CannotListen),
        inherited({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "64"}, secure=False),
    ):
        pass
