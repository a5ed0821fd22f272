"""The front door: who sends a request, and whether a job, one of our APIs or a target gets it."""

import re
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar, cast

from aiohttp import web

from jobstore.live.meters import Meters, Traffic
from jobstore.model.account import Identity
from jobstore.model.handle import WORKING_FOR
from jobstore.model.message import JOB_ID
from jobstore.targets.router import Claims, PathClaim
from jobstore.web import intake, parsing, wire
from jobstore.web.access import Access
from jobstore.web.ask import Ask
from jobstore.web.browsers import Browsers
from jobstore.web.capture import Capture
from jobstore.web.desk import Desk, DeskServer
from jobstore.web.traffic import TRAFFIC, counting

T = TypeVar("T")
AtOnce: TypeAlias = Callable[[Ask], bool]
Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ELSEWHERE: Final = "this is answered only at the addresses in [admin] listen"


class Own(NamedTuple, Generic[T]):
    """The handler of one of our calls, and how it is counted.

    Args:
        guarded: whether it checks by itself who asks.
    """

    traffic: Traffic
    answer: T
    guarded: bool = False


class Door:
    """Answer every request that arrives on a socket.

    It comes before aiohttp's own router and middlewares, since most requests need neither: they
    cost more than the whole way to the store.

    Args:
        browsers: checks requests of web pages.
        access: decides who has access.
        capture: turns requests into jobs, or sends them to their target.
        apis: the handlers of our own calls; the first one that claims a request gets it.
        prompt: handlers that may answer without a task.
        probes: paths that everybody may ask.
        passing: the identity for requests that pass through without a login; None if they need one.
        meters: counts requests; None if metrics are off.
        elsewhere: the paths that are answered on another port, and not here.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        browsers: Browsers,
        access: Access,
        capture: Capture,
        apis: Sequence[tuple[PathClaim, Own[Answering]]],
        prompt: Sequence[tuple[PathClaim, Own[AtOnce]]] = (),
        *,
        probes: Collection[str] = (),
        passing: Identity | None = None,
        meters: Meters | None = None,
        elsewhere: re.Pattern[str] | None = None,
    ) -> None:
        self._browsers = browsers
        self._access = access
        self._capture = capture
        self._apis = Claims(apis)
        self._prompt = Claims(prompt)
        self._probes = probes
        self._passing = passing
        self.requests = {} if meters is None else meters.requests
        self._elsewhere = elsewhere

    def server(self, **options: Any) -> DeskServer:
        """Make the server, with these arguments."""
        if self.requests:
            options |= counting(self.requests)
        return DeskServer(
            self.answer,  # its requests are what the factory makes
            request_factory=intake.incoming,
            door=self,
            **options,
        )

    def at_once(self, ask: Ask) -> bool:
        """Accept a request, unless it has to be refused.

        What `answer` would refuse, or needs more time for, is left to it.
        """
        headers = ask.headers
        if JOB_ID in headers:
            return False
        wish = self._capture.wish(headers)
        if self._elsewhere is not None and self._elsewhere.match(ask.path):
            return False
        own = None if wish else self._prompt.find(ask.method, ask.path)
        if not (wish or own):
            return self._relayed_at_once(ask)
        identity = self._access.known(headers)
        if identity is None or not self._browsers.passes(headers, anonymous=identity.role is None):
            return False
        ask.identity, ask.proxies = identity, self._access.proxies
        if own:
            ask.traffic = own.traffic
            return own.answer(ask)
        ask.traffic = Traffic.SUBMIT
        return wish is not None and self._capture.at_once(ask, wish)

    def _relayed_at_once(self, ask: Ask) -> bool:
        if self._apis.find(ask.method, ask.path) is not None:
            return False
        passing = self._passing
        identity = passing or self._access.known(ask.headers)
        if identity is None:
            return False
        ask.identity, ask.proxies = identity, self._access.proxies
        ask.traffic = Traffic.RELAY
        again = (lambda: passing) if passing else partial(self._access.identify, ask.headers)
        return self._capture.relayed_at_once(ask, again)

    def answer(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request, unless it is for another port.

        It is not a coroutine itself: ten thousand requests may wait for their answers at once.
        """
        if self._elsewhere is not None and self._elsewhere.match(intake.path_of(request)):
            return _given(wire.problem(404, _ELSEWHERE))
        return self.answer_anything(request)

    def answer_anything(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request on any port."""
        then = cast("Desk", request.protocol).taken_over()
        if then is not None:
            return then(request)
        refused = parsing.refusal(request)
        if refused is not None:
            return _given(refused)
        found = self._apis.find(request.method, intake.path_of(request))
        own, submitting = found and found.answer, self._capture.submitting(request)
        if self.requests and (submitting or found):
            traffic = Traffic.SUBMIT if submitting or not found else found.traffic
            request[TRAFFIC] = traffic
        ours = submitting or own
        stopped = self._browsers.met(request, ours=ours is not None)
        if stopped is not None:
            return _given(stopped)
        if own is not None and request.raw_path in self._probes:
            return own(request)
        answer = ours or self._capture.relayed
        if JOB_ID in request.headers:
            answer = partial(self._from_job, answer)
        passing = self._passing if ours is None else None
        if passing is not None:
            self._access.admit(request, passing)
        if passing is not None or (found and found.guarded and not submitting):
            return answer(request)
        return self._access.middleware(request, answer)

    async def _from_job(self, answer: Answering, request: web.Request) -> web.StreamResponse:
        """Answer a request that claims to come from a running job.

        The claim may be wrong, but then it only limits the request itself: see `Capture.parent`.
        """
        working_for = WORKING_FOR.set(await self._capture.parent(request.headers[JOB_ID]))
        try:
            return await answer(request)
        finally:
            WORKING_FOR.reset(working_for)


async def _given(response: web.StreamResponse) -> web.StreamResponse:
    return response
