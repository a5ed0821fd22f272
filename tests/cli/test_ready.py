"""The command that asks a server whether it takes jobs in."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.commands import refused, said, start
from tests.conftest import Start

NOWHERE = "http://127.0.0.1:1"


async def test_a_server_that_is_ready_gives_exit_code_0(server_process: Start) -> None:
    server = await server_process()
    for url in (server.url, f"{server.url}/"):
        assert await asyncio.to_thread(said, "ready", "--url", url) == f"{url} is ready\n"


async def test_without_a_url_the_configured_server_is_asked(
    server_process: Start, tmp_path: Path
) -> None:
    server = await server_process()
    config = tmp_path / "jobstore.toml"
    config.write_text(f'[server]\nhost = "0.0.0.0"\nport = {server.url.rpartition(":")[2]}\n')
    told = await asyncio.to_thread(said, "ready", "--config", config)
    assert told == f"{server.url} is ready\n"


async def test_a_server_that_freezes_is_not_ready(server_process: Start) -> None:
    server = await server_process()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        told = await asyncio.to_thread(refused, "ready", "--url", server.url, "--wait", "500ms")
        assert told.startswith(f"jobstore: {server.url} is not ready: no answer came within ")
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert await asyncio.to_thread(said, "ready", "--url", server.url, "--wait", "10m")


async def test_a_server_that_comes_is_waited_for(server_process: Start) -> None:
    server = await server_process()
    url = server.url
    await server.kill()
    asked = start("ready", "--url", url, "--wait", "10m")
    again = await server_process("--port", url.rpartition(":")[2])
    out, err = await asyncio.to_thread(asked.communicate)
    assert (asked.returncode, out.decode(), err) == (0, f"{again.url} is ready\n", b"")


def test_where_nobody_listens_nobody_is_ready() -> None:
    words = f"jobstore: {NOWHERE} is not ready: Connection refused\n"
    assert refused("ready", "--url", NOWHERE) == words
    assert refused("ready", "--url", NOWHERE, "--wait", "10ms") == words


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--url", "localhost:8529"), "expected a URL such as http://127.0.0.1:8529"),
        (("--url", "ftp://localhost"), "expected a URL such as http://127.0.0.1:8529"),
        (("--url", "http://"), "expected a URL such as http://127.0.0.1:8529"),
        (("--url", "http://localhost:x"), "expected a URL such as http://127.0.0.1:8529"),
        (("--url", "http://local host"), "expected a URL such as http://127.0.0.1:8529"),
        (("--wait", "soon"), "'soon' is not a duration such as 500ms, 30s or 2m."),
        (("--wait", "-1"), "'-1' is not a duration such as 500ms, 30s or 2m."),
    ],
)
def test_what_cannot_be_understood_is_said(arguments: tuple[str, ...], problem: str) -> None:
    assert problem in refused("ready", *arguments, code=2)
