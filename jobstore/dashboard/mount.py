"""The dashboard as a part of an application.

Nothing here, and nothing imported here, loads the template engine: `pages` does so when the
first page is requested.
"""

import logging
import re
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
from jobstore.dashboard.pages import NoSuchPage, ready, refused, see_other
from jobstore.dashboard.session import Entrance
from jobstore.dashboard.visit import MOUNT, PageRoute, Routes, Visit
from jobstore.live import Store
from jobstore.live.janitor import Retention
from jobstore.model.errors import JobstoreError
from jobstore.store.budget import Budget
from jobstore.targets.router import PathClaim, Router
from jobstore.web.access import Access
from jobstore.web.edge import Call, add_calls
from jobstore.web.gate import Gate
from jobstore.web.refusals import Internal

CLAIMS: Final = (PathClaim(re.compile(rf"{MOUNT}(?:[/?]|$)")),)
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

log = logging.getLogger(__name__)


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
        self._budget = budget
        self._router = router
        self._retention = retention
        self._access = gate if isinstance(gate, Access) else None
        entrance = Entrance(self._access, store.sessions) if self._access else None
        self._guard = Guard(gate, entrance)

    def add_routes(self, app: web.Application) -> None:
        """Add the pages to an application, and an error page for unknown paths."""
        calls: defaultdict[str, dict[str, Call]] = defaultdict(dict)
        for route in ROUTES:
            calls[f"{MOUNT}/{route.path}"][route.method] = self._answering(route)
        for by_method in calls.values():
            if "GET" in by_method:
                by_method["HEAD"] = by_method["GET"]
        calls[MOUNT] = {"GET": _down, "HEAD": _down}
        calls[MOUNT + r"/{tail:[\s\S]*}"] = {"*": self._answering(_NOWHERE)}
        add_calls(app, calls, refused)

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

        told = _told(answer)
        return told if route.strangers else _told(partial(self._guard.enter, then=told))


def _told(call: Call) -> Call:
    """Answer with an error page; internal errors are only logged."""

    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            await ready()
            return await call(request)
        except JobstoreError as error:
            return refused(request, error)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception:
            log.exception("a page could not be made", extra={"action": "answer"})
            return refused(request, Internal())

    return answer


async def _down(request: web.Request) -> web.Response:
    """Redirect to the path with a slash at its end, where relative links are right."""
    return see_other(f"ui/{'?' if request.query_string else ''}{request.rel_url.raw_query_string}")


async def _nowhere(_: Visit) -> web.Response:
    raise NoSuchPage


_NOWHERE: Final = PageRoute("*", "", _nowhere)
