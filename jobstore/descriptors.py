"""Serve others while descriptors run short: who only keeps a connection open gives it up first.

A kernel gives the lowest free number to a new socket, so that the number itself tells how many
descriptors are in use. When few are left, connections are closed that wait for a request, the
longest waiting first; then those whose request's body arrives most slowly. One that waits for its
answer is never closed.

asyncio stops accepting for a second when no descriptor is left, but up to then it tries, and logs,
as often as the backlog is long.
"""

# ruff: noqa: SLF001 - aiohttp tells nowhere else what a connection waits for; a test looks whether
# it still does so there.

import asyncio
import logging
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from aiohttp import web

# How many descriptors are kept free for targets, the store and a burst of connections: a quarter
# of all, up to so many.
_MOST_SPARE: Final = 256
# One of so many connections is closed at once, so that looking through all of them pays.
_SHARE: Final = 64
# For how long the body of a request may arrive in peace, in seconds.
_IN_PEACE: Final = 5.0
# As asyncio says it: that a connection could not be accepted, and, if the server has stopped in the
# meantime, that it cannot try again.
_OUT_OF_RESOURCES: Final = "socket.accept() out of system resource"
_TRYING_AGAIN: Final = "._start_serving("

log = logging.getLogger(__name__)


class Server(web.Server):
    """A server that closes connections which only wait when descriptors run short."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = limit
        self._short = limit - min(_MOST_SPARE, limit // 4)
        self._said = -1.0

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a connection; aiohttp tells of each."""
        super().connection_made(handler, transport)
        connection = transport.get_extra_info("socket")
        if 0 <= self._short <= connection.fileno():
            self.shed()

    def shed(self) -> None:
        """Close some of the connections that only wait."""
        many = max(1, len(self.connections) // _SHARE)
        for handler in [*self._idle(), *self._slow()][:many]:
            handler.force_close()
        self._say("descriptors run short: closing connections that only wait")

    def refused(self, error: object) -> None:
        """Note that a connection could not be accepted."""
        self.shed()
        self._say(f"cannot accept connections: {error}")

    def _idle(self) -> list[web.RequestHandler]:
        """List the connections that wait for the head of a request, the longest waiting first."""
        waiting = [each for each in self.connections if each._waiter and not each._waiter.done()]
        return sorted(waiting, key=lambda each: each._next_keepalive_close_time)

    def _slow(self) -> list[web.RequestHandler]:
        """List the connections that wait for the body of a request, the slowest first."""
        now = asyncio.get_running_loop().time()
        speeds = [(_speed(each, now), each) for each in self.connections]
        slow = [(speed, each) for speed, each in speeds if speed is not None]
        return [each for _, each in sorted(slow, key=lambda item: item[0])]

    def _say(self, what: str) -> None:
        """Log once a second at most: who causes it could fill the disk."""
        now = asyncio.get_running_loop().time()
        if now < self._said + 1.0:
            return
        self._said = now
        counted = (len(self.connections), self._limit)
        log.warning("%s; %d are open, and `ulimit -n` is %d", what, *counted, extra=_ACTION)


_ACTION: Final = {"action": "accept"}


def _speed(handler: web.RequestHandler, now: float) -> float | None:
    """Tell how many bytes a second of a body arrive; None if it is there, or has just begun."""
    request = handler._current_request
    began = handler._next_keepalive_close_time - handler.keepalive_timeout
    if request is None or request.content.is_eof() or now < began + _IN_PEACE:
        return None
    return request.content.total_bytes / (now - began)


def _is_closed(context: Mapping[str, Any]) -> bool:
    error = context.get("exception")
    return isinstance(error, ValueError) and "file descriptor" in str(error)


@contextmanager
def told_of_refusals(server: Server) -> Iterator[None]:
    """Tell a server of the connections that the event loop could not accept, and log no more."""
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") == _OUT_OF_RESOURCES:
            server.refused(context.get("exception"))
        elif _TRYING_AGAIN in str(context.get("message")) and _is_closed(context):
            log.debug("accepts no more: %s", context.get("exception"), extra=_ACTION)
        elif before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    try:
        yield
    finally:
        loop.set_exception_handler(before)
