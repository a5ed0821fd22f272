"""A server goes on without those who read what it prints, and says truly that it stops."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import GATED, Client
from tests.conftest import Serve, Start
from tests.stores import states
from trials.serving import jobstore


@asynccontextmanager
async def piped(store_path: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a server whose output and log are pipes."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *jobstore(store_path, "--open"),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_reader_of_the_first_line_only_does_not_end_the_server(
    store_path: Path, http: ClientSession
) -> None:
    async with piped(store_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        line = (await process.stdout.readline()).decode()
        url = line.partition(" listens on ")[2].partition(",")[0]
        for end in (1, 2):
            pipe = process._transport.get_pipe_transport(end)  # type: ignore[attr-defined] # noqa: SLF001
            pipe.close()
        for _ in range(5):  # each writes a line of the log
            process.send_signal(signal.SIGHUP)
            assert (await Client(http, url)("GET", "/_api/version")).status == 200
        process.terminate()
        assert await process.wait() == 0


async def test_a_reader_of_a_command_who_has_enough_is_no_failure(tmp_path: Path) -> None:
    shell = f"cd {tmp_path}; {sys.executable} -m jobstore migrate >&2 &&"
    shell += f"{{ {sys.executable} -m jobstore history; echo $? >&2; }} | true"
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", shell, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert said.decode().splitlines()[1:] == ["0"]


async def test_who_submits_while_the_server_stops_is_told_so_and_when_to_come_back(
    serve: Serve, http: ClientSession, store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1})
    client, hurry = Client(http, server.url), asyncio.Event()
    running = await client.submit("/wait/a")
    await client.when("a", "started")
    waiting = await client.submit("/wait/b")
    with caplog.at_level("INFO"):
        draining = asyncio.create_task(server.drain(hurry))
        while (await client("GET", "/_jobs/readyz")).status == 200:
            pass
    assert any(
        line.startswith("1 job is running; waiting for them until ")
        and line.endswith("; 1 queued job stays for the next start")
        for line in caplog.messages
    )
    by_header = await client("GET", "/wait/c", headers={"x-arango-async": "store"})
    assert by_header.json() == {
        "error": True,
        "code": 503,
        "errorNum": 21003,
        "errorMessage": "the server is shutting down",
    }
    preferred = await client("GET", "/wait/c", headers={"Prefer": "respond-async"})
    native = await client("POST", "/_jobs", json={"target": "/wait/c"})
    for refused in (by_header, preferred, native):
        assert (refused.status, int(refused.headers["Retry-After"]) > 0) == (503, True)
        assert b"shutting down" in refused.body
    await client.let("a")
    await draining
    assert states(store_path) == {running: ("done", "held"), waiting: ("queued", "none")}


async def test_a_second_signal_ends_the_wait(
    server_process: Start, http: ClientSession, store_path: Path
) -> None:
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    job_id = await client.submit("/wait/a", "POST")
    await client.when("a", "started")
    server.process.send_signal(signal.SIGTERM)
    await server.logged("1 job is running; waiting for them until")
    server.process.send_signal(signal.SIGTERM)
    assert await server.process.wait() == 0
    assert states(store_path) == {job_id: ("running", "none")}
