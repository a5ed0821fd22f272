"""Keep serving when file descriptors run short: idle connections are closed first.

A kernel gives the lowest free number to a new socket, so the number itself shows how many
descriptors are in use. When few are left, connections that wait for a request are closed, the
longest waiting first; then those whose request body arrives most slowly. A connection that waits
for its answer is never closed.

asyncio stops accepting for a second when no descriptor is left, but until then it tries, and logs,
as often as the backlog is long.
"""

import asyncio
import logging
import resource
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from jobstore.http import private
from jobstore.web.connection import ClientConnection

# How many descriptors are kept free for targets, the store and a burst of connections: a quarter
# of all, up to so many.
_MOST_SPARE: Final = 256
# One of so many connections is closed at once, so that looking through all of them pays.
_SHARE: Final = 16
# For how long a connection is left in peace that waits for a head, or for a body, in seconds: who
# has just come is about to ask.
_HEAD_IN_PEACE: Final = 1.0
_BODY_IN_PEACE: Final = 5.0
# As asyncio says it: that a connection could not be accepted, and, if the server has stopped in the
# meantime, that it cannot try again.
_OUT_OF_RESOURCES: Final = "socket.accept() out of system resource"
_TRYING_AGAIN: Final = "._start_serving("

log = logging.getLogger(__name__)


class FrugalServer(web.Server):
    """A server that closes idle connections when descriptors run short."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._limit = limit
        self._short = limit - min(_MOST_SPARE, limit // 4)
        self._said = -1.0

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """Note a connection; aiohttp reports each."""
        super().connection_made(handler, transport)
        connection = transport.get_extra_info("socket")
        if 0 <= self._short <= connection.fileno():
            self.shed()

    def shed(self) -> None:
        """Close some idle connections."""
        many = max(1, len(self.connections) // _SHARE)
        closed = [*self._idle(), *self._slow()][:many]
        for handler in closed:
            handler.force_close()
        self._say(f"few file descriptors are left: closed {len(closed)} idle connections")

    def refused(self, error: object) -> None:
        """Note that a connection could not be accepted."""
        self._say(f"cannot accept connections: {error}")
        self.shed()

    def _idle(self) -> list[web.RequestHandler]:
        """List the connections without a request, the longest waiting first."""
        latest = asyncio.get_running_loop().time() - _HEAD_IN_PEACE
        waiting = [
            each for each in self.connections if isinstance(each, ClientConnection) and each.idle
        ]
        return sorted((each for each in waiting if _since(each) < latest), key=_since)

    def _slow(self) -> list[web.RequestHandler]:
        """List the connections that are receiving a body, the slowest first."""
        now = asyncio.get_running_loop().time()
        speeds = [(_speed(each, now), each) for each in self.connections]
        slow = [(speed, each) for speed, each in speeds if speed is not None]
        return [each for _, each in sorted(slow, key=lambda item: item[0])]

    def _say(self, what: str) -> None:
        """Log at most once per second: a client could fill the disk otherwise."""
        now = asyncio.get_running_loop().time()
        if now < self._said + 1.0:
            return
        self._said = now
        counted = (len(self.connections), self._limit)
        log.warning("%s; %d are open, and `ulimit -n` is %d", what, *counted, extra=_ACTION)


_ACTION: Final = {"action": "accept"}


def _since(handler: web.RequestHandler) -> float:
    """Return since when a connection has been open, or idle since its last answer."""
    return private.closes_at(handler) - handler.keepalive_timeout


def _speed(handler: web.RequestHandler, now: float) -> float | None:
    """Return how fast a body arrives, in bytes per second; None if it is complete or just begun."""
    request, began = private.current_request(handler), _since(handler)
    if request is None or request.content.is_eof() or now < began + _BODY_IN_PEACE:
        return None
    return request.content.total_bytes / (now - began)


def _is_closed(context: Mapping[str, Any]) -> bool:
    error = context.get("exception")
    return isinstance(error, ValueError) and "file descriptor" in str(error)


class Refusals:
    """Handle connections that the event loop could not accept.

    Attributes:
        server: handles them; None while it does not exist.
    """

    def __init__(self) -> None:
        self.server: FrugalServer | None = None

    def heard(self, context: Mapping[str, Any]) -> bool:
        """Handle an error of the event loop; return whether it was about accepting."""
        message = str(context.get("message"))
        if message == _OUT_OF_RESOURCES and self.server is not None:
            self.server.refused(context.get("exception"))
            return True
        return _TRYING_AGAIN in message and _is_closed(context)


def listen() -> Refusals:
    """Handle the event loop's errors about accepting connections, instead of logging each.

    This lasts as long as the loop: asyncio tries again after a second, even if everything is
    closed.
    """
    loop, refusals = asyncio.get_running_loop(), Refusals()
    before = loop.get_exception_handler()

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if refusals.heard(context):
            return
        if before is not None:
            before(loop, context)
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)
    return refusals
