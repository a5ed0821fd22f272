"""Connections byte by byte: what exactly is sent, and what exactly comes."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

# struct linger of socket(7): closing resets the connection.
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_LARGEST_HEAD: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Connection:
    """One end of a connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send bytes, and wait until the operating system has most of them."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> list[str]:
        """Read the lines of a message's head."""
        return lines_of(await read_head(self.reader))

    async def rest(self) -> bytes:
        """Read until the other end closes the connection."""
        return await self.reader.read()

    async def said_all(self) -> bytes:
        """Send nothing more, and read until the other end closes the connection.

        A server that takes its time may say 100 first, to find out whether anybody is there still.
        """
        self.writer.write_eof()
        with suppress(ConnectionError):
            return (await self.reader.read()).removeprefix(_CONTINUE)
        return b""

    async def leave(self) -> None:
        """Close the connection; whether the other end has noticed cannot be seen from here."""
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()

    def vanish(self) -> None:
        """Reset the connection, whatever is still on its way."""
        hang_up(self.writer, reset=True)


async def connect(url: str, buffer: int | None = None) -> Connection:
    """Connect to a server.

    Args:
        url: the server's; ``unix:`` and a path is a socket of this machine.
        buffer: how many bytes that nobody has read may wait here, if few.
    """
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return Connection(*await asyncio.open_unix_connection(parts.path, limit=_LARGEST_HEAD))
    if buffer is None:
        streams = asyncio.open_connection(parts.hostname, parts.port, limit=_LARGEST_HEAD)
        return Connection(*await streams)
    end = socket.socket()
    end.settimeout(0)
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    await asyncio.get_running_loop().sock_connect(end, (parts.hostname, parts.port))
    return Connection(*await asyncio.open_connection(sock=end, limit=buffer))


@asynccontextmanager
async def connected(url: str, buffer: int | None = None) -> AsyncIterator[Connection]:
    """Connect to a server, as `connect` does, while the context lasts."""
    connection = await connect(url, buffer)
    try:
        yield connection
    finally:
        connection.writer.close()


async def say(url: str, data: bytes) -> bytes:
    """Send bytes, and return all that is answered until the connection ends."""
    async with connected(url) as client:
        await client.send(data)
        return await client.rest()


async def ask(url: str, request: bytes) -> tuple[list[str], bytes]:
    """Send a request that says ``Connection: close``; return the answer's head and the rest."""
    async with connected(url) as client:
        await client.send(request)
        return await client.head(), await client.rest()


def hang_up(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    """Close a connection, or reset it: then the other end has an error instead of an end.

    What was not sent yet before a reset never will be.
    """
    if reset and not writer.transport.is_closing():
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        writer.transport.abort()
    else:
        writer.close()


# --- messages -----------------------------------------------------------------------------------


def message(
    method: str, path: str, *fields: str | bytes, body: bytes = b"", version: str = "1.1"
) -> bytes:
    """Write a request as it goes over the wire; it says how long its body is if it has one."""
    lines = [f"{method} {path} HTTP/{version}", "Host: localhost"]
    lines += [f"Content-Length: {len(body)}"] if body else []
    written = [each if isinstance(each, bytes) else each.encode() for each in (*lines, *fields)]
    return b"\r\n".join([*written, b"", body])


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Read the head of a message, with the empty line that ends it."""
    return await reader.readuntil(b"\r\n\r\n")


def lines_of(head: bytes) -> list[str]:
    """Return the lines of a head."""
    return head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")


def status_of(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


def fields_of(message: bytes) -> list[bytes]:
    """Return the field lines of a message."""
    return message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def field_of(message: bytes, name: bytes) -> bytes:
    """Return the value of a message's only field of a name."""
    (value,) = values_of(message, name)
    return value


def values_of(message: bytes, name: bytes) -> list[bytes]:
    """Return the values of a message's fields of a name."""
    split = [line.partition(b": ") for line in fields_of(message)]
    return [value for key, _, value in split if key.lower() == name.lower()]
