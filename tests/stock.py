"""A store that is filled with jobs in every state, by the store itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from jobstore.live import Limits, Store
from jobstore.model.handle import JobHandle
from jobstore.model.job import Claim, Dialect, Failure, Submission
from jobstore.model.message import Request, Response
from tests.stores import START, StandingClock, fail, finish, orders_of, owned


class Stock:
    """Put jobs into a store, and run them by hand.

    Args:
        clock: what time it has.
    """

    def __init__(self, store: Store, clock: StandingClock) -> None:
        self.store = store
        self.clock = clock
        self._orders = orders_of(store, {"/": 100})

    async def queued(self, path: str = "/", target: str = "nowhere", **values: Any) -> int:
        """Submit a job that nobody runs."""
        message = {name: values.pop(name) for name in ("headers", "body") if name in values}
        request = Request(method=values.pop("method", "GET"), path=path, **message)
        return await self.store.submit(
            Submission(request=request, target=target, dialect=Dialect.ARANGO, **values)
        )

    async def many(self, count: int) -> None:
        """Submit many jobs at once, which share their commits."""
        await asyncio.gather(*(self.queued() for _ in range(count)))

    async def running(self, path: str = "/", **values: Any) -> Claim:
        """Submit a job and claim it."""
        await self.queued(path, target="/", **values)
        order = await anext(self._orders)
        assert isinstance(order, Claim)
        return order

    async def done(
        self,
        path: str = "/",
        status: int = 200,
        answer: dict[str, Any] | None = None,
        **values: Any,
    ) -> int:
        """Submit a job and finish it."""
        claim = await self.running(path, **values)
        await self.finish(claim, status, **answer or {})
        return claim.job_id

    async def next_done(self, status: int = 200) -> int:
        """Finish the next job that was queued for the one target here."""
        claim = await anext(self._orders)
        assert isinstance(claim, Claim)
        await self.finish(claim, status)
        return claim.job_id

    async def finish(self, claim: Claim, status: int = 200, **answer: Any) -> None:
        """Finish a job that runs."""
        await finish(self.store, claim, Response(status=status, **answer))

    async def failed(self, path: str = "/", **values: Any) -> int:
        """Submit a job whose target cannot be reached."""
        claim = await self.running(path, **values)
        await fail(self.store, claim, Failure.UNREACHABLE, "connection refused")
        return claim.job_id

    async def cancelled(self, path: str = "/", **values: Any) -> int:
        """Submit a job and cancel it before it runs."""
        job_id = await self.queued(path, **values)
        await self.store.cancel(job_id)
        return job_id

    async def fetch(self, job_id: int) -> None:
        """Read a result to its end, which takes it."""
        async with self.store.results.take(job_id) as delivery:
            assert delivery is not None
            if delivery.response and not isinstance(delivery.response.body, bytes):
                async for _ in delivery.response.body:
                    pass

    def handle(self, claim: Claim) -> JobHandle:
        """Give the handle with which a handler would report on a running job."""
        return JobHandle(claim.job_id, claim.attempt, self.store.attempts)


@asynccontextmanager
async def stocking(
    path: Path, limits: Limits | None = None, now: int = START
) -> AsyncIterator[Stock]:
    """Own a store while it is being filled."""
    clock = StandingClock()
    clock.now = now
    async with owned(path, limits, clock, clock) as store:
        yield Stock(store, clock)


def stocked(path: Path, fill: Callable[[Stock], Awaitable[None]], now: int = START) -> Path:
    """Make a store that no server owns any more."""

    async def make() -> None:
        async with stocking(path, now=now) as stock:
            await fill(stock)

    asyncio.run(make())
    return path
