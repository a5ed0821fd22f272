"""Facts about the store itself, over HTTP."""

from dataclasses import asdict

from aiohttp import web

from jobstore import __version__
from jobstore.dialects.native import as_json
from jobstore.dialects.native.overview_calls import start_described
from jobstore.live import Store
from jobstore.live.census import about
from jobstore.live.janitor import Retention
from jobstore.live.store_facts import COUNTED_TO, store_facts
from jobstore.model import clock
from jobstore.model.clock import Clock
from jobstore.model.errors import Forbidden
from jobstore.web import standing


class StoreCalls:
    """Describe the store.

    Args:
        retention: the retention times.
    """

    def __init__(self, store: Store, retention: Retention, clock: Clock = clock.now) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock

    async def show(self, request: web.Request) -> web.Response:
        """Answer with the facts."""
        if standing.scope(request) is not None:
            raise Forbidden("the store is for admins and readers")
        facts = await store_facts(self._store, self._retention, self._clock)
        return web.json_response(
            {
                "engine": facts.engine,
                "place": facts.place,
                "version": __version__,
                "schema": int(about()["schema"]),
                "sizes": asdict(facts.sizes),
                **as_json.counted(facts.counters),
                "retention": asdict(self._retention),
                "within_a_day": {
                    "expiring": facts.expiring,
                    "purging": facts.purging,
                    "counted_to": COUNTED_TO,
                },
                "starts": [start_described(each) for each in facts.starts],
            }
        )
