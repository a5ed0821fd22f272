"""Where requests arrive: with an async header they become jobs, otherwise they pass through."""

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

from aiohttp import web
from multidict import MultiMapping

from jobstore.live import Store
from jobstore.model import idempotency
from jobstore.model.account import Identity
from jobstore.model.errors import (
    BodyBroken,
    BodyTooLarge,
    Forbidden,
    JobstoreError,
    NoJobOfThat,
    NoTarget,
    PathLeaves,
    TargetFailed,
)
from jobstore.model.handle import AttemptHandle, JobHandle
from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Headers, Request, end_to_end, loggable, without
from jobstore.store.transaction import Outcome
from jobstore.targets.router import Router, TargetRoute
from jobstore.targets.switching import SwitchingTarget
from jobstore.web import (
    answers,
    cookies,
    fronts,
    intake,
    refusals,
    relaying,
    standing,
    upgrading,
    wire,
)
from jobstore.web.ask import Ask
from jobstore.web.parameters import id_of
from jobstore.web.relaying import Relay

# A page may ask by the first for leave to submit a job; nobody serves the other.
_NOT_AT_ONCE: Final = frozenset({"OPTIONS", "CONNECT"})
_KEY: Final = frozenset({idempotency.HEADER.lower()})
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})  # RFC 9110 section 9.2.1

Submitting: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class AsyncHeader(Protocol):
    """A header by which clients of a dialect ask for a job."""

    @property
    def dialect(self) -> Dialect:
        """The dialect that the header belongs to."""

    @property
    def name(self) -> str:
        """The header's name."""

    def asks(self, headers: MultiMapping[str]) -> bool | None:
        """Return whether the result is wanted; None if no job is asked for."""

    def strip(self, headers: Headers) -> Headers:
        """Return the headers without those that ask for a job: they are not passed on."""

    def receipt(self, job_id: int, *, wanted: bool) -> bytes:
        """Return the 202 answer of a submission, if `is_plain`."""

    def is_plain(self, headers: MultiMapping[str]) -> bool:
        """Return whether a request asks for a job and nothing else."""

    async def accepted(
        self, request: web.Request, job_id: int, /, *, wanted: bool
    ) -> web.StreamResponse:
        """Answer that the job is stored, or with its result."""

    def refused(self, error: JobstoreError) -> web.Response:
        """Answer that the job was refused."""


class Wish(NamedTuple):
    """A request's wish to become a job.

    Args:
        asking: the header that asks for it.
        wanted: whether to keep the result.
    """

    asking: AsyncHeader
    wanted: bool

    def submission(
        self,
        incoming: Request,
        route: TargetRoute,
        identity: Identity,
        source: str | None,
        key: str | None = None,
    ) -> Submission:
        """Create the submission for a request."""
        return Submission(
            request=incoming,
            target=route.name,
            dialect=self.asking.dialect,
            owner=identity.name,
            account=identity.account,
            wanted=self.wanted,
            key=key,
            source=source,
        )


class Capture:
    """Accept requests as jobs, or pass them on.

    Args:
        store: stores the jobs.
        async_headers: the headers that ask for a job.
        body_limit: the largest body of a job's request, in bytes.
        unanswered: answers clients in their dialect when no target does.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        async_headers: Sequence[AsyncHeader],
        body_limit: int,
        *,
        unanswered: Callable[[web.Request], web.Response | None] = lambda _: None,
    ) -> None:
        self._store = store
        self._router = router
        self._async_headers = async_headers
        self._body_limit = body_limit
        self._unanswered = unanswered
        self._said: set[str] = set()  # the targets that `_say_unsent` has logged

    async def parent(self, job_id: str) -> JobHandle | None:
        """Return the running job that sent a request: a target may lead back here."""
        number = id_of(job_id)
        if number is None:
            return None
        depth = await self._store.running_depth(number)
        return None if depth is None else JobHandle(number, depth=depth)

    def submitting(self, request: web.Request) -> Submitting | None:
        """Return a function that submits a request as a job; None if it asks for none."""
        wish = self.wish(request.headers)
        return None if wish is None else partial(self._submit, wish=wish)

    def wish(self, headers: MultiMapping[str]) -> Wish | None:
        """Return the header by which a job is asked for, or None."""
        for asking in self._async_headers:
            if asking.name in headers and (wanted := asking.asks(headers)) is not None:
                return Wish(asking, wanted)
        return None

    def at_once(self, ask: Ask, wish: Wish) -> bool:
        """Submit a complete request as a job, unless it has to be refused."""
        asking, wanted = wish
        headers, identity = ask.headers, ask.identity
        if (
            not identity.changes
            or idempotency.HEADER in headers
            or not asking.is_plain(headers)
            or upgrading.switches(headers)
            or ask.size > self._body_limit
            or not self._store.submissions.is_small(ask.size)
        ):
            return False
        route = self._router.resolve(ask.method, ask.path)
        if route is None or not route.keeps(ask.path):
            return False
        incoming = Request(
            method=ask.method,
            path=ask.path,
            headers=self._travelling(route, headers, ask.front, identity),
            body=ask.body(),
        )
        submission = wish.submission(incoming, route, identity, ask.source)

        def told(outcome: Outcome) -> None:
            error = outcome.error
            if error is None:
                ask.answer(asking.receipt(outcome.value, wanted=wanted))
            elif isinstance(error, JobstoreError):
                self._store.submissions.refused(error)
                _refuse(ask, asking, error)
            else:
                ask.fail(error)

        try:
            self._store.submissions.queue(submission, told)
        except JobstoreError as error:
            _refuse(ask, asking, error)
        return True

    async def _submit(self, request: web.Request, wish: Wish) -> web.StreamResponse:
        try:
            submission = await self._submission(request, wish)
        except JobstoreError as error:
            self._store.submissions.refused(error)
            _log_refusal(error)
            return wish.asking.refused(error)
        try:
            job_id = await self._store.submit(submission)
        except JobstoreError as error:
            _log_refusal(error)
            return wish.asking.refused(error)
        return await wish.asking.accepted(request, job_id, wanted=wish.wanted)

    async def _submission(self, request: web.Request, wish: Wish) -> Submission:
        if request.method == "CONNECT" or upgrading.switches(request.headers):
            raise NoJobOfThat
        if (request.content_length or 0) > self._body_limit:
            raise BodyTooLarge(self._body_limit)
        standing.changing(request)
        key = idempotency.key_of(request.headers.getall(idempotency.HEADER, ()))
        path, body = intake.path_of(request), await intake.gathered(request)
        identity = standing.changing(request)  # which may not be what it was before the body came
        route = self._router.owner(request.method, path)
        headers = self._travelling(route, request.headers, standing.front(request), identity)
        incoming = Request(method=request.method, path=path, headers=headers, body=body)
        return wish.submission(incoming, route, identity, standing.source(request), key)

    def _travelling(
        self, route: TargetRoute, fields: MultiMapping[str], front: str, identity: Identity
    ) -> Headers:
        """Return the headers that are passed to the target, without those that ask for a job.

        The idempotency key is left out as well: the target gets the job's id.

        Args:
            front: see `fronts.told`.
            identity: its sender.
        """
        headers = _going_on(fields, front)
        for asking in self._async_headers:
            if asking.name in fields:
                headers = asking.strip(headers)
        if idempotency.HEADER in fields:
            headers = without(headers, _KEY)
        if "Authorization" not in fields:
            return headers
        if identity.role is None:
            self._say_unsent(route)
        return route.travelling(headers)

    def _say_unsent(self, route: TargetRoute) -> None:
        """Log once per target that credentials of jobs are not forwarded.

        It is called without accounts, when credentials cannot be meant for jobstore.
        """
        if not (route.credentials or route.claims or route.name in self._said):
            self._said.add(route.name)
            log.info(
                "the Authorization header of jobs is not sent to the target %s; set "
                "forward_credentials = true if it checks logins itself",
                route.name,
                extra={"action": "submit"},
            )

    def relayed_at_once(self, ask: Ask, again: Callable[[], Identity | None]) -> bool:
        """Send a complete request to its target, unless it has to be refused.

        Args:
            again: returns its sender again after a wait; None if access was revoked.
        """
        method, path = ask.method, ask.path
        if method in _NOT_AT_ONCE or not (method in SAFE or ask.identity.changes):
            return False
        route = self._router.resolve(method, path)
        if route is None or not route.keeps(path):
            return False
        headers = _going_on(ask.headers, ask.front)
        if ask.identity.role is not None:  # the credentials are meant for jobstore
            headers = route.travelling(headers)
        incoming = Request(method=method, path=path, headers=headers, body=ask.body())
        Relay(ask, route.target, incoming, AttemptHandle(source=ask.source), again).begin()
        return True

    async def relayed(self, request: web.Request) -> web.StreamResponse:
        """Pass a request to its target and the response back, unchanged."""
        try:
            route, incoming = self._sent_on(request)
            handle = AttemptHandle(source=standing.source(request))
            offer = upgrading.offered(request)
            if offer and isinstance(route.target, SwitchingTarget):
                return await upgrading.relay(request, route.target, incoming, handle, offer)
            async with route.target.send(incoming, handle) as response:
                standing.confirm(request)
                return await wire.relay(request, response)
        except (Forbidden, PathLeaves) as error:
            return refusals.problem_of(error)
        except NoTarget as error:
            return self._unanswered(request) or refusals.problem_of(error)
        except (BodyBroken, TargetFailed) as error:
            return relaying.refusal(error)

    def _sent_on(self, request: web.Request) -> tuple[TargetRoute, Request]:
        """Return a request as it is passed on, and its target.

        Raises:
            Forbidden: it may change something, and its sender is not allowed to.
        """
        if request.method not in SAFE:
            standing.changing(request)
        headers = _going_on(request.headers, standing.front(request))
        incoming = intake.received(request, headers)
        route = self._router.owner(incoming.method, incoming.path)
        if request[standing.IDENTITY].role is not None:  # the credentials are meant for jobstore
            incoming = incoming.with_headers(route.travelling(incoming.headers))
        return route, incoming


def _going_on(fields: MultiMapping[str], front: str) -> Headers:
    """Return the headers of a request that are passed on.

    Args:
        front: see `fronts.told`.
    """
    headers = fronts.noted(end_to_end(tuple(fields.items())), fields, front)
    return cookies.without_session(headers, fields)


def _refuse(ask: Ask, asking: AsyncHeader, error: JobstoreError) -> None:
    _log_refusal(error)
    ask.answer(answers.of(asking.refused(error)))


def _log_refusal(error: JobstoreError) -> None:
    log.info("no job: %s", loggable(error), extra={"action": "submit"})
