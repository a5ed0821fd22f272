"""What a server and an application with jobs of its own are both made of."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Protocol, TypeAlias
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from jobstore import prefer
from jobstore.browsers import Browsers
from jobstore.config import Config
from jobstore.config.sections import Limits as TargetLimits
from jobstore.dialects import arango, datameer, kinetica, native
from jobstore.dialects.arango import ArangoJobs
from jobstore.dialects.datameer import DatameerJobs
from jobstore.dialects.kinetica import KineticaJobs
from jobstore.dialects.native import NativeApi
from jobstore.door import Answering
from jobstore.errors import StoreError
from jobstore.executor import Executor
from jobstore.janitor import Janitor, Retention
from jobstore.origins import Rules
from jobstore.retry import Retry
from jobstore.room import ROOM, Room
from jobstore.scheduler import Scheduler
from jobstore.store import Store
from jobstore.targets import Target
from jobstore.targets.inprocess import InProcess
from jobstore.targets.router import Route, Router

# The headers that ask for a job, in lower case.
ASKING: Final = frozenset({arango.ASYNC, prefer.HEADER.lower()})
# How many of jobstore's own calls may run as jobs at once, such as a job that lists jobs.
OWN_CONCURRENCY: Final = 64
# How long a request that is being answered may take once the server stops.
SHUTDOWN_SECONDS: Final = 5.0
# What aiohttp's servers are told.
SERVING: Final[Mapping[str, Any]] = {
    "access_log": None,
    # A reader who is gone is noticed at once, and what was for him is held again.
    "handler_cancellation": True,
    # Bodies are kept and sent on as they came.
    "auto_decompress": False,
    # In bytes; up to three times as much of a body that nobody reads yet is in memory.
    "read_bufsize": 2**16,
}
# How long to wait before trying again what is done in the background, if the store fails.
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Api(Protocol):
    """The calls of one dialect."""

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""


class Gate(Protocol):
    """Who is let in."""

    @property
    def everybody(self) -> bool:
        """Whether everybody is let in just now."""

    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Find out who sends a request, and turn strangers away."""

    @property
    def on_behalf(self) -> Middleware:
        """What lets a job ask on behalf of its owner."""


Apis: TypeAlias = Sequence[tuple[Api, re.Pattern[str]]]


def apis_of(config: Config, store: Store, router: Router) -> Apis:
    """Make the APIs that are wanted, each with how its paths begin."""
    zone = ZoneInfo(config.datameer.time_zone)
    dialects: dict[str, tuple[Api, re.Pattern[str]]] = {
        "kinetica": (KineticaJobs(store, router), kinetica.OWN_PATHS),
        "datameer": (DatameerJobs(store, router, zone), datameer.OWN_PATHS),
    }
    return [
        (ArangoJobs(store), arango.OWN_PATHS),
        *(dialects[name] for name in config.server.dialects),
        (NativeApi(store, router), native.OWN_PATHS),
    ]


def browsers_of(config: Config, access: Gate, *, public: bool) -> Browsers:
    """Make what decides which web pages may ask.

    Args:
        config: names the origins and the hosts that are trusted.
        access: tells whether everybody is let in.
        public: whether the server may be reached from other machines.
    """
    server = config.server
    rules = Rules.of(server.origins, (*server.hosts, server.host), public=public)
    return Browsers(rules, lambda: access.everybody, ASKING)


def application_of(apis: Apis, *middlewares: Middleware) -> web.Application:
    """Make an application of APIs."""
    app = web.Application(middlewares=middlewares)
    app[ROOM] = Room()
    for api, _ in apis:
        api.add_routes(app)
    return app


async def answering(stack: AsyncExitStack, apis: Apis) -> list[tuple[re.Pattern[str], Answering]]:
    """Make what answers our own paths at the front door, until the stack is unwound.

    ArangoDB's API is one handler, which needs no router, and is on the way of most jobs.
    """
    server = await served(stack, application_of(apis))
    return [
        (pattern, api.handle if isinstance(api, ArangoJobs) else server.request_handler)
        for api, pattern in apis
    ]


async def own_route(
    stack: AsyncExitStack,
    config: Config,
    apis: Apis,
    access: Gate,
) -> Route:
    """Make a target of our own APIs, for jobs that ask them."""
    own = application_of(apis, access.on_behalf)
    return Route(
        name="/_api/job",
        target=await in_process(stack, own, config.executor.cancel_grace),
        concurrency=OWN_CONCURRENCY,
        pattern=re.compile("|".join(dict.fromkeys(pattern.pattern for _, pattern in apis))),
    )


def route_of(name: str, target: Target, limits: TargetLimits) -> Route:
    """Make the route of a target, with what holds for it.

    Args:
        name: the path that it owns with everything below it.
        target: who answers there.
        limits: what the configuration says of it.
    """
    return Route(
        name=name,
        target=target,
        concurrency=limits.concurrency,
        timeout=limits.timeout,
        replay=limits.replay,
        credentials=limits.forward_credentials,
        retry=Retry(
            retries=limits.retries,
            delay=limits.retry_delay,
            longest=limits.retry_delay_max,
            statuses=frozenset(limits.retry_statuses),
        ),
    )


async def in_process(stack: AsyncExitStack, app: web.Application, grace: float) -> InProcess:
    """Start an application up as a target, until the stack is unwound."""
    return InProcess(await served(stack, app), grace)


async def served(stack: AsyncExitStack, app: web.Application) -> web.Server:
    """Start an application up, and give what answers its requests, until the stack is unwound."""
    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN_SECONDS, **SERVING)
    await stack.enter_async_context(running(runner))
    assert runner.server is not None
    return runner.server


@asynccontextmanager
async def running(runner: web.BaseRunner) -> AsyncIterator[None]:
    """Set a runner up, and clean it up at the end."""
    await runner.setup()
    try:
        yield
    finally:
        await runner.cleanup()


def retention_of(config: Config) -> Retention:
    """Read from the configuration how long things are kept."""
    section = config.retention
    return Retention(
        unfetched=section.unfetched,
        fetched=section.fetched,
        history=section.history,
        interval=section.interval,
    )


@asynccontextmanager
async def background(
    store: Store, executor: Executor, scheduler: Scheduler, janitor: Janitor
) -> AsyncIterator[None]:
    """Recover, run and clean while the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(executor.run()),
            tasks.create_task(_recover_and_schedule(executor, scheduler)),
            tasks.create_task(_persist("watch", executor.watch)),
            tasks.create_task(_persist("come due", store.come_due)),
            tasks.create_task(janitor.run()),
        ]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


async def _recover_and_schedule(executor: Executor, scheduler: Scheduler) -> None:
    """Recover what an earlier start left behind; only then it is known which runs go on."""
    await _persist("recover", executor.recover)
    await _persist("schedule", scheduler.run)


async def _persist(action: str, work: Callable[[], Awaitable[object]]) -> None:
    """Do what the server does by itself, and do not give up on it if the store fails."""
    while True:
        try:
            await work()
        except StoreError as error:
            log.warning("will try again: %s", error, extra={"action": action})
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return
