"""The roof: configuration, store, targets, executor and web application become one server."""

import asyncio
import importlib
import inspect
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from jobstore import clock, wire
from jobstore.capture import Capture
from jobstore.config import Config, TargetSection
from jobstore.dialects.arango import OWN_PATHS, ArangoJobs, ArangoTrigger
from jobstore.dialects.native import NativeReports, PreferTrigger
from jobstore.errors import CannotListen, ConfigError, StoreError
from jobstore.executor import Executor
from jobstore.janitor import Janitor, Retention
from jobstore.store import SECRET_HEADERS, Limits, Store, owned_store
from jobstore.targets import Target
from jobstore.targets.inprocess import InProcess
from jobstore.targets.router import Route, Router
from jobstore.targets.upstream import Upstream

# How many of jobstore's own calls may run as jobs at once, such as a job that lists jobs.
OWN_CONCURRENCY: Final = 64
# How long a request that is being answered may take once the server stops.
SHUTDOWN_SECONDS: Final = 5.0
# How long to wait before recovering again after the store could not be written.
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
        store = await stack.enter_async_context(owned_store(config.store.path, _limits(config)))
        jobs = ArangoJobs(store)
        router = await _router(stack, config, jobs)
        executor = Executor(store, router, config.executor.max_attempts)
        janitor = Janitor(store, _retention(config), clock.now)
        await stack.enter_async_context(_background(executor, janitor))
        capture = Capture(
            store, router, (ArangoTrigger(), PreferTrigger()), int(config.capture.body_limit)
        )
        front = _front(capture, jobs, NativeReports(store))
        runner = await stack.enter_async_context(_running(front))
        await web.SockSite(runner, listening).start()
        yield Server(_url(listening), store, executor, config.executor.drain)


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


def _limits(config: Config) -> Limits:
    return Limits(
        queue=config.executor.queue_limit,
        body=int(config.capture.body_limit),
        inline=int(config.store.inline_limit),
        size=int(config.store.max_size),
        secret=SECRET_HEADERS.union(config.privacy.redact),
    )


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
            tasks.create_task(_recover(executor)),
            tasks.create_task(janitor.run()),
        ]
        try:
            yield
        finally:
            for task in running:
                task.cancel()


async def _recover(executor: Executor) -> None:
    """Recover what an earlier start left behind, and do not give up on it."""
    while True:
        try:
            await executor.recover()
        except StoreError as error:
            log.warning("will try again: %s", error, extra={"action": "recover"})
            await asyncio.sleep(RETRY_SECONDS)
        else:
            return


def _front(capture: Capture, jobs: ArangoJobs, reports: NativeReports) -> web.Application:
    app = web.Application(middlewares=[capture.middleware])
    app.on_response_prepare.append(wire.as_given)
    jobs.add_routes(app)
    reports.add_routes(app)
    return app


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


# --- targets ------------------------------------------------------------------------------------


async def _router(stack: AsyncExitStack, config: Config, jobs: ArangoJobs) -> Router:
    """Bring up every target, jobstore's own API among them."""
    own = web.Application()
    jobs.add_routes(own)
    routes = [
        Route(
            name="/_api/job",
            target=await _in_process(stack, own, config.executor.cancel_grace),
            concurrency=OWN_CONCURRENCY,
            pattern=OWN_PATHS,
        )
    ]
    grace = config.executor.cancel_grace
    routes += [await _route(stack, section, grace) for section in config.targets]
    return Router(routes)


async def _route(stack: AsyncExitStack, section: TargetSection, grace: float) -> Route:
    return Route(
        name=section.prefix,
        target=await _target(stack, section, grace),
        concurrency=section.concurrency,
        timeout=section.timeout,
        replay=section.replay,
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
