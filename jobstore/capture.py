"""Where requests come in: with an async header they become jobs, without one they go through."""

import logging
from base64 import b64decode
from collections.abc import Sequence
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import MultiMapping

from jobstore import wire
from jobstore.errors import BodyBroken, BodyTooLarge, JobstoreError, NoTarget, TargetFailed
from jobstore.handle import JobHandle
from jobstore.job import Dialect, Submission
from jobstore.message import Headers, header
from jobstore.store import Store
from jobstore.targets.router import Route, Router

log = logging.getLogger(__name__)


class Trigger(Protocol):
    """How a dialect asks for a job, by a header on an ordinary request."""

    @property
    def dialect(self) -> Dialect:
        """The dialect whose way of asking it is."""

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Tell whether the result is wanted, or None if no job is asked for at all."""

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without those by which a job is asked for: they stay here."""

    def accepted(self, job_id: int, *, wanted: bool) -> web.Response:
        """Answer that the job is on the disk."""

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer that nothing was taken in."""


class Capture:
    """Take requests in, or send them on.

    Args:
        store: where jobs go.
        router: who answers which path.
        triggers: the ways of asking for a job.
        body_limit: the largest body of a job's request, in bytes.
    """

    def __init__(
        self, store: Store, router: Router, triggers: Sequence[Trigger], body_limit: int
    ) -> None:
        self._store = store
        self._router = router
        self._triggers = triggers
        self._body_limit = body_limit

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Make a job of a request that asks for it, and send on what no API of ours answers."""
        for trigger in self._triggers:
            wanted = trigger.asks(request.headers)
            if wanted is not None:
                return await self._submit(request, trigger, wanted=wanted)
        if request.match_info.http_exception is not None:
            return await self._passthrough(request)
        return await handler(request)

    async def _submit(
        self, request: web.Request, trigger: Trigger, *, wanted: bool
    ) -> web.Response:
        try:
            if (request.content_length or 0) > self._body_limit:
                raise BodyTooLarge(self._body_limit)
            incoming = await wire.gathered(request)
            submission = Submission(
                request=incoming.with_headers(self._travelling(incoming.headers)),
                target=self._route(incoming.path).name,
                dialect=trigger.dialect,
                owner=user_of(incoming.headers),
                wanted=wanted,
            )
            job_id = await self._store.submit(submission)
        except JobstoreError as error:
            log.info("no job: %s", error, extra={"action": "submit"})
            return trigger.refused(error)
        return trigger.accepted(job_id, wanted=wanted)

    def _travelling(self, headers: Headers) -> Headers:
        """Return the headers that go on to the target; no way of asking for a job does."""
        for trigger in self._triggers:
            headers = trigger.strip(headers)
        return headers

    def _route(self, path: str) -> Route:
        route = self._router.resolve(path)
        if route is None:
            raise NoTarget
        return route

    async def _passthrough(self, request: web.Request) -> web.StreamResponse:
        """Send a request to its target at once and its answer back, as if nobody stood between."""
        incoming = wire.received(request)
        try:
            async with self._route(incoming.path).target.send(incoming, JobHandle()) as response:
                return await wire.relay(request, response)
        except NoTarget as error:
            return wire.problem(404, str(error))
        except BodyBroken as error:
            return wire.problem(400, str(error))
        except TargetFailed as error:
            log.info("no answer: %s", error, extra={"action": "relay"})
            return wire.problem(502, str(error))


def user_of(headers: Headers) -> str:
    """Return the user that a request's Basic credentials name, or "": RFC 7617."""
    scheme, _, credentials = (header(headers, "authorization") or "").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return b64decode(credentials.strip(), validate=True).decode().partition(":")[0]
    except ValueError:  # not in base64, or no text in it
        return ""
