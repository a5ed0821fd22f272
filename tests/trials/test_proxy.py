"""The proxy between nodes and their database: it drops connections, and falls silent."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from trials import services
from trials.chaos import proxy
from trials.chaos.proxy import Proxy
from trials.sockets import Connection, connected


@dataclass
class Server:
    """Echoes what it hears, and puts it down.

    Args:
        way: what it is reached by.
        heard: what has come, with what `now` was then; b"" is the end of a connection.
        now: says what time it is, to a test.
        came: set when something has come.
        ended: set when a connection has ended.
    """

    way: Proxy
    heard: list[tuple[str, bytes]] = field(default_factory=list)
    now: Callable[[], str] = lambda: "always"
    came: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk with one client."""
        with suppress(ConnectionError):
            while said := await reader.read(100):
                self.heard.append((self.now(), said))
                self.came.set()
                writer.write(said)
        self.heard.append((self.now(), b""))
        self.ended.set()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Connection]:
        """Connect by the proxy, and be heard once."""
        async with connected(self.way.url) as client:
            await client.send(b"hello")
            assert await client.reader.readexactly(5) == b"hello"
            self.heard.clear()
            yield client


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Give a server that is reached by a proxy which cuts nothing by itself."""
    server = Server(Proxy(7, "way", cutting=False))
    async with services.listening(server.talk) as server.way.server, proxy.listening(server.way):
        yield server


@pytest.mark.parametrize("reset", [False, True])
async def test_all_connections_can_be_dropped(server: Server, *, reset: bool) -> None:
    async with server.client() as one, server.client() as other:
        server.way.drop(reset=reset)
        for client in (one, other):
            try:
                assert await client.rest() == b""
            except ConnectionError:
                assert reset
        await server.ended.wait()
    async with server.client():
        pass  # a new one may come


async def test_in_silence_nothing_passes_and_then_all_of_it(server: Server) -> None:
    times = ["silence"]
    server.now = lambda: times[-1]
    async with server.client() as client:
        async with server.way.silent(upwards=True, downwards=False):
            await client.send(b"more")
            client.writer.write_eof()
            times.append("later")
        await server.ended.wait()
    assert server.heard == [("later", b"more"), ("later", b"")]


async def test_silence_may_be_that_of_the_server_alone(server: Server) -> None:
    async with server.client() as client:
        async with server.way.silent(upwards=False, downwards=True):
            server.came.clear()
            await client.send(b"more")
            await server.came.wait()
        assert await client.reader.readexactly(4) == b"more"
    assert server.heard[0] == ("always", b"more")
