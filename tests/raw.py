"""Conversations byte by byte: what exactly a server answers."""

from dataclasses import dataclass

from trials.sockets import field_of, message, say


@dataclass(frozen=True, slots=True)
class Front:
    """A server whose every byte counts, asked on a new connection each time.

    Args:
        url: where it is.
    """

    url: str

    async def ask(self, method: str, path: str, *fields: bytes) -> bytes:
        """Send a request with these header fields, and return all that is answered."""
        return await say(self.url, message(method, path, "Connection: close", *fields))

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
        await self.ask("GET", f"/_jobs/{job_id}", b"Prefer: wait=3600")

    async def answer(self, method: str, path: str, *, job: bool) -> bytes:
        """Ask for something at once, or as a job."""
        if not job:
            return await self.ask(method, path)
        return await self.fetch(await self.submit(method, path))
