"""Keep the store from growing: delete what can no longer be fetched, a few rows at a time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from jobstore.live import Store
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import StoreError, StoreLost
from jobstore.model.frozen import frozen

# For how long nothing must have been written before the WAL is cut to nothing.
IDLE_SECONDS: Final = 2

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Retention:
    """Retention times, in seconds; None means for ever.

    Args:
        unfetched: a result that nobody fetched, from the end of its job, or from its restoration.
        fetched: the payload of a job whose result was fetched, deleted or has expired.
        history: a job whose result can no longer be fetched or restored, from its end.
        interval: the pause between two rounds.
    """

    unfetched: float | None
    fetched: float | None
    history: float | None
    interval: float


class Janitor:
    """Carry out retention.

    Args:
        store: the store to clean.
        retention: what to keep.
    """

    def __init__(self, store: Store, retention: Retention, clock: Clock) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock

    async def run(self) -> None:
        """Do rounds until cancelled."""
        while True:
            await _trying("clean", self._take_turn)
            async with asyncio.TaskGroup() as resting:
                shrinking = resting.create_task(_trying("shrink", self._store.file.shrink))
                cutting = resting.create_task(_trying("cut the WAL", self._cut_wal))
                await asyncio.sleep(self._retention.interval)
                shrinking.cancel()
                cutting.cancel()

    async def _take_turn(self) -> None:
        if await self._store.others.turn(self._retention.interval):
            await self.run_once()

    async def _cut_wal(self) -> None:
        seen = None
        while True:
            seen = await self._store.file.cut_wal(seen)
            await asyncio.sleep(IDLE_SECONDS)

    async def run_once(self) -> int:
        """Do one round; return how many rows were deleted or changed.

        The space freed in the file is returned to the system between rounds.

        Raises:
            StoreError: something of it could not be done; what comes after that was tried all the
                same, since it may make the room that was missing.
        """
        done, failed = 0, list[StoreError]()
        for part in (
            self._store.upkeep.redate,
            self._expire,
            self._purge,
            self._forget,
            self._store.sessions.forget,
            self._store.upkeep.sweep,
        ):
            try:
                done += await part()
            except StoreLost:
                raise
            except StoreError as error:
                failed.append(error)
        if failed:
            raise failed[0]
        await self._store.file.renew_mark()
        await self._store.file.checkpoint()
        return done

    async def _expire(self) -> int:
        before = self._ago(self._retention.unfetched)
        if before is None:
            return 0
        return await self._store.results.expire(before, spare_restored=True)

    async def _purge(self) -> int:
        before = self._ago(self._retention.fetched)
        return 0 if before is None else await self._store.upkeep.purge(before)

    async def _forget(self) -> int:
        counted = await self._store.upkeep.count()
        before = self._ago(self._retention.history)
        if before is None:
            return 0
        restorable = self._ago(self._retention.fetched)
        return await self._store.upkeep.forget(min(before, counted), restorable)

    def _ago(self, seconds: float | None) -> int | None:
        if seconds is None:
            return None
        exaggeration = self._store.timekeeping.exaggeration(seconds)
        return self._clock() - int(seconds * SECOND) - exaggeration


async def _trying(action: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do something; if the store fails now, the next round repeats it."""
    try:
        await work()
    except StoreLost as error:  # which has been said
        log.debug("%s", error, extra={"action": action})
    except StoreError as error:
        log.warning("will try again: %s", error, extra={"action": action})
