"""Conversations byte by byte: what exactly a server sends on, and what exactly it answers."""

import asyncio
from dataclasses import dataclass, field

from tests.peers import connected

NO_CONTENT = 204


@dataclass
class Origin:
    """A service that gives the same bytes to each request without a body, and keeps what it got."""

    answer: bytes
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request of a connection."""
        self.connections += 1
        while True:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)


@dataclass(frozen=True, slots=True)
class Front:
    """A server whose every byte counts, asked on a new connection each time.

    Args:
        url: where it is.
    """

    url: str

    async def ask(self, method: str, path: str, *fields: bytes) -> bytes:
        """Send a request with these header fields, and return all that is answered."""
        lines = (f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close")
        return await say(self.url, b"\r\n".join((*lines, *fields, b"", b"")))

    async def submit(self, method: str, path: str, *fields: bytes) -> int:
        """Submit a request as a job; return its id."""
        answer = await self.ask(method, path, *fields, b"x-arango-async: store")
        assert answer.startswith(b"HTTP/1.1 202 "), answer
        return int(field_of(answer, b"x-arango-async-id"))

    async def fetch(self, job_id: int) -> bytes:
        """Fetch a job's result when it has ended."""
        await self.ended(job_id)
        return await self.ask("PUT", f"/_api/job/{job_id}")

    async def ended(self, job_id: int) -> None:
        """Wait until a job has ended."""
        while status_of(await self.ask("GET", f"/_api/job/{job_id}")) == NO_CONTENT:
            pass

    async def answer(self, method: str, path: str, *, job: bool) -> bytes:
        """Ask for something at once, or as a job."""
        if not job:
            return await self.ask(method, path)
        return await self.fetch(await self.submit(method, path))


async def say(url: str, data: bytes) -> bytes:
    """Send bytes, and return all that is answered until the connection ends."""
    async with connected(url) as client:
        await client.send(data)
        return await client.rest()


def status_of(answer: bytes) -> int:
    """Return the status of an answer."""
    return int(answer.split(b" ", 2)[1])


def fields_of(head: bytes) -> list[bytes]:
    """Return the field lines of a message."""
    return head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def field_of(head: bytes, name: bytes) -> bytes:
    """Return the value of a message's only field of a name."""
    (value,) = values_of(head, name)
    return value


def values_of(head: bytes, name: bytes) -> list[bytes]:
    """Return the values of a message's fields of a name."""
    split = [line.partition(b": ") for line in fields_of(head)]
    return [value for key, _, value in split if key.lower() == name.lower()]
