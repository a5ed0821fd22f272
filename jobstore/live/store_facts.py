"""Facts about the store itself: where it is, how large it is, and what will be deleted when."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from jobstore.live.census import PATIENCE
from jobstore.live.janitor import Retention
from jobstore.live.store import Store
from jobstore.model.clock import SECOND, Clock
from jobstore.model.frozen import frozen
from jobstore.model.periods import DAY
from jobstore.store import retention as soon
from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement
from jobstore.store.keeping import Sizes
from jobstore.store.starts import Start

# How many starts of servers are told.
STARTS: Final = 20
# Up to how many jobs are counted that expire or are purged.
COUNTED_TO: Final = soon.COUNTED


@frozen(kw_only=True)
class StoreFacts:
    """Facts about a store.

    Args:
        counters: how many jobs and results are in each state, by machine and state.
        starts: the newest starts of servers, the newest first.
        expiring: how many results expire within a day, up to `COUNTED_TO`; None if counting takes
            too long.
        purging: how many payloads will be deleted within a day, likewise.
    """

    engine: str
    place: str
    sizes: Sizes
    counters: Mapping[tuple[str, str], int]
    starts: Sequence[Start]
    expiring: int | None
    purging: int | None


async def store_facts(store: Store, retention: Retention, clock: Clock) -> StoreFacts:
    """Collect the facts."""
    sizes, counters, starts, expiring, purging = await asyncio.gather(
        store.census.sizes(),
        store.census.counters(),
        store.others.starts(STARTS),
        _within_a_day(store, soon.EXPIRING, retention.unfetched, clock()),
        _within_a_day(store, soon.PURGING, retention.fetched, clock()),
    )
    return StoreFacts(
        engine=store.file.engine,
        place=store.file.place,
        # What the census could not find out in time is waited for, or its error told.
        sizes=sizes or await store.file.sizes(),
        counters=counters or await store.history.counters(),
        starts=starts,
        expiring=expiring,
        purging=purging,
    )


async def _within_a_day(
    store: Store, statement: Statement, kept: float | None, now: int
) -> int | None:
    """Count what will be deleted within a day, up to a limit; None if that takes too long."""
    if kept is None:
        return 0
    before = now + int((DAY - kept) * SECOND)
    asked = store.history.searcher.within
    try:
        ((count,),) = await asked(PATIENCE, statement, before=before, limit=COUNTED_TO)
    except TimeIsUp:
        return None
    return int(count)
