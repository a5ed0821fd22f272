"""The command that asks a server whether it takes jobs in."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from tests.certificates import certified, needs_openssl
from tests.commands import refused, said, start
from tests.conftest import Serve, Start
from tests.peers import stranger

NOWHERE = "http://127.0.0.1:1"


def written(folder: Path, text: str) -> Path:
    config = folder / "jobstore.toml"
    config.write_text(text)
    return config


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


async def asked(*arguments: object) -> str:
    return await asyncio.to_thread(said, "ready", *arguments)


async def test_a_server_that_is_ready_gives_exit_code_0(server_process: Start) -> None:
    server = await server_process()
    for url in (server.url, f"{server.url}/"):
        assert await asyncio.to_thread(said, "ready", "--url", url) == f"{url} is ready\n"


async def test_without_a_url_the_configured_server_is_asked(
    server_process: Start, tmp_path: Path
) -> None:
    server = await server_process()
    port = server.url.rpartition(":")[2]
    config = written(tmp_path, f'[server]\nhost = "0.0.0.0"\nport = {port}\n')
    assert await asked("--config", config) == f"{server.url} is ready\n"


async def test_the_configured_server_is_asked_at_a_socket_file(
    serve: Serve, tmp_path: Path
) -> None:
    where = f"unix:{tmp_path / 'jobs.sock'}"
    await serve(server={"listen": [where, "127.0.0.1:0"], "hosts": ["jobs.example.com"]})
    config = written(tmp_path, f'[server]\nlisten = ["{where}", "127.0.0.1:1"]\n')
    assert await asked("--config", config) == f"{where} is ready\n"
    assert await asked("--url", where) == f"{where} is ready\n"


async def test_the_configured_server_is_asked_where_it_answers_probes(
    serve: Serve, tmp_path: Path
) -> None:
    port, operators = free_port(), free_port()
    await serve(server={"port": port}, admin={"listen": [f"127.0.0.1:{operators}"]})
    config = written(
        tmp_path, f'[server]\nport = {port}\n[admin]\nlisten = ["0.0.0.0:{operators}"]\n'
    )
    assert "is not ready" in await asyncio.to_thread(
        refused, "ready", "--url", f"http://127.0.0.1:{port}"
    )
    assert await asked("--config", config) == f"http://127.0.0.1:{operators} is ready\n"


@needs_openssl
async def test_the_configured_certificate_is_trusted_and_no_other(
    serve: Serve, tmp_path: Path
) -> None:
    ours = certified(tmp_path / "ours", "jobs.example.com")
    others = certified(tmp_path / "others", "jobs.example.com")
    port = free_port()
    await serve(
        server={
            "port": port, "tls_certificate": str(ours.certificate), "tls_key": str(ours.key)
        }
    )  # fmt: skip

    def config(certificate: Path) -> Path:
        return written(tmp_path, f'[server]\nport={port}\ntls_certificate="{certificate}"\n')

    url = f"https://127.0.0.1:{port}"
    assert await asked("--config", config(ours.certificate)) == f"{url} is ready\n"
    said = await asyncio.to_thread(refused, "ready", "--config", config(others.certificate))
    assert said == f"jobstore: {url} is not ready: TLS failed: self-signed certificate\n"
    said = await asyncio.to_thread(refused, "ready", "--config", config(ours.key))
    assert said == f"jobstore: TLS: {ours.key}: expected a certificate in PEM\n"
    said = await asyncio.to_thread(refused, "ready", "--config", config(tmp_path / "none.pem"))
    assert said == f"jobstore: TLS: cannot read {tmp_path}/none.pem: No such file or directory\n"


def test_a_server_at_any_port_cannot_be_found(tmp_path: Path) -> None:
    said = refused("ready", "--config", written(tmp_path, '[server]\nlisten = ["[::1]:0"]\n'))
    assert said == "jobstore: [::1]:0: the server takes any free port; name it with --url\n"


async def test_a_server_that_freezes_is_not_ready(server_process: Start) -> None:
    server = await server_process()
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        told = await asyncio.to_thread(refused, "ready", "--url", server.url, "--wait", "500ms")
        assert told.startswith(f"jobstore: {server.url} is not ready: no answer within ")
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


@pytest.mark.parametrize("body", [b"<p>Welcome</p>", b'{"status": "up"}', b"[]"])
def test_what_answers_200_but_is_no_jobstore_is_not_ready(body: bytes) -> None:
    with stranger(200, body=body) as url:
        words = f"jobstore: {url} is not ready: this is not a jobstore server\n"
        assert refused("ready", "--url", url) == words


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--url", "localhost:8529"), "expected the URL of a server such as"),
        (("--url", "ftp://localhost"), "expected the URL of a server such as"),
        (("--url", "http://"), "expected the URL of a server such as"),
        (("--url", "http://localhost:x"), "expected the URL of a server such as"),
        (("--url", "http://local host"), "expected the URL of a server such as"),
        (("--url", "unix:"), "such as http://127.0.0.1:8529 or unix:/run/jobstore.sock"),
        (("--wait", "soon"), "'soon' is not a duration such as 500ms, 30s or 2m."),
        (("--wait", "-1"), "'-1' is not a duration such as 500ms, 30s or 2m."),
    ],
)
def test_what_cannot_be_understood_is_said(arguments: tuple[str, ...], problem: str) -> None:
    assert problem in refused("ready", *arguments, code=2)
