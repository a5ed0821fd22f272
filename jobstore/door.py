"""The front door: who asks, and whether it is for a job, for an API of ours, or for a target."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from aiohttp import web

from jobstore import parsing, wire
from jobstore.access import Access
from jobstore.capture import Capture
from jobstore.dialects.native import PROBES
from jobstore.handle import WORKING_FOR
from jobstore.targets.router import Claim
from jobstore.targets.upstream import JOB_ID

Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Answer every request that comes in over a socket.

    It stands before aiohttp's own router and middlewares, since most requests need neither: they
    cost more than the whole way to the store.

    Args:
        access: who is let in.
        capture: makes jobs of requests, and sends on what is for a target.
        apis: who answers which of our own calls; the first that claims it.
    """

    def __init__(
        self,
        access: Access,
        capture: Capture,
        apis: Sequence[tuple[Claim, Answering]],
    ) -> None:
        self._access = access
        self._capture = capture
        self._apis = apis

    def server(self, **options: Any) -> web.Server:
        """Make the server that stands here, with what else it is told."""
        return parsing.FrontServer(
            self.answer,  # type: ignore[arg-type]  # its requests are what the factory makes
            request_factory=wire.incoming,
            **options,
        )

    def answer(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request.

        It is no coroutine itself: ten thousand requests may wait at once for their answers.
        """
        refused = parsing.refusal(request)
        if refused is not None:
            return _given(refused)
        if request.raw_path in PROBES:
            return self._probed(request)
        return self._access.middleware(request, self._admitted)

    async def _probed(self, request: web.Request) -> web.StreamResponse:
        own = self._own(request.method, request.raw_path)
        return await own(request) if own else wire.problem(404, "there is no such call")

    def _admitted(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        if JOB_ID in request.headers:
            return self._from_job(request)
        return self._answer(request)

    async def _from_job(self, request: web.Request) -> web.StreamResponse:
        """Answer a request that says that it is that of a running job.

        It may say so wrongly, but then it only bounds itself: see `Capture.parent`.
        """
        working_for = WORKING_FOR.set(self._capture.parent(request.headers[JOB_ID]))
        try:
            return await self._answer(request)
        finally:
            WORKING_FOR.reset(working_for)

    def _answer(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        submitted = self._capture.submitted(request)
        if submitted is not None:
            return submitted
        own = self._own(request.method, wire.path_of(request))
        return own(request) if own else self._capture.relayed(request)

    def _own(self, method: str, path: str) -> Answering | None:
        for claim, answer in self._apis:
            if claim.covers(method, path):
                return answer
        return None


async def _given(response: web.StreamResponse) -> web.StreamResponse:
    return response
