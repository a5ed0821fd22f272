"""SIGHUP: what can change at once does, what cannot is named, and nothing ends the server."""

# ruff: noqa: ASYNC240 - a test writes small files
import asyncio
import os
import signal
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.certificates import certified, needs_openssl
from tests.client import Client
from tests.conftest import Start
from tests.engines import process
from trials.serving import ServerProcess

FOREIGN = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "cross-site"}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "jobstore.toml"
    file.write_text("")
    return file


async def test_what_can_change_at_once_does_and_the_rest_is_named(
    server_process: Start, http: ClientSession, config: Path
) -> None:
    server = await server_process("--config", str(config))
    client = Client(http, server.url)
    assert (await client("GET", "/_jobs", headers=FOREIGN)).status == 403
    config.write_text("""
        [server]
        origins = ["https://app.example.com"]
        keep_alive = "5s"
        [executor]
        queue_limit = 7
        [[target]]
        upstream = "http://127.0.0.1:9"
    """)
    server.process.send_signal(signal.SIGHUP)
    line = await server.logged("the configuration was reloaded")
    assert line.endswith("the configuration was reloaded: [server] origins\n")
    line = await server.logged("these changes need a restart")
    assert line.endswith(
        "these changes need a restart: [executor] queue_limit, [server] keep_alive, [[target]]\n"
    )
    assert (await client("GET", "/_jobs", headers=FOREIGN)).status == 200
    config.write_text("")
    server.process.send_signal(signal.SIGHUP)
    while (await client("GET", "/_jobs", headers=FOREIGN)).status != 403:
        pass
    assert await server.terminate() == 0


async def test_the_level_of_the_log_can_change(server_process: Start, config: Path) -> None:
    server = await server_process("--config", str(config))
    config.write_text('[log]\nlevel = "warning"\n[executor]\ndrain = "1s"\n')
    server.process.send_signal(signal.SIGHUP)
    await server.logged("these changes need a restart: [executor] drain")
    assert not any("the configuration was reloaded" in line for line in server.output)
    assert await server.terminate() == 0
    assert not any("draining" in line for line in server.output)


async def test_a_hangup_while_the_server_starts_is_remembered(
    store_path: Path, config: Path
) -> None:
    config.unlink()
    os.mkfifo(config)
    server = process(ServerProcess, store_path)("--config", str(config))
    starting = asyncio.create_task(server.start())
    with await asyncio.to_thread(config.open, "w"):  # by now the server reads it
        new = config.with_suffix(".new")
        new.write_text('[server]\norigins = ["https://app.example.com"]\n')
        new.replace(config)
        server.process.send_signal(signal.SIGHUP)
    await starting
    await server.logged("the configuration was reloaded: [server] origins")
    assert await server.terminate() == 0


async def test_a_configuration_that_cannot_be_used_changes_nothing(
    server_process: Start, http: ClientSession, config: Path
) -> None:
    server = await server_process("--config", str(config))
    config.write_text('[log]\nlevel = "loud"\n[serve]\nport = 1\n')
    server.process.send_signal(signal.SIGHUP)
    line = await server.logged("was not reloaded")
    assert '[log] level: expected "debug"' in line
    assert "serve: no such key; did you mean [server]?" in line
    config.unlink()
    server.process.send_signal(signal.SIGHUP)
    await server.logged("No such file or directory")
    assert (await Client(http, server.url)("GET", "/_api/version")).status == 200


async def test_a_server_without_a_configuration_goes_on_as_it_is(
    server_process: Start, http: ClientSession
) -> None:
    server = await server_process()
    server.process.send_signal(signal.SIGHUP)
    await server.logged("nothing changed")
    assert (await Client(http, server.url)("GET", "/_api/version")).status == 200


@needs_openssl
async def test_another_certificate_can_be_named(
    server_process: Start, config: Path, tmp_path: Path
) -> None:
    first, second = certified(tmp_path / "first"), certified(tmp_path / "second")
    section = '[server]\ntls_certificate = "{0.certificate}"\ntls_key = "{0.key}"\n'
    config.write_text(section.format(first))
    server = await server_process("--config", str(config))
    config.write_text(section.format(second))
    server.process.send_signal(signal.SIGHUP)
    await server.logged(
        "the configuration was reloaded: [server] tls_certificate, [server] tls_key"
    )
    await server.logged(f"a new certificate from {second.certificate} is in use")
    config.write_text("")
    server.process.send_signal(signal.SIGHUP)
    await server.logged("these changes need a restart: [server] tls_certificate, [server] tls_key")
