"""jobstore inside another aiohttp application: durable jobs without a server of their own."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.assembly import (
    Gate,
    apis_of,
    application_of,
    background,
    browsers_of,
    measured,
    own_route,
    refusing,
    retention_of,
    route_of,
    served,
    store_of,
    traced,
)
from jobstore.config import Config, load, place
from jobstore.dialects.arango import ArangoHeader
from jobstore.dialects.native import PROBES, PreferHeader
from jobstore.http import private
from jobstore.live import Store
from jobstore.live.executor import Executor
from jobstore.live.janitor import Janitor
from jobstore.live.scheduler import Scheduler
from jobstore.model import clock, passwords
from jobstore.model.account import NOBODY, account_of_name
from jobstore.model.coded import FieldsAsWritten, JobOptions, submission
from jobstore.model.errors import ConfigError, StoreInUse
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.model.message import Response, chunks
from jobstore.targets.inprocess import InProcess, current
from jobstore.targets.router import PathClaim, Router
from jobstore.web import intake, wire
from jobstore.web.access import Access
from jobstore.web.browsers import Browsers
from jobstore.web.capture import Capture
from jobstore.web.identifying import Identify, Identifying
from jobstore.web.proxies import Proxies
from jobstore.web.refusals import Refuse

# How often to look whether the application has started up.
_LOOK_SECONDS: Final = 0.01

_ONE_PROCESS: Final = (
    "a file has one process: run one worker (gunicorn --workers 1), or let several share a "
    'database: store="postgresql://..."'
)
_NOT_MAIN: Final = (
    "jobstore.setup: expected the main application, the one that add_subapp is called on; jobs can "
    "reach everything below it"
)
_TOO_LATE: Final = "jobstore.setup: expected an application that has not started yet"


def setup(
    app: web.Application,
    store: str | Path = "jobs.db",
    *,
    identify: Identify | None = None,
    open: bool = False,  # noqa: A002 - as in the configuration
    **sections: Any,
) -> "Jobs":
    """Give an application durable jobs: by header, over the APIs, and from its own code.

    The APIs are ArangoDB's and jobstore's own, and those that ``server={"dialects": [...]}`` names.

    The store is opened when the application starts up; jobs run once it has. What the application
    answers can be asked for as a job, and jobstore's own paths are added to it, behind all its
    middlewares. A job's request goes through them as well: ``current`` tells it from others.

    Args:
        app: the main application, which has not started yet.
        store: the store's file, or the URL of the database that several nodes share; it is created
            if there is none.
        identify: tells who asks for jobs or about them: a ``jobstore.Identity``, or None for
            nobody. A job then takes ``Authorization`` along, for the application's own login.
        open: whether everybody may see and change all jobs. Without this and ``identify``, the
            store has to have accounts when the application starts up.
        sections: sections of the configuration, as in its file: ``executor={"concurrency": 4}``.

    Returns:
        what submits jobs without HTTP.

    Raises:
        ConfigError: a section or a key is wrong.
    """
    merged = {**sections, "store": {**place(store), **sections.get("store", {})}}
    if open:
        merged["server"] = {**sections.get("server", {}), "open": True}
    # The application's own login needs the credentials that were sent with a job.
    defaults = {"executor": {"forward_credentials": identify is not None}}
    jobs = Jobs(app, load(None, merged, environ={}, defaults=defaults), identify)
    if app.middlewares.frozen:
        raise ConfigError(_NOT_MAIN if not app.frozen else _TOO_LATE)
    app.middlewares.append(jobs.middleware)
    app.cleanup_ctx.append(jobs.lifetime)
    app.on_shutdown.append(jobs.dismiss)
    app.on_response_prepare.append(wire.before_head)
    return jobs


@dataclass(frozen=True, slots=True)
class _Live:
    """What there is while the application runs.

    Args:
        front: answers jobstore's own calls.
        claims: the calls that are for it.
    """

    store: Store
    browsers: Browsers
    access: Gate
    capture: Capture
    executor: Executor
    front: web.Application
    claims: tuple[PathClaim, ...]


class Jobs:
    """The jobs of an application, while it runs; ``setup`` makes one.

    Args:
        app: the application.
        config: what holds for its jobs.
        identify: tells who asks; None leaves that to the store's accounts.
    """

    def __init__(self, app: web.Application, config: Config, identify: Identify | None) -> None:
        self._app = app
        self._config = config
        self._identify = identify
        self._running: _Live | None = None

    @property
    def store(self) -> Store:
        """Where the jobs are, with all that can be done to them."""
        return self._live.store

    @property
    def _live(self) -> _Live:
        if self._running is None:
            raise RuntimeError("the application has not started, or has already been cleaned up")
        return self._running

    async def submit(
        self,
        method: str,
        path: str,
        *,
        headers: FieldsAsWritten = (),
        body: bytes | str = b"",
        json: object = ...,
        **options: Unpack[JobOptions],
    ) -> int:
        """Submit a request to the application as a job.

        Args:
            method: the method.
            path: the path with query, percent-encoded.
            headers: names and values: a mapping, or pairs.
            body: the content; text goes as UTF-8.
            json: the content as JSON, instead.
            options: what else there is to say, such as ``owner``, ``delay="2s"`` or ``tag``.

        Returns:
            the job's id, once it is on the disk.

        Raises:
            SubmissionInvalid: HTTP has no such request, or an option is not as expected.
            NotAccepting: the queue is full, or the application shuts down.
            StoreError: it could not be written.
        """
        made = submission(method, path, headers, body, json, options)
        if "account" not in options:
            made = replace(made, account=self._account(made.owner))
        return await self.store.submit(made)

    def _account(self, owner: str) -> int:
        """Tell to whom belongs what is submitted for an owner."""
        if self._identify is not None:
            return account_of_name(owner) if owner else NOBODY
        return self.store.accounts.id_of(owner)

    async def ended(self, job_id: int, seconds: float = 3600.0) -> Job:
        """Wait until a job has ended, but not for longer than so many seconds; return it.

        Raises:
            JobNotFound: there is none whose result can still be asked for.
        """
        return await self.store.waits.ended(job_id, seconds)

    async def take(self, job_id: int) -> Response | None:
        """Take the application's answer to a job: once, and wholly into memory.

        Returns:
            the answer; None if the job has not ended yet, has failed or was cancelled.

        Raises:
            BeingDelivered: it is just being delivered to somebody else, and may come back.
            JobNotFound: there is no such job, or its result is gone.
        """
        async with self.store.results.take(job_id) as delivery:
            if delivery is None or delivery.response is None:
                return None
            body = b"".join([chunk async for chunk in chunks(delivery.response.body)])
            return replace(delivery.response, body=body)

    async def cancel(self, job_id: int) -> State:
        """Cancel a queued job, stop a running one; return the state that it was found in.

        Raises:
            JobNotFound: nobody may ask for this job any more.
        """
        return await self.store.cancel(job_id)

    # --- in the application ---------------------------------------------------------------------

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Make jobs of requests that ask for it, and answer jobstore's own paths."""
        if current(request).id is not None:  # it comes from a job
            return await handler(request)
        live = self._live
        path = intake.path_of(request)
        own = any(claim.covers(request.method, path) for claim in live.claims)
        ours = live.capture.submitting(request) or (self._own if own else None)
        stopped = live.browsers.met(request, ours=ours is not None)
        if stopped is not None:
            return stopped
        if own and request.raw_path in PROBES:
            return await self._own(request)
        protected = self._identify is None and self._config.server.protect == "all"
        if ours is None and not protected:  # the application's own business
            return await handler(request)
        return await live.access.middleware(request, ours or handler)

    async def _own(self, request: web.Request) -> web.StreamResponse:
        # A clone, since a request remembers which handler of which application it has found.
        return await private.handle(self._live.front, request.clone())

    async def dismiss(self, _: web.Application) -> None:
        """Wake all who wait for the end of a job: the application shuts down."""
        if self._running is not None:
            self._running.store.waits.dismiss()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run jobs from the start of an application to its end.

        Raises:
            ConfigError: it is no main application, or nobody has said who may ask for jobs.
        """
        self._stand_last(app)
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        closing = asyncio.Event()
        # Start and cleanup may happen in different tasks, which what is opened here must not.
        living = asyncio.create_task(self._run(app, opened, closing))
        await asyncio.wait({opened, living}, return_when=asyncio.FIRST_COMPLETED)
        if living.done():
            await living  # it has failed
        yield
        closing.set()
        await living

    def _stand_last(self, app: web.Application) -> None:
        """Go behind the application's own middlewares, whenever they were added.

        Raises:
            ConfigError: that is too late.
        """
        middlewares = app.middlewares
        if middlewares.frozen and not app.frozen:  # add_subapp freezes that much
            raise ConfigError(_NOT_MAIN)
        if middlewares[-1] == self.middleware:
            return
        if middlewares.frozen:
            raise ConfigError(_TOO_LATE)
        middlewares.remove(self.middleware)
        middlewares.append(self.middleware)

    async def _run(
        self, app: web.Application, opened: "asyncio.Future[None]", closing: asyncio.Event
    ) -> None:
        config = self._config
        async with AsyncExitStack() as stack:
            name = f"{socket.gethostname()}:{os.getpid()}"
            store = await stack.enter_async_context(_alone(store_of(config, name)))
            router = Router()
            self._running = live = await self._assembled(stack, store, router)
            stack.callback(self._end)
            opened.set_result(None)
            await _started(app, closing)
            janitor = Janitor(store, retention_of(config), clock.now)
            scheduler = Scheduler(store, router)
            await stack.enter_async_context(background(store, live.executor, scheduler, janitor))
            await closing.wait()
            store.refuse()
            await live.executor.drain(config.executor.drain)

    def _end(self) -> None:
        self._running = None

    async def _assembled(self, stack: AsyncExitStack, store: Store, router: Router) -> _Live:
        config = self._config
        # The application may have such paths itself, so that "auto" is none here.
        apis = apis_of(config, store, router, config.server.dialects or ())
        headers = (ArangoHeader(), PreferHeader(store))
        access = self._access(stack, store, refusing(apis, headers))
        front = application_of(apis)
        front.on_response_prepare.append(wire.before_head)
        await served(stack, front)
        own = await own_route(stack, config, apis, access)
        ours = InProcess(_served(self._app), config.executor.cancel_grace)
        router.add(own, route_of("/", ours, config.executor))
        traced(config, store)
        meters = measured(config, store, router, apis, front=False)
        if isinstance(access, Access):
            access.meters = meters
        return _Live(
            store=store,
            browsers=browsers_of(config, access, public=config.server.open),
            access=access,
            capture=Capture(store, router, headers, config.capture.body_limit),
            executor=Executor(store, router, config.executor.max_attempts),
            front=front,
            claims=own.claims,
        )

    def _access(self, stack: AsyncExitStack, store: Store, refuse: Refuse) -> Gate:
        """Decide who is let in.

        Raises:
            ConfigError: everybody would be, and nobody has said that they shall.
        """
        if self._identify is not None:
            return Identifying(self._identify)
        anonymous = self._config.server.open
        accounts = store.accounts.roll().accounts
        if accounts:
            passwords.prepare()
        elif not anonymous:
            raise ConfigError(
                "jobstore.setup: everybody could see and change all jobs: pass identify=, which "
                "tells who sends a request, add an account with `jobstore user add NAME`, or "
                "pass open=True to allow this"
            )
        proxies = Proxies(self._config.server.trusted_proxies)
        access = Access(store.accounts, anonymous=anonymous, proxies=proxies, refuse=refuse)
        stack.push_async_callback(access.close)
        return access


@asynccontextmanager
async def _alone(opening: AbstractAsyncContextManager[Store]) -> AsyncIterator[Store]:
    """Open a store, and say why it may be in use if it is.

    Raises:
        StoreInUse: it is, by another process.
    """
    async with AsyncExitStack() as stack:
        try:
            store = await stack.enter_async_context(opening)
        except StoreInUse as error:
            error.args = (f"{error}; {_ONE_PROCESS}",)
            raise
        yield store


def _served(app: web.Application) -> web.Server:
    """Give an application's requests to it as its runner does.

    The runner's own server cannot be had here: it is made when the application has started up.
    """
    return web.Server(
        partial(private.handle, app),
        request_factory=private.request_factory_of(app),
        access_log=None,
        handler_cancellation=True,
    )


async def _started(app: web.Application, closing: asyncio.Event) -> None:
    """Wait until an application has started up: jobs may need what it opens then."""
    while not (app.frozen or closing.is_set()):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_SECONDS)
