"""What a client of the ArangoDB dialect does, for tests that are about something else."""

from dataclasses import dataclass
from typing import Any

from aiohttp import ClientSession
from multidict import CIMultiDictProxy


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


async def call(http: ClientSession, method: str, url: str, **options: Any) -> Answer:
    """Send a request and read its answer to the end."""
    async with http.request(method, url, allow_redirects=False, **options) as response:
        return Answer(response.status, response.headers, await response.read())


async def submit(http: ClientSession, url: str, method: str = "GET", **options: Any) -> int:
    """Submit a request as a job whose result is wanted, and return the job's id."""
    headers = {**options.pop("headers", {}), "x-arango-async": "store"}
    answer = await call(http, method, url, headers=headers, **options)
    assert answer.status == 202, answer
    return int(answer.headers["x-arango-async-id"])


async def ended(http: ClientSession, server_url: str, job_id: int) -> None:
    """Ask for a job's status until it has ended."""
    while (await call(http, "GET", f"{server_url}/_api/job/{job_id}")).status == 204:
        pass


async def fetched(http: ClientSession, server_url: str, job_id: int) -> Answer:
    """Ask for a job's result until it has one."""
    while (answer := await call(http, "PUT", f"{server_url}/_api/job/{job_id}")).status == 204:
        pass
    return answer
