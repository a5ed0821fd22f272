"""procrastinate: jobs in PostgreSQL. Results are the application's own affair there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from procrastinate import App, JobContext, PsycopgConnector

from trials.bench.peers.front import LOOK

_CONCURRENCY: Final = 16
_CONNECTIONS: Final = 16
_RESULTS: Final = "CREATE TABLE IF NOT EXISTS result (job bigint PRIMARY KEY, body text NOT NULL)"
_KEEP: Final = "INSERT INTO result (job, body) VALUES (%(job)s, %(body)s)"
_TAKE: Final = "DELETE FROM result WHERE job = %(job)s RETURNING body"


class Procrastinate:
    """A queue of procrastinate's."""

    def __init__(self, connector: PsycopgConnector) -> None:
        self._connector = connector
        self.app = App(connector=connector)
        self._echo = self.app.task(name="echo", pass_context=True)(self._keep)

    async def _keep(self, context: JobContext, body: str) -> None:
        await self._connector.execute_query_async(_KEEP, job=context.job.id, body=body)

    async def prepare(self) -> None:
        """Make the tables."""
        await self.app.schema_manager.apply_schema_async()
        await self._connector.execute_query_async(_RESULTS)

    async def submit(self, body: bytes) -> str:
        """Defer a job."""
        return str(await self._echo.defer_async(body=body.decode("latin-1")))

    async def take(self, job: str) -> bytes | None:
        """Delete a result; whoever deletes it has it."""
        rows = await self._connector.execute_query_all_async(_TAKE, job=int(job))
        return str(rows[0]["body"]).encode("latin-1") if rows else None

    async def rest(self, _: str) -> None:
        """Wait a while: nobody can tell."""
        await asyncio.sleep(LOOK)


@asynccontextmanager
async def opening(conninfo: str) -> AsyncIterator[Procrastinate]:
    """Connect to PostgreSQL, and make the tables."""
    async with connected(conninfo) as queue:
        await queue.prepare()
        yield queue


@asynccontextmanager
async def connected(conninfo: str) -> AsyncIterator[Procrastinate]:
    """Connect to PostgreSQL."""
    connector = PsycopgConnector(conninfo=conninfo, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
    queue = Procrastinate(connector)
    async with queue.app.open_async():
        yield queue


async def work(conninfo: str) -> None:
    """Run a worker, which PostgreSQL tells of new jobs."""
    async with connected(conninfo) as queue:
        await queue.app.run_worker_async(concurrency=_CONCURRENCY)
