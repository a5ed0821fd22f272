"""The APIs and pages that a server or an application with jobs answers."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AsyncExitStack
from typing import Final, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Middleware
from aiohttp.web_urldispatcher import AbstractResource

from jobstore.config import Config
from jobstore.config.retention import retention_of
from jobstore.dashboard import mount, pages
from jobstore.dashboard.mount import Dashboard
from jobstore.dialects import arango, native
from jobstore.dialects.arango import ArangoJobs, ArangoLogin
from jobstore.dialects.arango import login as arango_login
from jobstore.dialects.native import NativeApi
from jobstore.live import Store
from jobstore.live.meters import Traffic
from jobstore.model.errors import JobstoreError
from jobstore.model.frozen import frozen
from jobstore.model.target_state import OWN_CALLS
from jobstore.targets.router import PathClaim, Router, TargetRoute
from jobstore.web import intake, refusals
from jobstore.web.capture import AsyncHeader
from jobstore.web.door import Answering, AtOnce, Own
from jobstore.web.gate import Gate
from jobstore.web.refusals import Refuse
from jobstore.web.room import ROOM, Room
from jobstore.web.runners import in_process, served

# How many of jobstore's own calls may run as jobs at once, such as a job that lists jobs.
OWN_CONCURRENCY: Final = 64


class Api(Protocol):
    """The calls of one dialect."""

    def add_routes(self, app: web.Application) -> None:
        """Add the calls to an application."""


@frozen
class Spoken:
    """An API that the server answers.

    Args:
        api: its calls.
        claims: the requests that are for it.
        refuse: answers requests of refused senders.
        traffic: how its requests are counted.
        at_once: answers some of them at the desk, or None.
        guarded: whether it checks by itself who asks.
    """

    api: Api
    claims: tuple[PathClaim, ...]
    refuse: Refuse
    traffic: Traffic
    at_once: AtOnce | None = None
    guarded: bool = False


Apis: TypeAlias = Sequence[Spoken]
Calls: TypeAlias = Sequence[AbstractResource]


def apis_of(
    config: Config,
    store: Store,
    router: Router,
    dialects: Collection[str],
    *,
    login: bool = False,
) -> Apis:
    """Create the APIs that the server answers.

    Args:
        config: how they answer.
        router: the targets.
        dialects: which dialects to answer, besides ArangoDB's and our own.
        login: whether to answer ArangoDB's login; a service may have its own.
    """
    known = {"kinetica": _kinetica, "datameer": _datameer}
    jobs, ours = ArangoJobs(store), NativeApi(store, router, retention_of(config))
    return [
        Spoken(jobs, arango.CLAIMS, arango.refused, Traffic.ARANGO, jobs.at_once),
        *([_login(store)] if login else []),
        *(speak(config, store, router) for name, speak in known.items() if name in dialects),
        Spoken(ours, native.CLAIMS, native.refused, Traffic.NATIVE, ours.at_once),
    ]


def pages_of(config: Config, store: Store, router: Router, gate: Gate) -> Apis:
    """Create the dashboard, unless it is turned off; jobs cannot request its pages.

    Args:
        router: the targets.
        gate: decides who has access.
    """
    if not config.dashboard.enabled:
        return []
    dashboard = Dashboard(store, router, gate, retention_of(config))
    return [Spoken(dashboard, mount.CLAIMS, pages.refused, Traffic.DASHBOARD, guarded=True)]


# Most services have clients of neither: these two are loaded only where they are spoken.


def _kinetica(_: Config, store: Store, router: Router) -> Spoken:
    from jobstore.dialects import kinetica

    # Kinetica's clients send nothing but POST.
    claims = (PathClaim(kinetica.OWN_PATHS, frozenset({"POST"})),)
    jobs = kinetica.KineticaJobs(store, router)
    return Spoken(jobs, claims, kinetica.refused, Traffic.KINETICA, jobs.at_once)


def _datameer(config: Config, store: Store, router: Router) -> Spoken:
    from jobstore.dialects import datameer

    api = datameer.DatameerJobs(store, router, ZoneInfo(config.datameer.time_zone))
    return Spoken(api, datameer.CLAIMS, datameer.refused, Traffic.DATAMEER)


def unanswered_of(dialects: Collection[str]) -> Callable[[web.Request], web.Response | None]:
    """Return a function that answers clients of a dialect when no target does; None for others."""
    if "kinetica" in dialects:
        from jobstore.dialects import kinetica  # as above

        return kinetica.no_such_endpoint
    return lambda _: None


def _login(store: Store) -> Spoken:
    """Create ArangoDB's login."""
    api, claims = ArangoLogin(store.accounts), arango_login.CLAIMS
    return Spoken(api, claims, arango_login.refused, Traffic.ARANGO)


def refusing(config: Config, apis: Apis, async_headers: Sequence[AsyncHeader]) -> Refuse:
    """Return a function that refuses a request, in the form of the API that was called."""
    shown = mount.CLAIMS if config.dashboard.enabled else ()
    by_claim: list[tuple[PathClaim, Refuse]] = [(claim, pages.refused) for claim in shown]
    by_claim += [(claim, spoken.refuse) for spoken in apis for claim in spoken.claims]
    # A login to the service behind jobstore is refused as well, and deserves to be told why.
    by_claim += [(claim, arango_login.refused) for claim in arango_login.CLAIMS]

    def refuse(request: web.Request, error: JobstoreError) -> web.Response:
        for asking in async_headers:
            if asking.asks(request.headers) is not None:
                return asking.refused(error)
        path = intake.path_of(request)
        for claim, answer in by_claim:
            if claim.covers(request.method, path):
                return answer(request, error)
        return refusals.refused(request, error)

    return refuse


def calls_of(apis: Apis) -> Calls:
    """Create the calls of APIs, which several applications may share: making them takes a while."""
    app = web.Application()
    for spoken in apis:
        spoken.api.add_routes(app)
    return [*app.router.resources()]


def application_of(calls: Calls, *middlewares: Middleware) -> web.Application:
    """Create an application of calls."""
    app = web.Application(middlewares=middlewares)
    app[ROOM] = Room()
    for call in calls:
        app.router.register_resource(call)
    return app


async def answering(
    stack: AsyncExitStack, apis: Apis, calls: Calls
) -> list[tuple[PathClaim, Own[Answering]]]:
    """Return the handler of our own calls at the front door, until the stack is unwound.

    ArangoDB's API is a single handler without a router: most jobs use it.
    """
    server = await served(stack, application_of(calls))
    return [
        (claim, Own(spoken.traffic, _handler(spoken.api, server), spoken.guarded))
        for spoken in apis
        for claim in spoken.claims
    ]


def _handler(api: Api, server: web.Server) -> Answering:
    return api.handle if isinstance(api, ArangoJobs) else server.request_handler


def prompt(apis: Apis) -> list[tuple[PathClaim, Own[AtOnce]]]:
    """Return what answers our own calls without a task, where that is worthwhile."""
    return [
        (claim, Own(spoken.traffic, spoken.at_once))
        for spoken in apis
        if spoken.at_once is not None
        for claim in spoken.claims
    ]


async def own_route(
    stack: AsyncExitStack,
    config: Config,
    apis: Apis,
    calls: Calls,
    access: Gate,
) -> TargetRoute:
    """Create a route to our own APIs, for jobs that call them."""
    own = application_of(calls, access.on_behalf)
    return TargetRoute(
        name=OWN_CALLS,
        target=await in_process(stack, own, config.executor.cancel_grace),
        concurrency=OWN_CONCURRENCY,
        claims=tuple(claim for spoken in apis for claim in spoken.claims),
    )
