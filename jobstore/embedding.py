"""jobstore inside another aiohttp application: durable jobs without a server of their own."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore import clock, wire
from jobstore.access import Access
from jobstore.assembly import (
    apis_of,
    application_of,
    background,
    own_route,
    refusing,
    retention_of,
    route_of,
    served,
)
from jobstore.capture import Capture
from jobstore.config import Config, load
from jobstore.config.limits import store_limits
from jobstore.dialects.arango import ArangoHeader
from jobstore.dialects.native import PreferHeader
from jobstore.executor import Executor
from jobstore.janitor import Janitor
from jobstore.job import Dialect, Job, Submission
from jobstore.lifecycle import State
from jobstore.message import Request, Response, chunks
from jobstore.scheduler import Scheduler
from jobstore.store import Store, owned_store
from jobstore.targets.inprocess import InProcess, current
from jobstore.targets.router import Claim, Router

# How often to look whether the application has started up.
_LOOK_SECONDS: Final = 0.01


def setup(app: web.Application, store: str | Path = "jobs.db", **sections: Any) -> "Jobs":
    """Give an application durable jobs: by header, over the APIs, and from its own code.

    The APIs are ArangoDB's and jobstore's own, and those that ``server={"dialects": [...]}`` names.

    The store is opened when the application starts up; jobs run once it has. What the application
    answers can be asked for as a job, and jobstore's own paths are added to it. jobstore cannot
    know where the application listens: as long as there is no account, everybody is let in.

    Args:
        app: an application that has not started yet.
        store: the store's file; it is created if there is none.
        sections: sections of the configuration, as in its file: ``executor={"concurrency": 4}``.

    Returns:
        what submits jobs without HTTP.

    Raises:
        ConfigError: a section or a key is wrong.
    """
    jobs = Jobs(app, load(None, {**sections, "store": {"path": store}}, environ={}))
    app.middlewares.insert(0, jobs.middleware)
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
    access: Access
    capture: Capture
    executor: Executor
    front: web.Application
    claims: tuple[Claim, ...]


class Jobs:
    """The jobs of an application, while it runs; ``setup`` makes one.

    Args:
        app: the application.
        config: what holds for its jobs.
    """

    def __init__(self, app: web.Application, config: Config) -> None:
        self._app = app
        self._config = config
        self._running: _Live | None = None

    @property
    def store(self) -> Store:
        """Where the jobs are, with all that can be done to them."""
        return self._live.store

    @property
    def _live(self) -> _Live:
        if self._running is None:
            raise RuntimeError("the application has not started up, or is cleaned up already")
        return self._running

    async def submit(
        self,
        method: str,
        path: str,
        *,
        headers: Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        **options: Any,
    ) -> int:
        """Submit a request to the application as a job.

        Args:
            method: the method.
            path: the path with query, percent-encoded.
            headers: the fields.
            body: the content.
            options: further members of a ``Submission``, such as ``priority`` or ``owner``.

        Returns:
            the job's id, once it is on the disk.

        Raises:
            NotAccepting: the queue is full, or the application shuts down.
            StoreError: it could not be written.
        """
        request = Request(method=method, path=path, headers=tuple(headers), body=body)
        submission = Submission(request=request, target="/", dialect=Dialect.NATIVE, **options)
        return await self.store.submit(submission)

    async def ended(self, job_id: int, seconds: float = 3600.0) -> Job:
        """Wait until a job has ended, but not for longer than so many seconds; return it.

        Raises:
            JobNotFound: there is none whose result can still be asked for.
        """
        return await self.store.ended(job_id, seconds)

    async def take(self, job_id: int) -> Response | None:
        """Take the application's answer to a job: once, and wholly into memory.

        Returns:
            the answer; None if the job has not ended yet, has failed or was cancelled.

        Raises:
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
        return await self._live.access.middleware(request, partial(self._answer, handler))

    async def _answer(self, handler: Handler, request: web.Request) -> web.StreamResponse:
        live = self._live
        answer = live.capture.submitted(request)
        if answer is not None:
            return await answer
        path = wire.path_of(request)
        if any(claim.covers(request.method, path) for claim in live.claims):
            # A clone, since a request remembers which handler of which application it has found.
            return await live.front._handle(request.clone())  # noqa: SLF001
        return await handler(request)

    async def dismiss(self, _: web.Application) -> None:
        """Let nobody wait any more for the end of a job: the application shuts down."""
        if self._running is not None:
            self._running.store.dismiss()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run jobs from the start of an application to its end."""
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

    async def _run(
        self, app: web.Application, opened: "asyncio.Future[None]", closing: asyncio.Event
    ) -> None:
        config = self._config
        async with AsyncExitStack() as stack:
            path = config.store.path
            store = await stack.enter_async_context(owned_store(path, store_limits(config)))
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
        access = Access(store.accounts, anonymous=True, refuse=refusing(apis, headers))
        stack.push_async_callback(access.close)
        front = application_of(apis)
        front.on_response_prepare.append(wire.before_head)
        await served(stack, front)
        own = await own_route(stack, config, apis, access)
        ours = InProcess(_served(self._app), config.executor.cancel_grace)
        router.add(own, route_of("/", ours, config.executor))
        return _Live(
            store=store,
            access=access,
            capture=Capture(store, router, headers, int(config.capture.body_limit)),
            executor=Executor(store, router, config.executor.max_attempts),
            front=front,
            claims=own.claims,
        )


def _served(app: web.Application) -> web.Server:
    """Give an application's requests to it as its runner does.

    The runner's own server cannot be had here: it is made when the application has started up.
    """
    return web.Server(
        app._handle,  # type: ignore[arg-type]  # noqa: SLF001 - as aiohttp itself has it
        request_factory=app._make_request,  # noqa: SLF001
        access_log=None,
        handler_cancellation=True,
    )


async def _started(app: web.Application, closing: asyncio.Event) -> None:
    """Wait until an application has started up: jobs may need what it opens then."""
    while not (app.frozen or closing.is_set()):  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(_LOOK_SECONDS)
