"""SAQ: jobs in Redis."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from saq import Job, Status, Worker
from saq.job import TERMINAL_STATUSES
from saq.queue.redis import RedisQueue

from trials.bench.peers.front import LOOK

_CONCURRENCY: Final = 64


async def echo(_: Any, *, body: str) -> str:
    """Give the body back."""
    return body


class Saq:
    """A queue of SAQ's."""

    def __init__(self, queue: RedisQueue) -> None:
        self._queue = queue

    async def submit(self, body: bytes) -> str:
        """Enqueue a job."""
        job = await self._queue.enqueue("echo", body=body.decode("latin-1"))
        assert job
        return str(job.key)

    async def take(self, job: str) -> bytes | None:
        """Delete a job that has ended; whoever deletes it has its result."""
        found = await self._queue.job(job)
        if found is None or not found.completed or not await self._delete(found):
            return None
        return str(found.result).encode("latin-1")

    async def _delete(self, job: Job) -> bool:
        return bool(await self._queue.redis.delete(job.id))

    async def rest(self, job: str) -> None:
        """Let Redis tell that a job has ended; that may have been just before."""
        with suppress(TimeoutError):
            await self._queue.listen([job], _has_ended, timeout=LOOK)


def _has_ended(_: str, status: Status) -> bool:
    return status in TERMINAL_STATUSES


@asynccontextmanager
async def opening(url: str) -> AsyncIterator[Saq]:
    """Connect to Redis."""
    queue = RedisQueue.from_url(url)
    await queue.connect()
    yield Saq(queue)
    await queue.disconnect()


async def work(url: str) -> None:
    """Run a worker."""
    worker = Worker(RedisQueue.from_url(url), [echo], concurrency=_CONCURRENCY)
    await worker.start()
