"""What is no job, or breaks off: requests sent straight on, and connections that are reset."""

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from yarl import URL

from trials.soak.arango import STORE
from trials.soak.plan import UPSTREAM
from trials.soak.visitor import PATIENCE, Answer, Visitor, Work, has_ended, see, size, until

# So large that no buffer on the way takes the whole of it, in pieces of 64 KiB.
_BLOCKS: Final = 256
_SMALL_BUFFER: Final = 64 * 1024
_RESET_AT_ONCE: Final = struct.pack("ii", 1, 0)
_GONE: Final = 404


class Passing:
    """A client that knows nothing of jobs.

    Args:
        visitor: what it asks with.
        rough: what it asks with about connections that broke.
    """

    def __init__(self, visitor: Visitor, rough: Visitor) -> None:
        self._visitor = visitor
        self._rough = rough

    def works(self) -> list[Work]:
        """List what it does, and how often in a second."""
        work = self._visitor.work
        return [
            work("to the application", self.ask, 20),
            work("to the service", self.ask_service, 20),
            work("as a job to the service", self.submit_to_service, 8),
            self._rough.work("fetch half of it", self.break_fetch, 1 / 30),
            self._rough.work("send half of it", self.break_upload, 1 / 5),
        ]

    async def ask(self) -> None:
        """Ask for something that the application answers at once."""
        answer = await self._visitor.ask("application", "GET", "/_api/version", 200)
        see(answer.json()["server"] == "arango", answer)

    async def ask_service(self) -> None:
        """Ask for something that the service answers at once."""
        body = random.randbytes(1024)  # noqa: S311 - no secret
        answer = await self._visitor.ask("service", "POST", f"{UPSTREAM}/echo", 200, data=body)
        see(answer.body == body, "another body came back than was sent")

    async def submit_to_service(self) -> None:
        """Have the service do a job."""
        body = random.randbytes(1024)  # noqa: S311 - no secret
        options = {"data": body, "headers": STORE}
        answer = await self._visitor.ask("submit", "PUT", f"{UPSTREAM}/echo", 202, **options)
        path = f"/_api/job/{answer.headers['x-arango-async-id']}"
        wait = {"Prefer": f"wait={PATIENCE:g}"}
        fetched = await self._visitor.wait("PUT", path, 200, headers=wait)
        see(fetched.body == body, "another body came back than was sent")

    async def break_fetch(self) -> None:
        """Fetch half of a result and reset the connection; then it is there for another reader."""
        sent = await self._rough.send_blocks("PUT", "/echo", _BLOCKS, headers=STORE)
        path = f"/_api/job/{sent.headers['x-arango-async-id']}"
        await until(lambda: self._rough.wait("GET", path, 200, 204), has_ended)
        async with _connected(self._rough.url) as (reader, writer):
            writer.write(
                f"PUT {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n".encode()
            )
            await reader.readexactly(size(_BLOCKS) // 2)
        await until(lambda: self._held_again(path), lambda events: b"broken" in events.body)
        await self._rough.read_blocks("PUT", path, _BLOCKS)
        await self._rough.ask("again", "PUT", path, _GONE)

    async def _held_again(self, path: str) -> Answer:
        """Look at the timeline of a job, whose result is never gone."""
        await self._rough.wait("GET", path, 200)
        job_id = path.rpartition("/")[2]
        return await self._rough.wait("GET", f"/_jobs/{job_id}/timeline", 200)

    async def break_upload(self) -> None:
        """Send half of a request and reset the connection: nothing of it stays."""
        head = f"PUT /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size(_BLOCKS)}\r\n"
        async with _connected(self._rough.url) as (_, writer):
            writer.write(f"{head}x-arango-async: store\r\n\r\n".encode())
            writer.write(bytes(size(_BLOCKS) // 2))
            await writer.drain()


@asynccontextmanager
async def _connected(
    url: str,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect with a small buffer while the context lasts, and reset the connection then."""
    parts = URL(url)
    end = socket.socket()
    end.setblocking(False)  # noqa: FBT003 - its name says what is false
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
    await asyncio.get_running_loop().sock_connect(end, (parts.host, parts.port))
    reader, writer = await asyncio.open_connection(sock=end, limit=_SMALL_BUFFER)
    try:
        yield reader, writer
    finally:
        end = writer.get_extra_info("socket")
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_AT_ONCE)
        writer.transport.abort()
