"""The other ends of a server's connections, byte by byte: services behind it, clients before it."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from aiohttp import web

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Services:
    """Services on free ports of this machine, which end with the test.

    Args:
        stack: what ends them.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def listen(self, talk: Talk) -> str:
        """Start a service that speaks for itself, and return its URL."""
        writers: list[asyncio.StreamWriter] = []

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await talk(reader, writer)

        def close() -> None:
            for writer in writers:
                writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        self._stack.callback(server.close)
        self._stack.callback(close)
        return _url(server.sockets[0].getsockname()[1])

    async def application(self, app: web.Application) -> str:
        """Start an application whose handlers learn that their client has left; return its URL."""
        runner = web.AppRunner(app, handler_cancellation=True, auto_decompress=False)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return _url(site.port)


@dataclass
class Answering:
    """A service that gives the same bytes to each request without a body, and notes its head."""

    answer: bytes = OK
    heads: list[list[str]] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request of a connection."""
        try:
            while True:
                self.heads.append(await _head(reader))
                writer.write(self.answer)
                self.asked.set()
        finally:
            self.left.set()


@dataclass(frozen=True, slots=True)
class Connection:
    """A client's connection to a server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait until the operating system has most of them."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> list[str]:
        """Read the lines of a message's head."""
        return await _head(self.reader)

    async def rest(self) -> bytes:
        """Read until the server closes the connection."""
        return await self.reader.read()

    async def said_all(self) -> bytes:
        """Send nothing more, and read until the server closes the connection."""
        self.writer.write_eof()
        with suppress(ConnectionError):
            return await self.reader.read()
        return b""

    async def leave(self) -> None:
        """Close the connection; whether the other end has noticed cannot be seen from here."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def vanish(self) -> None:
        """Reset the connection, whatever is still on its way."""
        reset(self.writer)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Connection]:
    """Connect to a server while the context lasts."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def ask(url: str, request: bytes) -> tuple[list[str], bytes]:
    """Send a request that says ``Connection: close``; return the answer's head and the rest."""
    async with connected(url) as client:
        await client.send(request)
        return await client.head(), await client.rest()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off so that its other end has an error instead of an end."""
    at_once = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
    writer.transport.abort()


async def _head(reader: asyncio.StreamReader) -> list[str]:
    head = await reader.readuntil(b"\r\n\r\n")
    return head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}"
