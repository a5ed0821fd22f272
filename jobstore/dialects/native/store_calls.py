"""What there is to know of the store itself: where it is, how large, and what goes when."""

import asyncio
from dataclasses import asdict
from typing import Final

from aiohttp import web

from jobstore import __version__
from jobstore.dialects.native import as_json
from jobstore.dialects.native.overview_calls import start_described
from jobstore.live import Store
from jobstore.live.census import PATIENCE, about
from jobstore.live.janitor import Retention
from jobstore.model import clock
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import Forbidden
from jobstore.model.periods import DAY
from jobstore.store import retention as soon
from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement
from jobstore.web import standing

_STARTS: Final = 20


class StoreCalls:
    """Describe the store.

    Args:
        retention: how long things are kept.
    """

    def __init__(self, store: Store, retention: Retention, clock: Clock = clock.now) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock

    async def show(self, request: web.Request) -> web.Response:
        """Tell what there is to know."""
        if standing.scope(request) is not None:
            raise Forbidden("only who may see the jobs of all may look at the store")
        store, kept = self._store, self._retention
        sizes, counters, starts, expiring, purging = await asyncio.gather(
            store.file.sizes(),
            store.history.counters(),
            store.others.starts(_STARTS),
            self._within_a_day(soon.EXPIRING, kept.unfetched),
            self._within_a_day(soon.PURGING, kept.fetched),
        )
        return web.json_response(
            {
                "engine": store.file.engine,
                "place": store.file.place,
                "version": __version__,
                "schema": int(about()["schema"]),
                "sizes": asdict(sizes),
                **as_json.counted(counters),
                "retention": asdict(kept),
                "within_a_day": {
                    "expiring": expiring,
                    "purging": purging,
                    "counted_to": soon.COUNTED,
                },
                "starts": [start_described(each) for each in starts],
            }
        )

    async def _within_a_day(self, statement: Statement, kept: float | None) -> int | None:
        """Count what goes within a day, up to a bound; None if it takes too long to find out."""
        if kept is None:
            return 0
        before = self._clock() + int((DAY - kept) * SECOND)
        asked = self._store.history.searcher.within
        try:
            ((count,),) = await asked(PATIENCE, statement, before=before, limit=soon.COUNTED)
        except TimeIsUp:
            return None
        return int(count)
