"""nginx and Caddy, configured as shown, before a real server: it is as if they were not there."""

# ruff: noqa: ASYNC240 - a test makes a folder

import asyncio
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO
from pathlib import Path
from typing import Final

import pytest
from aiohttp import ClientSession, WSMsgType

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import GATED, ORDINARY, Client
from tests.conftest import running
from tests.loop import turns
from tests.packages import needs
from tests.peers import Services, nobodys_port
from tests.sockets_app import CLOSE_CODES, create_app
from trials.sockets import connected, message

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
NAME: Final = "jobs.example.com"
SOCKET: Final = "unix:/run/jobstore.sock"

# What nginx and Caddy write when they listen, and not before.
LISTENS: Final = re.compile("start worker processes|serving initial configuration")

Configure = Callable[[Path, Path, int], list[str | Path]]


def put(text: str, written: str, here: str, times: int = 1) -> str:
    """Put what there is here in the place of what is written."""
    assert text.count(written) == times, written
    return text.replace(written, here)


def nginx(folder: Path, path: Path, port: int) -> list[str | Path]:
    """Write a configuration of nginx around the one that is shown; give the command."""
    shown = (DEPLOY / "nginx" / "jobstore.conf").read_text()
    shown = put(shown, f"    server {SOCKET};", f"    server unix:{path};")
    shown = put(shown, "listen 80;", f"listen 127.0.0.1:{port};")
    (folder / "jobstore.conf").write_text(shown)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        f"daemon off; {user} pid {folder}/pid; error_log stderr notice; events {{}}\n"
        f"http {{ access_log off; {temporary} include {folder}/jobstore.conf; }}\n"
    )
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return [program, "-e", "stderr", "-p", folder, "-c", folder / "nginx.conf"]


def caddy(folder: Path, path: Path, port: int) -> list[str | Path]:
    """Write a configuration of Caddy around the one that is shown; give the command."""
    shown = (DEPLOY / "caddy" / "Caddyfile").read_text()
    shown = put(shown, "reverse_proxy unix//run/jobstore.sock", f"reverse_proxy unix/{path}")
    shown = put(shown, f"\n{NAME} {{", f"\n{{\n\tadmin off\n}}\nhttp://{NAME}:{port} {{")
    (folder / "Caddyfile").write_text(shown)
    return ["caddy", "run", "--config", folder / "Caddyfile", "--adapter", "caddyfile"]


@pytest.fixture(
    params=[
        pytest.param(nginx, marks=needs("nginx", package="nginx-light")),
        pytest.param(caddy, marks=needs("caddy", package="caddy")),
    ]
)
def configure(request: pytest.FixtureRequest) -> Configure:
    proxy: Configure = request.param
    return proxy


@asynccontextmanager
async def proxying(configure: Configure, folder: Path, path: Path) -> AsyncIterator[str]:
    """Run a proxy while the context lasts; give its URL."""
    port = nobodys_port()
    folder.mkdir()
    process = await asyncio.create_subprocess_exec(
        *configure(folder, path, port),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)},
    )
    assert process.stderr is not None
    try:
        await listening(process.stderr)
        rest = asyncio.create_task(process.stderr.read())
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
    await rest


async def listening(log: asyncio.StreamReader) -> None:
    """Read what a proxy writes until it says that it listens."""
    said = ""
    while not LISTENS.search(said):
        line = await log.readline()
        assert line, said
        said += line.decode()


class Site:
    """A server behind a proxy, and clients on both ways."""

    def __init__(self, configure: Configure, store: Path, folder: Path) -> None:
        self._configure = configure
        self._store = store
        self._folder = folder
        self.stack = AsyncExitStack()
        self.serving = AsyncExitStack()

    async def open(self, **sections: object) -> str:
        """Start both; give the proxy's URL."""
        path = self._folder / "jobs.sock"
        server = {"listen": ["127.0.0.1:0", f"unix:{path}"], "trusted_proxies": ["unix:"]}
        self.server = await self.serving.enter_async_context(
            running(self._store, server={**server, "hosts": [NAME]}, **sections)
        )
        proxying_ = proxying(self._configure, self._folder / "proxy", path)
        return await self.stack.enter_async_context(proxying_)


@pytest.fixture
async def site(configure: Configure, store_path: Path, tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(configure, store_path, tmp_path)
    async with site.serving, site.stack:
        yield site


@pytest.fixture
async def named() -> AsyncIterator[ClientSession]:
    """Give a client that asks for the public name."""
    async with ClientSession(headers={"Host": NAME}, auto_decompress=False) as session:
        yield session


async def test_a_job_is_submitted_waited_for_and_fetched(site: Site, named: ClientSession) -> None:
    client = Client(named, await site.open(target=GATED))
    job_id = await client.submit("/wait/a")
    waiting = asyncio.create_task(
        client("PUT", f"/_api/job/{job_id}", headers={"Prefer": "wait=60"})
    )
    while not site.server.store.waits.watched(job_id):
        await turns(1)
    await client.let("a")
    answer = await waiting
    assert (answer.status, answer.body) == (200, b"a is done")


async def test_events_come_while_they_happen(site: Site, named: ClientSession) -> None:
    client = Client(named, await site.open(target=GATED))
    job_id = await client.submit("/wait/a")
    async with named.get(f"{client.url}/_jobs/{job_id}/events") as events:
        while b"event: started" not in await events.content.readline():
            pass
        await client.let("a")
        assert b"event: end" in await events.content.read()


async def test_an_upload_reaches_its_target_while_it_is_sent(
    site: Site, services: Services
) -> None:
    arrived = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"first"
        arrived.set()
        assert await reader.readexactly(4) == b"last"
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

    url = await site.open(target={"upstream": await services.listen(talk)})
    async with connected(url) as sender:
        head = f"PUT /files/a HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 9\r\n\r\n"
        await sender.send(head.encode() + b"first")
        await arrived.wait()
        await sender.send(b"last")
        assert " 200 " in (await sender.head())[0]


async def test_a_large_upload_is_no_problem(site: Site, named: ClientSession) -> None:
    client = Client(named, await site.open(target=ORDINARY))
    body = os.urandom(5_000_000)
    job_id = await client.done("/echo", "POST", data=BytesIO(body))
    assert (await client.fetched(job_id)).body == body


async def test_the_target_hears_by_which_name_it_was_asked(
    site: Site, named: ClientSession
) -> None:
    client = Client(named, await site.open(target=ORDINARY))
    heard = dict((await client("GET", "/mirror/a")).json()["headers"])
    assert heard["host"] == NAME
    assert heard["x-forwarded-proto"] == "http"
    assert heard["x-forwarded-host"] == NAME


async def test_the_address_that_counts_is_the_clients_whatever_it_says(
    site: Site, named: ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    url = await site.open(target=ORDINARY)
    await People(site.server, site.stack).add("alice", Role.ADMIN)
    lies = {"X-Forwarded-For": "6.6.6.6", "Forwarded": "for=6.6.6.6"}
    headers = {"Authorization": "Bearer unknown", **lies}
    answer = await Client(named, url)("GET", "/_jobs", headers=headers)
    assert answer.status == 401
    assert "a token from 127.0.0.1 is not known" in caplog.messages


async def test_what_is_for_operators_is_not_shown_outside(
    site: Site, named: ClientSession, http: ClientSession
) -> None:
    client = Client(named, await site.open(target=ORDINARY))
    for path in ("/_jobs/readyz", "/_jobs/metrics", "/_jobs/livez"):
        assert (await client("GET", path)).status == 404
    assert (await Client(http, site.server.url)("GET", "/_jobs/readyz")).status == 200


async def test_a_websocket_goes_through_and_hears_that_the_server_goes_away(
    site: Site, services: Services, named: ClientSession
) -> None:
    app = create_app()
    url = await site.open(target={"upstream": await services.application(app)})
    async with named.ws_connect(f"{url}/echo", protocols=("chat",), max_msg_size=0) as chat:
        assert chat.protocol == "chat"
        large = os.urandom(3_000_000)
        await chat.send_bytes(large)
        assert await chat.receive_bytes() == large
        await chat.send_str("bye")
        last = await chat.receive()
        assert (last.type, last.data, last.extra) == (WSMsgType.CLOSE, 4000, "as you wish")
    async with named.ws_connect(f"{url}/echo") as chat:
        for number in range(20):
            await chat.send_str(str(number))
            assert await chat.receive_str() == str(number)
        stopping = asyncio.create_task(site.serving.aclose())
        last = await chat.receive()
        assert (last.type, last.data) == (WSMsgType.CLOSE, 1001)
        await stopping
    assert app[CLOSE_CODES][1:] == [1001]


async def test_a_client_who_leaves_ends_what_was_done_for_it(
    site: Site, named: ClientSession
) -> None:
    client = Client(named, await site.open(target=GATED))
    async with connected(client.url) as leaving:
        await leaving.send(message("GET", "/wait/a").replace(b"localhost", NAME.encode()))
        await client.when("a", "started")
        await leaving.leave()
    await client.when("a", "cancelled")
