"""All pages, and who finds them by the path of a request."""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Final

from aiohttp import web

from jobstore.dashboard import (
    access,
    acting,
    activity,
    assets,
    bulk,
    definition,
    definitions,
    job,
    jobs,
    live,
    login,
    operations,
    own_password,
    statistics,
    store,
    targets,
)
from jobstore.dashboard.guard import Guard
from jobstore.dashboard.pages import NoSuchPage, refused, see_other, told
from jobstore.dashboard.session import Entrance
from jobstore.dashboard.visit import MOUNT, PageRoute, Routes, Visit
from jobstore.http import private
from jobstore.live import Store
from jobstore.live.janitor import Retention
from jobstore.store.budget import Budget
from jobstore.targets.router import Router
from jobstore.web.access import Access
from jobstore.web.edge import Call, add_calls
from jobstore.web.gate import Gate

# Each page's module names its own.
ROUTES: Final[Routes] = (
    *assets.ROUTES,
    *jobs.ROUTES,
    *login.ROUTES,
    *access.ROUTES,
    *own_password.ROUTES,
    *activity.ROUTES,
    *statistics.ROUTES,
    *definitions.ROUTES,
    *definition.ROUTES,
    *targets.ROUTES,
    *store.ROUTES,
    *acting.ROUTES,
    *bulk.ROUTES,
    *operations.ROUTES,
    *live.ROUTES,
    *job.ROUTES,
)


class Site:
    """Answer requests for pages; `jobstore.dashboard.mount.Dashboard` has the arguments."""

    def __init__(
        self,
        store: Store,
        router: Router,
        gate: Gate,
        retention: Retention,
        budget: Callable[[], Budget],
    ) -> None:
        self._store = store
        self._budget = budget
        self._router = router
        self._retention = retention
        self._access = gate if isinstance(gate, Access) else None
        entrance = Entrance(self._access, store.sessions) if self._access else None
        self._guard = Guard(gate, entrance)
        self._urls = web.UrlDispatcher()
        add_calls(self._urls, self._calls(), refused)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request; there is an error page for unknown paths."""
        found = await self._urls.resolve(request)
        private.set_match(request, found)
        return await found.handler(request)

    def _calls(self) -> dict[str, dict[str, Call]]:
        calls: defaultdict[str, dict[str, Call]] = defaultdict(dict)
        for route in ROUTES:
            calls[f"{MOUNT}/{route.path}"][route.method] = self._answering(route)
        calls[MOUNT] = {"GET": _down}
        calls[MOUNT + r"/{tail:[\s\S]*}"] = {"*": self._answering(_NOWHERE)}
        return calls

    def _answering(self, route: PageRoute) -> Call:
        """Return a handler that answers a request for a page, also if it fails."""

        async def answer(request: web.Request) -> web.StreamResponse:
            visit = Visit(
                request=request,
                store=self._store,
                router=self._router,
                access=self._access,
                retention=self._retention,
                budget=self._budget,
            )
            return await route.handler(visit)

        safe = told(answer)
        return safe if route.strangers else told(partial(self._guard.enter, then=safe))


async def _down(request: web.Request) -> web.Response:
    """Redirect to the path with a slash at its end, where relative links are right."""
    return see_other(f"ui/{'?' if request.query_string else ''}{request.rel_url.raw_query_string}")


async def _nowhere(_: Visit) -> web.Response:
    raise NoSuchPage


_NOWHERE: Final = PageRoute("*", "", _nowhere)
