"""The jobs of an application: what it calls, and how it comes to have them."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Unpack

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.assembly import store_of
from jobstore.config import Config, load, store_key
from jobstore.config.retention import retention_of
from jobstore.dialects.native import PROBES
from jobstore.embedding.parts import Embedding, Parts, alone, started
from jobstore.http import private
from jobstore.live import Store
from jobstore.live.background import background
from jobstore.live.janitor import Janitor
from jobstore.live.scheduler import Scheduler
from jobstore.model import clock
from jobstore.model.account import NOBODY, account_of_name
from jobstore.model.coded import FieldsAsWritten, JobOptions, submission
from jobstore.model.errors import ConfigError
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.model.message import Response, chunks
from jobstore.targets.inprocess import current
from jobstore.targets.router import Router
from jobstore.web import intake, wire
from jobstore.web.identifying import Identify
from jobstore.web.patience import patient

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
    """Give an aiohttp application durable jobs: by header, over the APIs, and from its own code.

    The APIs are ArangoDB's and jobstore's own, and those that ``server={"dialects": [...]}`` names.

    The store is opened when the application starts, and jobs run from then on. Every request that
    the application answers can be made a job, and jobstore's own paths are added to it, behind all
    its middlewares. The request of a job passes through the middlewares as well; ``current`` tells
    it from others.

    Args:
        app: the main application, which has not started yet.
        store: the store's file, or the URL of a database that several nodes share. It is created
            if it does not exist.
        identify: a function or coroutine function that returns who sent a request, or None for a
            stranger. Jobs then keep ``Authorization`` until they end, for the application's login.
        open: True lets everybody see and change all jobs. Without ``open`` and ``identify``, the
            store must have accounts when the application starts.
        sections: sections of the configuration, as in its file: ``executor={"concurrency": 4}``.

    Returns:
        an object that submits jobs, waits for them and takes their results, without HTTP.

    Raises:
        ConfigError: a section or a key is wrong, or the application cannot have jobs.
    """
    merged = {**sections, "store": {**store_key(store), **sections.get("store", {})}}
    if open:
        merged["server"] = {**sections.get("server", {}), "open": True}
    # The application's own login needs the credentials that were sent with a job.
    defaults = {"executor": {"forward_credentials": identify is not None}}
    config = load(None, merged, environ={}, defaults=defaults)
    jobs = Jobs(app, config, identify)
    if app.middlewares.frozen:
        raise ConfigError(_NOT_MAIN if not app.frozen else _TOO_LATE)
    if config.store.url:
        app.middlewares.append(patient)
    app.middlewares.append(jobs.middleware)
    app.cleanup_ctx.append(jobs.lifetime)
    app.on_shutdown.append(jobs.dismiss)
    app.on_response_prepare.append(wire.before_head)
    return jobs


class Jobs:
    """The jobs of an application, while it runs; ``setup`` returns it.

    Args:
        identify: returns the sender of a request; None to use the store's accounts.
    """

    def __init__(self, app: web.Application, config: Config, identify: Identify | None) -> None:
        self._embedding = Embedding(app, config, identify)
        self._running: Parts | None = None

    @property
    def store(self) -> Store:
        """The store of the running application."""
        return self._live.store

    @property
    def _live(self) -> Parts:
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
            method: the method, such as ``"POST"``.
            path: the path and query, percent-encoded.
            headers: a mapping of names to values, or pairs of them.
            body: the content; text is sent as UTF-8.
            json: a value to send as JSON, instead of ``body``.
            options: more about the job, such as ``owner``, ``delay="2s"`` or ``tag``; all of them
                are listed below.

        Returns:
            the job's id, as soon as the job is on the disk.

        Raises:
            SubmissionInvalid: the request is not valid HTTP, or an option is invalid.
            NotAccepting: the queue is full, or the application is shutting down.
            StoreError: the job could not be stored.
        """
        made = submission(method, path, headers, body, json, options)
        if "account" not in options:
            made = replace(made, account=self._account(made.owner))
        return await self.store.submit(made)

    def _account(self, owner: str) -> int:
        """Return the account that jobs of an owner belong to."""
        if self._embedding.identify is not None:
            return account_of_name(owner) if owner else NOBODY
        return self.store.accounts.id_of(owner)

    async def ended(self, job_id: int, seconds: float = 3600.0) -> Job:
        """Wait until a job has ended, or until the time is over, and return the job.

        Args:
            seconds: how long to wait.

        Raises:
            JobNotFound: there is no such job, or its result is gone.
        """
        return await self.store.waits.ended(job_id, seconds)

    async def take(self, job_id: int) -> Response | None:
        """Fetch the result of a job, whole, into memory. A result can be fetched once.

        Returns:
            the application's response; None if the job has not ended, has failed or was cancelled.

        Raises:
            BeingDelivered: it is being delivered to another reader; try again.
            JobNotFound: there is no such job, or its result is gone.
        """
        async with self.store.results.take(job_id) as delivery:
            if delivery is None or delivery.response is None:
                return None
            body = b"".join([chunk async for chunk in chunks(delivery.response.body)])
            return replace(delivery.response, body=body)

    async def cancel(self, job_id: int) -> State:
        """Cancel a queued job or stop a running one, and return the state it was in before.

        Raises:
            JobNotFound: there is no such job, or its result is gone.
        """
        return await self.store.cancel(job_id)

    # --- in the application ---------------------------------------------------------------------

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Turn requests that ask for it into jobs, and answer jobstore's own paths."""
        if current(request).id is not None:  # it comes from a job
            return await handler(request)
        live = self._live
        path = intake.path_of(request)
        own = any(claim.covers(request.method, path) for claim in live.claims)
        submitting = live.capture.submitting(request)
        ours = submitting or (self._own if own else None)
        stopped = live.browsers.met(request, ours=ours is not None)
        if stopped is not None:
            return stopped
        guarded = not submitting and live.guards(request.method, path)
        if own and (guarded or request.raw_path in PROBES):
            return await self._own(request)
        if ours is None and not self._embedding.protected:  # the application's own business
            return await handler(request)
        return await live.access.middleware(request, ours or handler)

    async def _own(self, request: web.Request) -> web.StreamResponse:
        # A clone, since a request remembers which handler of which application it has found.
        return await private.handle(self._live.front, request.clone())

    async def dismiss(self, _: web.Application) -> None:
        """Wake all waiters: the application is shutting down."""
        if self._running is not None:
            self._running.store.waits.dismiss()
            self._running.store.changes.dismiss()

    async def lifetime(self, app: web.Application) -> AsyncIterator[None]:
        """Run jobs from the application's start to its end.

        Raises:
            ConfigError: it is not the main application, or it would be open to everybody without
                ``open``.
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
        """Move behind the application's own middlewares, whenever they were added.

        Raises:
            ConfigError: it is too late for that.
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
        config = self._embedding.config
        async with AsyncExitStack() as stack:
            name = f"{socket.gethostname()}:{os.getpid()}"
            store = await stack.enter_async_context(alone(store_of(config, name)))
            router = Router()
            self._running = live = await self._embedding.assembled(stack, store, router)
            stack.callback(self._end)
            opened.set_result(None)
            await started(app, closing)
            janitor = Janitor(store, retention_of(config), clock.now)
            scheduler = Scheduler(store, router)
            await stack.enter_async_context(background(store, live.executor, scheduler, janitor))
            await closing.wait()
            store.refuse()
            await live.executor.drain(config.executor.drain)

    def _end(self) -> None:
        self._running = None
