"""The dashboard as a part of an application.

Nothing here, and nothing imported here, loads the pages or the template engine: `pages` does so
when the first page is requested.
"""

import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Final

from aiohttp import web

from jobstore.dashboard.pages import ready, refused, told
from jobstore.dashboard.visit import MOUNT
from jobstore.live import Store
from jobstore.live.janitor import Retention
from jobstore.store.budget import Budget
from jobstore.targets.router import PathClaim, Router
from jobstore.web.edge import add_calls
from jobstore.web.gate import Gate

if TYPE_CHECKING:
    from jobstore.dashboard.site import Site

CLAIMS: Final = (PathClaim(re.compile(rf"{MOUNT}(?:[/?]|$)")),)
_PATHS: Final = (MOUNT, MOUNT + r"/{tail:[\s\S]*}")


class Dashboard:
    """Pages for people.

    Args:
        store: what they are about.
        router: who answers which request.
        gate: lets those in whom the APIs let in.
        retention: the retention times.
        budget: makes what tells how long a search may take.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        gate: Gate,
        retention: Retention,
        budget: Callable[[], Budget] = Budget,
    ) -> None:
        self._store = store
        self._router = router
        self._gate = gate
        self._retention = retention
        self._budget = budget

    def add_routes(self, app: web.Application) -> None:
        """Add the dashboard to an application: a single call, which finds the page itself."""
        call = {"*": told(self._answer)}
        add_calls(app.router, dict.fromkeys(_PATHS, call), refused)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        await ready()
        return await self._site.answer(request)

    @cached_property
    def _site(self) -> "Site":
        from jobstore.dashboard.site import Site  # see `ready`

        return Site(self._store, self._router, self._gate, self._retention, self._budget)
