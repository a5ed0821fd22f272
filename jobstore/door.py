"""The front door: who asks, and whether it is for a job, for an API of ours, or for a target."""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from aiohttp import web

from jobstore import wire
from jobstore.access import Access
from jobstore.browsers import Browsers
from jobstore.capture import Capture
from jobstore.descriptors import Server

Answering: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Door:
    """Answer every request that comes in over a socket.

    It stands before aiohttp's own router and middlewares, since most requests need neither: they
    cost more than the whole way to the store.

    Args:
        browsers: which web pages may ask.
        access: who is let in.
        capture: makes jobs of requests, and sends on what is for a target.
        apis: who answers which of our own paths; the first whose pattern matches.
    """

    def __init__(
        self,
        browsers: Browsers,
        access: Access,
        capture: Capture,
        apis: Sequence[tuple[re.Pattern[str], Answering]],
    ) -> None:
        self._browsers = browsers
        self._access = access
        self._capture = capture
        self._apis = apis

    def server(self, **options: Any) -> Server:
        """Make the server that stands here, with what else it is told."""
        return Server(
            self.answer,  # its requests are what the factory makes
            request_factory=wire.incoming,
            **options,
        )

    def answer(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request.

        It is no coroutine itself: ten thousand requests may wait at once for their answers.
        """
        ours = self._capture.submitting(request) or self._api(request)
        stopped = self._browsers.met(request, ours=ours is not None)
        if stopped is not None:
            return _given(stopped)
        return self._access.middleware(request, ours or self._capture.relayed)

    def _api(self, request: web.Request) -> Answering | None:
        path = wire.path_of(request)
        for pattern, answer in self._apis:
            if pattern.match(path):
                return answer
        return None


async def _given(response: web.Response) -> web.Response:
    return response
