"""The roof: configuration, store, targets, executor and web application become one server."""

import asyncio
import importlib
import inspect
import logging
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

from aiohttp import web
from aiohttp.typedefs import Middleware

from jobstore import clock, wire
from jobstore.access import Access
from jobstore.capture import Capture
from jobstore.config import Config, TargetSection
from jobstore.config.limits import store_limits
from jobstore.dialects import arango, datameer, definitions, kinetica, native
from jobstore.dialects.arango import ArangoHeader, ArangoJobs
from jobstore.dialects.datameer import DatameerJobs
from jobstore.dialects.definitions import DefinitionsApi
from jobstore.dialects.kinetica import KineticaJobs
from jobstore.dialects.native import NativeReports, PreferHeader
from jobstore.errors import CannotListen, ConfigError, NotOpen, StoreError
from jobstore.executor import Executor
from jobstore.janitor import Janitor, Retention
from jobstore.store import Store, owned_store
from jobstore.targets import Target
from jobstore.targets.inprocess import InProcess
from jobstore.targets.router import Route, Router
from jobstore.targets.upstream import Upstream

# How many of jobstore's own calls may run as jobs at once, such as a job that lists jobs.
OWN_CONCURRENCY: Final = 64
# How long a request that is being answered may take once the server stops.
SHUTDOWN_SECONDS: Final = 5.0
# How long to wait before trying again what the server does by itself, if the store fails.
RETRY_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


def run(config: Config, ready: Callable[[str], None] | None = None) -> None:
    """Serve until a signal asks to stop.

    Args:
        config: what to serve, and where.
        ready: told the server's URL once it answers.

    Raises:
        JobstoreError: it cannot start.
    """
    asyncio.run(_run_until_signal(config, ready))


async def _run_until_signal(config: Config, ready: Callable[[str], None] | None) -> None:
    stop = asyncio.Event()
    with _signals(stop):
        async with serving(config) as server:
            if ready:
                ready(server.url)
            await stop.wait()
            stop.clear()
            await server.drain(stop)


@contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """Set an event at the first signal to stop, and at each further one."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers.

    Args:
        url: where.
        store: its store.
    """

    url: str
    store: Store
    executor: Executor
    drain_seconds: float

    async def drain(self, hurry: asyncio.Event) -> None:
        """Take no new jobs and let those that run finish, until an event says to hurry."""
        log.info("draining", extra={"action": "drain"})
        self.store.refuse()
        draining = asyncio.create_task(self.executor.drain(self.drain_seconds))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        await asyncio.wait({draining, hurrying})


@asynccontextmanager
async def serving(config: Config) -> AsyncIterator[Server]:
    """Serve while the context lasts.

    Args:
        config: what to serve, and where.

    Raises:
        JobstoreError: it cannot start.
    """
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(_listening(config.server.host, config.server.port))
        store = await stack.enter_async_context(
            owned_store(config.store.path, store_limits(config))
        )
        access = _access(config, store, listening)
        stack.push_async_callback(access.close)
        router = Router([await _route(stack, config, section) for section in config.targets])
        apis = _apis(config, store, router)
        router.add(await _own_route(stack, config, apis, access))
        executor = Executor(store, router, config.executor.max_attempts)
        janitor = Janitor(store, _retention(config), clock.now)
        await stack.enter_async_context(_background(executor, janitor))
        capture = Capture(
            store, router, (ArangoHeader(), PreferHeader()), int(config.capture.body_limit)
        )
        front = _application_of(apis, access.middleware, capture.middleware)
        front.on_response_prepare.append(wire.as_given)
        runner = await stack.enter_async_context(_running(front))
        await web.SockSite(runner, listening).start()
        yield Server(_url(listening), store, executor, config.executor.drain)


def _access(config: Config, store: Store, listening: socket.socket) -> Access:
    """Decide who is let in.

    Raises:
        NotOpen: everybody would be, from anywhere, and nobody has said that they shall.
    """
    loopback = ip_address(listening.getsockname()[0]).is_loopback
    anonymous = loopback or config.server.open
    if not anonymous and not store.accounts.roll().accounts:
        raise NotOpen(config.server.host)
    return Access(store.accounts, anonymous=anonymous)


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise CannotListen(host, port, os.strerror(error.errno or 0)) from error
    with listening:
        yield listening


def _url(listening: socket.socket) -> str:
    host, port, *_ = listening.getsockname()
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _retention(config: Config) -> Retention:
    section = config.retention
    return Retention(
        unfetched=section.unfetched,
        fetched=section.fetched,
        history=section.history,
        interval=section.interval,
    )


@asynccontextmanager
async def _background(executor: Executor, janitor: Janitor) -> AsyncIterator[None]:
    """Recover, run and clean while the context lasts."""
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(executor.run()),
            tasks.create_task(_persist("recover", executor.recover)),
            tasks.create_task(_persist("watch", executor.watch)),
            tasks.create_task(janitor.run()),
        ]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


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


@asynccontextmanager
async def _running(app: web.Application) -> AsyncIterator[web.AppRunner]:
    """Start an application up, and clean it up at the end."""
    runner = web.AppRunner(
        app,
        access_log=None,
        # A reader who is gone is noticed at once, and what was for him is held again.
        handler_cancellation=True,
        # Bodies are kept and sent on as they came.
        auto_decompress=False,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        yield runner
    finally:
        await runner.cleanup()


# --- our own APIs -------------------------------------------------------------------------------


class Api(Protocol):
    """The calls of one dialect."""

    def add_routes(self, app: web.Application) -> None:
        """Let an application answer them."""


def _apis(config: Config, store: Store, router: Router) -> list[tuple[Api, re.Pattern[str]]]:
    """Make the APIs that are wanted, each with how its paths begin."""
    zone = ZoneInfo(config.datameer.time_zone)
    dialects: dict[str, tuple[Api, re.Pattern[str]]] = {
        "kinetica": (KineticaJobs(store, router), kinetica.OWN_PATHS),
        "datameer": (DatameerJobs(store, router, zone), datameer.OWN_PATHS),
    }
    return [
        (ArangoJobs(store), arango.OWN_PATHS),
        *(dialects[name] for name in config.server.dialects),
        (NativeReports(store), native.OWN_PATHS),
        (DefinitionsApi(store, router), definitions.OWN_PATHS),
    ]


async def _own_route(
    stack: AsyncExitStack,
    config: Config,
    apis: Sequence[tuple[Api, re.Pattern[str]]],
    access: Access,
) -> Route:
    """Make a target of our own APIs, for jobs that ask them."""
    own = _application_of(apis, access.on_behalf)
    return Route(
        name="/_api/job",
        target=await _in_process(stack, own, config.executor.cancel_grace),
        concurrency=OWN_CONCURRENCY,
        pattern=re.compile("|".join(dict.fromkeys(pattern.pattern for _, pattern in apis))),
    )


def _application_of(
    apis: Sequence[tuple[Api, re.Pattern[str]]], *middlewares: Middleware
) -> web.Application:
    app = web.Application(middlewares=middlewares)
    for api, _ in apis:
        api.add_routes(app)
    return app


# --- targets ------------------------------------------------------------------------------------


async def _route(stack: AsyncExitStack, config: Config, section: TargetSection) -> Route:
    return Route(
        name=section.prefix,
        target=await _target(stack, section, config.executor.cancel_grace),
        concurrency=section.concurrency,
        timeout=section.timeout,
        replay=section.replay,
        credentials=section.forward_credentials,
    )


async def _target(stack: AsyncExitStack, section: TargetSection, grace: float) -> Target:
    if section.upstream is not None:
        return await stack.enter_async_context(Upstream.open(section.upstream))
    assert section.app is not None
    return await _in_process(stack, await _application(section.app), grace)


async def _in_process(stack: AsyncExitStack, app: web.Application, grace: float) -> InProcess:
    runner = await stack.enter_async_context(_running(app))
    assert runner.server is not None
    return InProcess(runner.server, grace)


async def _application(name: str) -> web.Application:
    """Import an application's factory and call it.

    Args:
        name: ``MODULE:FACTORY``; the current folder is searched as well.

    Raises:
        ConfigError: there is no such factory, or what it makes is no application.
    """
    module_name, _, factory_name = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        app: Any = importlib.import_module(module_name)
        for part in factory_name.split("."):
            app = getattr(app, part)
        if callable(app):
            app = app()
        if inspect.isawaitable(app):
            app = await app
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        raise ConfigError(f"cannot load the application {name}: {problem}") from error
    if not isinstance(app, web.Application):
        raise ConfigError(f"{name} makes {type(app).__name__}, expected an aiohttp Application")
    return app
