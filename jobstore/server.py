"""The standalone server: configuration, store, targets, executor and web application together."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from aiohttp import web

from jobstore.apis import (
    answering,
    apis_of,
    calls_of,
    own_route,
    pages_of,
    prompt,
    refusing,
    unanswered_of,
)
from jobstore.assembly import access_of, browsers_of, measured, route_of, rules_of, store_of, traced
from jobstore.config import Config, TargetSection
from jobstore.config.retention import retention_of
from jobstore.dashboard.visit import MOUNT
from jobstore.dialects.arango import ArangoHeader
from jobstore.dialects.native import PROBES, PreferHeader
from jobstore.live import Store
from jobstore.live.background import background
from jobstore.live.executor import Executor
from jobstore.live.janitor import Janitor
from jobstore.live.scheduler import Scheduler
from jobstore.model import clock
from jobstore.model.errors import NotOpen
from jobstore.model.frozen import frozen
from jobstore.service import heap, memory
from jobstore.service.certificates import Certificates
from jobstore.service.hangup import on_hangup
from jobstore.service.listening import ListeningSocket
from jobstore.service.reloading import Reloading, Reread
from jobstore.service.sockets import certificates_of, sockets_of
from jobstore.service.stopping import cancelled, end_now, end_within, on_stop
from jobstore.service.supervising import attended, drain_words, reloaded, starting
from jobstore.service.systemd import NOBODY, Supervisor
from jobstore.targets import Target
from jobstore.targets.loading import application_named
from jobstore.targets.router import Router, TargetRoute
from jobstore.web import admin, descriptors, late
from jobstore.web.access import PASSING, Access
from jobstore.web.browsers import Browsers
from jobstore.web.capture import Capture
from jobstore.web.door import Door
from jobstore.web.patience import PatientDoor
from jobstore.web.proxies import Proxies
from jobstore.web.refusals import Refuse
from jobstore.web.runners import SERVING, SHUTDOWN_SECONDS, in_process, running
from jobstore.web.switchable import end_tunnels

# How long closing may take once running jobs have ended or were left, as the service manager is
# told, in seconds.
LEAVING_SECONDS: Final = 60.0
_DRAINING: Final = {"action": "drain"}

log = logging.getLogger(__name__)


def run(
    config: Config,
    ready: "Callable[[Server], None] | None" = None,
    reread: Reread | None = None,
) -> None:
    """Serve until a signal asks to stop.

    Args:
        config: what to serve, and where.
        ready: called with the server once it answers.
        reread: reads the configuration again, when a signal asks for it.

    It ends the process itself if a part of the application cannot be stopped.

    Raises:
        JobstoreError: it cannot start.
    """
    runner, grace = asyncio.Runner(), config.executor.cancel_grace
    try:
        runner.run(_run_until_signal(config, ready, reread))
    except BaseException:
        if not runner.get_loop().run_until_complete(cancelled()):
            runner.close()
        raise
    end_within(max(grace, SHUTDOWN_SECONDS), 0)
    left = runner.get_loop().run_until_complete(cancelled())
    if left:
        log.warning(
            "%d tasks of the application do not end; the server stops without waiting for them",
            left,
            extra={"action": "stop"},
        )
        end_now(0)
    runner.close()


async def _run_until_signal(
    config: Config, ready: "Callable[[Server], None] | None", reread: Reread | None
) -> None:
    stop, hangup = asyncio.Event(), asyncio.Event()
    supervisor = Supervisor(os.environ)
    with on_stop(stop.set), on_hangup(asyncio.get_running_loop(), hangup.set):
        async with AsyncExitStack() as stack:
            async with starting(supervisor):
                server = await stack.enter_async_context(serving(config, os.environ, reread))
            memory.while_serving()
            if ready:
                ready(server)
            async with (
                heap.kept_small(),
                attended(supervisor, server.store),
                reloaded(server.reload, hangup, supervisor),
            ):
                await stop.wait()
            stop.clear()
            await server.drain(stop, supervisor)
            end_within(3 * (config.executor.cancel_grace + SHUTDOWN_SECONDS), 1)


@frozen
class Server:
    """A running server.

    Args:
        urls: where it answers.
        store: its store.
        reload: reads the configuration again.
        dashboard: the URL of its dashboard, if it has one.
    """

    urls: Sequence[str]
    store: Store
    executor: Executor
    drain_seconds: float
    reload: Reloading
    dashboard: str | None = None

    @property
    def url(self) -> str:
        """Its first URL."""
        return self.urls[0]

    async def drain(self, hurry: asyncio.Event, supervisor: Supervisor = NOBODY) -> None:
        """Accept no new jobs and let running ones finish, until an event says to hurry."""
        self.store.refuse()
        words = drain_words(self.store, self.drain_seconds)
        log.info("draining", extra=_DRAINING)
        log.info("%s", words, extra=_DRAINING)
        supervisor.stopping(words, self.drain_seconds + LEAVING_SECONDS)
        draining = asyncio.create_task(self.executor.drain(self.drain_seconds))
        hurrying = asyncio.create_task(hurry.wait())
        await asyncio.wait({draining, hurrying}, return_when=asyncio.FIRST_COMPLETED)
        for task in (draining, hurrying):
            task.cancel()
        await asyncio.wait({draining, hurrying})


@asynccontextmanager
async def serving(
    config: Config,
    environment: MutableMapping[str, str] | None = None,
    reread: Reread | None = None,
) -> AsyncIterator[Server]:
    """Serve while the context lasts.

    Args:
        config: what to serve, and where.
        environment: names passed sockets; None for none.
        reread: reads the configuration again; None if that is not possible.

    Raises:
        JobstoreError: it cannot start.
    """
    # What is durable is closed first: an application's own cleanup may take its time, or hang.
    async with AsyncExitStack() as applications, AsyncExitStack() as stack:
        refusals = descriptors.listen()
        certificates = certificates_of(config.server)
        sockets = stack.enter_context(
            sockets_of(config, {} if environment is None else environment)
        )
        store = await stack.enter_async_context(store_of(config, sockets.name))
        router = Router()
        apis = apis_of(config, store, router, config.dialects, login=config.is_demo)
        headers = (ArangoHeader(), PreferHeader(store))
        access = _access(config, store, sockets.all, refusing(config, apis, headers))
        stack.push_async_callback(access.close)
        pages = pages_of(config, store, router, access)
        router.add(*[await _route(applications, config, section) for section in config.targets])
        calls = calls_of(apis)
        router.add(await own_route(stack, config, apis, calls, access))
        traced(config, store)
        access.meters = measured(config, store, router, [*pages, *apis], front=True)
        executor = Executor(store, router, config.executor.max_attempts)
        janitor = Janitor(store, retention_of(config), clock.now)
        scheduler = Scheduler(store, router)
        await stack.enter_async_context(background(store, executor, scheduler, janitor))
        capture = Capture(
            store,
            router,
            headers,
            config.capture.body_limit,
            unanswered=unanswered_of(config.dialects),
        )
        browsers = browsers_of(config, access, public=config.server.open)
        own = await answering(stack, [*pages, *apis], [*calls_of(pages), *calls])
        made = PatientDoor if config.store.url else Door
        door = made(
            browsers,
            access,
            capture,
            own,
            prompt(apis),
            probes=PROBES,
            passing=PASSING if config.server.protect == "jobs" else None,
            meters=store.meters,
            elsewhere=admin.PATHS if sockets.admin else None,
        )
        options = {
            **SERVING,
            "limits": config.http.limits,
            "keepalive_timeout": config.server.keep_alive,
        }
        refusals.server = server = door.server(**options)
        stack.enter_context(late.reserve())
        await _listen(stack, server, sockets.main, certificates)
        stack.callback(end_tunnels, server)
        await _listen(stack, admin.AdminDoor(door).server(**options), sockets.admin, certificates)
        stack.callback(store.changes.dismiss)
        stack.callback(store.waits.dismiss)  # before those are waited for who wait for their jobs
        reloading = _reloading(config, reread, certificates, browsers, access)
        urls = [each.url for each in sockets.main]
        dashboard = _dashboard(sockets.admin or sockets.main) if pages else None
        yield Server(urls, store, executor, config.executor.drain, reloading, dashboard)


def _dashboard(listeners: Sequence[ListeningSocket]) -> str:
    """Return the dashboard's URL, if possible one that a browser can open."""
    urls = [each.url for each in listeners]
    return next((url for url in urls if "://" in url), urls[0]) + f"{MOUNT}/"


async def _listen(
    stack: AsyncExitStack,
    server: web.Server,
    listeners: Sequence[ListeningSocket],
    certificates: Certificates | None,
) -> None:
    """Answer requests that come by some sockets, as long as the stack lasts."""
    runner = web.ServerRunner(server, shutdown_timeout=SHUTDOWN_SECONDS)
    await stack.enter_async_context(running(runner))
    for listener in listeners:
        secure = certificates.context if listener.secure and certificates else None
        await web.SockSite(runner, listener.socket, ssl_context=secure).start()


def _reloading(
    config: Config,
    reread: Reread | None,
    certificates: Certificates | None,
    browsers: Browsers,
    access: Access,
) -> Reloading:
    """Prepare to read the configuration again: who is trusted follows it at once."""

    def trust(config: Config) -> None:
        browsers.follow(rules_of(config, public=config.server.open))
        access.proxies = Proxies(config.server.trusted_proxies)

    return Reloading(config, reread, certificates, trust)


def _access(
    config: Config, store: Store, listeners: Sequence[ListeningSocket], refuse: Refuse
) -> Access:
    """Create the access check.

    Raises:
        NotOpen: everybody would have access from anywhere, without ``--open``.
    """
    public = [each.host for each in listeners if not each.is_local]
    anonymous = not public or config.server.open
    if not (anonymous or store.accounts.snapshot().accounts):
        raise NotOpen(public[0])
    return access_of(config, store, refuse, anonymous=anonymous)


# --- targets ------------------------------------------------------------------------------------


async def _route(stack: AsyncExitStack, config: Config, section: TargetSection) -> TargetRoute:
    target = await _target(stack, config, section)
    return route_of(section.prefix, target, section)


async def _target(stack: AsyncExitStack, config: Config, section: TargetSection) -> Target:
    if section.upstream is not None:
        # Its client is of no use to a server whose targets are all in process.
        from jobstore.targets.upstream import Upstream

        upstream = Upstream.open(
            section.upstream,
            prefix=section.cut,
            preserve_host=section.keeps_host,
            limits=config.http.limits,
        )
        return await stack.enter_async_context(upstream)
    assert section.app is not None
    app, grace = await application_named(section.app), config.executor.cancel_grace
    return await in_process(stack, app, grace, cleanup=grace, prefix=section.cut)
