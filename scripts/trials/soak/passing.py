"""What is no job, or breaks off: requests sent straight on, and connections that are reset."""

import random
from typing import Final

from trials.clients import Answer
from trials.soak.arango import STORE
from trials.soak.plan import UPSTREAM
from trials.soak.visitor import PATIENCE, Visitor, Work, has_ended, see, size, until
from trials.sockets import connected, message

# So large that no buffer on the way takes the whole of it, in pieces of 64 KiB.
_BLOCKS: Final = 256
_SMALL_BUFFER: Final = 64 * 1024
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
        body = random.randbytes(1024)
        answer = await self._visitor.ask("service", "POST", f"{UPSTREAM}/echo", 200, data=body)
        see(answer.body == body, "another body came back than was sent")

    async def submit_to_service(self) -> None:
        """Have the service do a job."""
        body = random.randbytes(1024)
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
        async with connected(self._rough.url, _SMALL_BUFFER) as reader:
            await reader.send(message("PUT", path, "Content-Length: 0"))
            await reader.reader.readexactly(size(_BLOCKS) // 2)
            reader.vanish()
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
        fields = (f"Content-Length: {size(_BLOCKS)}", "x-arango-async: store")
        async with connected(self._rough.url, _SMALL_BUFFER) as client:
            await client.send(message("PUT", "/echo", *fields))
            await client.send(bytes(size(_BLOCKS) // 2))
            client.vanish()
