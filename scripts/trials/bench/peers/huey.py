"""huey: jobs in an SQLite file, synced at each commit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from huey import SqliteHuey

from trials.bench.peers.front import LOOK

_WORKERS: Final = 4
# How long a worker rests at most if there is nothing to do, in seconds.
_POLL: Final = 0.02


def _echo(body: bytes) -> bytes:
    return body


class Huey:
    """A queue of huey's."""

    def __init__(self, huey: SqliteHuey) -> None:
        self._huey = huey
        self._echo = huey.task(name="echo")(_echo)

    async def submit(self, body: bytes) -> str:
        """Enqueue a job; huey blocks, so that it has threads."""
        result = await asyncio.to_thread(self._echo, body)
        return str(result.id)

    async def take(self, job: str) -> bytes | None:
        """Take a result, which deletes it."""
        result: bytes | None = await asyncio.to_thread(self._huey.result, job)
        return result

    async def rest(self, _: str) -> None:
        """Wait a while: nobody can tell."""
        await asyncio.sleep(LOOK)

    def consume(self) -> None:
        """Run a consumer until killed."""
        self._huey.create_consumer(
            workers=_WORKERS, periodic=False, initial_delay=0.001, max_delay=_POLL
        ).run()


def _opened(path: str) -> Huey:
    return Huey(SqliteHuey(filename=path, fsync=True, timeout=60))


@asynccontextmanager
async def opening(path: str) -> AsyncIterator[Huey]:
    """Open the file."""
    yield _opened(path)


async def work(path: str) -> None:
    """Run a consumer, which is synchronous all through."""
    _opened(path).consume()
