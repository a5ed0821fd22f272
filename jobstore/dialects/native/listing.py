"""The history as a list, page by page."""

from collections.abc import Callable

from aiohttp import web

from jobstore.dialects.native import as_json
from jobstore.live import Store
from jobstore.model.clock import iso
from jobstore.store.budget import Budget
from jobstore.web import standing
from jobstore.web.filters import page_query


class Listing:
    """List jobs, the newest first.

    Args:
        budget: returns the time budget for the search of a page.
    """

    def __init__(self, store: Store, budget: Callable[[], Budget] = Budget) -> None:
        self._store = store
        self._budget = budget

    async def list(self, request: web.Request) -> web.Response:
        """List a page; ``next`` is the cursor of the page behind it, also if nothing is on it."""
        page = page_query(request.query, standing.scope(request))
        history, budget = self._store.history, self._budget()
        found = await history.page(page.search, page.limit, page.before, budget)
        last, waits_for = found.searched_to, self._store.targets.waits_for
        at = None if last is None else await history.submitted_to(last)
        return web.json_response(
            {
                "jobs": [as_json.written(job, waits_for(job)) for job in found.jobs],
                "next": None if last is None else page.cursor(last),
                "searched_to": last,
                "searched_to_time": None if at is None else iso(at),
            }
        )
