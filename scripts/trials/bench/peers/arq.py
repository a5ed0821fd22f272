"""arq: jobs in Redis."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from arq import ArqRedis, create_pool
from arq.connections import RedisSettings
from arq.constants import result_key_prefix
from arq.jobs import Job
from arq.worker import Worker, func

from trials.bench.peers.front import LOOK

_CONCURRENCY: Final = 64
# How long the worker rests between two looks for jobs, in seconds.
_POLL: Final = 0.05


async def echo(_: dict[Any, Any], body: bytes) -> bytes:
    """Give the body back."""
    return body


class Arq:
    """A queue of arq's."""

    def __init__(self, redis: ArqRedis) -> None:
        self._redis = redis

    async def submit(self, body: bytes) -> str:
        """Enqueue a job."""
        job = await self._redis.enqueue_job("echo", body)
        assert job
        return str(job.job_id)

    async def take(self, job: str) -> bytes | None:
        """Delete a result; whoever deletes it has it."""
        found = await Job(job, self._redis).result_info()
        if found is None or not await self._redis.delete(result_key_prefix + job):
            return None
        return bytes(found.result)

    async def rest(self, _: str) -> None:
        """Wait a while: arq itself does no better."""
        await asyncio.sleep(LOOK)


@asynccontextmanager
async def opening(url: str) -> AsyncIterator[Arq]:
    """Connect to Redis."""
    redis = await create_pool(RedisSettings.from_dsn(url))
    yield Arq(redis)
    await redis.aclose()


async def work(url: str) -> None:
    """Run a worker."""
    worker = Worker(
        [func(echo)],
        redis_settings=RedisSettings.from_dsn(url),
        max_jobs=_CONCURRENCY,
        poll_delay=_POLL,
    )
    await worker.async_run()
