"""A client of one server, and of the gates behind it, for tests that read as a conversation."""

from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession

from trials.clients import Answer, call

# What a server in process is given to put the ordinary application behind it, or the gates.
ORDINARY = {"app": "tests.webapp:create_app"}
GATED = {"app": "tests.gates:create_app"}
# Lets an answer come once the job that it is about has ended: who asks again and again, instead,
# takes most of the time that the server would need for the job.
WAIT = {"Prefer": "wait=3600"}


@dataclass(frozen=True, slots=True)
class Client:
    """A client of one server; calling it sends a request.

    Args:
        http: what it sends requests with.
        url: the server's.
    """

    http: ClientSession
    url: str

    async def __call__(self, method: str, path: str, **options: Any) -> Answer:
        """Send a request, and read its answer to the end."""
        return await call(self.http, method, self.url + path, **options)

    async def submit(self, path: str, method: str = "GET", **options: Any) -> int:
        """Submit a job whose result is wanted."""
        headers = {**options.pop("headers", {}), "x-arango-async": "store"}
        answer = await self(method, path, headers=headers, **options)
        assert answer.status == 202, answer
        return int(answer.headers["x-arango-async-id"])

    async def done(self, path: str, method: str = "GET", **options: Any) -> int:
        """Submit a job, and return its id when it has ended."""
        job_id = await self.submit(path, method, **options)
        await self.ended(job_id)
        return job_id

    async def ended(self, job_id: int) -> None:
        """Wait until a job has ended."""
        await self("GET", f"/_jobs/{job_id}", headers=WAIT)

    async def fetched(self, job_id: int) -> Answer:
        """Fetch a job's result when it has ended."""
        await self.ended(job_id)
        return await self("PUT", f"/_api/job/{job_id}")

    async def told(self, job_id: int) -> Answer:
        """Ask for a result until more is said than "not yet": another reader may have it still."""
        while (answer := await self("PUT", f"/_api/job/{job_id}")).status == 204:
            pass
        return answer

    async def let(self, name: str) -> None:
        """Let a piece of work behind the gates finish."""
        await self("POST", f"/let/{name}")

    async def when(self, name: str, event: str) -> None:
        """Wait until a piece of work has started, was cancelled or has finished."""
        await self("GET", f"/when/{name}/{event}")
