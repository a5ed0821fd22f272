"""A client's connection at the server's end: aiohttp's, but a client may stop sending first.

A client that has sent its whole request and waits for the answer may close its sending side,
``shutdown(SHUT_WR)``. On the wire this looks like a client that is gone, ``close()``: in both cases
the server reads an end of file. aiohttp treats both as gone, so the former never gets its answer.
Here the end of file means:

- If no request is being answered, the connection is closed.
- In the middle of a body, that body is broken, and the client is told so.
- Long after the last byte of a request, the client is gone, as in aiohttp: nobody who waits for an
  answer closes then.
- Otherwise the earlier requests are answered, and then the connection is closed.

In the last case, only sending something shows whether the client still listens: the system of a
client that is gone answers with a reset. So if no answer has begun after a moment, one "100
Continue" is sent, which every HTTP/1.1 client has to ignore: RFC 9110 section 15.2. If an answer
has begun, its next byte shows it. Otherwise, and for HTTP/1.0, the system's keep-alive probes do,
within about a minute.

asyncio's transport does not report a reset once it has read the end of file, so the socket is asked
now and then. Something counts as delivered to such a client only when its system has acknowledged
it: `acknowledged`.

What is used of aiohttp's own connection is listed in `jobstore.http.private`.
"""

import asyncio
import fcntl
import select
import socket
import struct
import termios
from typing import Any, Final

from aiohttp import web
from aiohttp.http import HttpVersion11

from jobstore.http import private

# How long after the last byte of a request a client that waits for the answer may close its side.
LATE_SECONDS: Final = 2.0
# For how long nothing is sent to find out whether a client that has closed its side is gone.
PROBE_SECONDS: Final = 0.25
# How long it may take until a client's system has acknowledged what was delivered to it.
ACKNOWLEDGE_SECONDS: Final = 10.0
# How long to wait between two looks at a socket: at first, and at most.
_SHORTEST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 1.0
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# From /usr/include/netinet/tcp.h: the state of a connection that was reset.
_TCP_CLOSE: Final = 7
# Idle seconds before the first probe of the system, seconds between two, and how many may be lost.
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class ClientConnection(web.RequestHandler):
    """A connection whose client may stop sending before it has its answers.

    Attributes:
        half_closed: whether it has; never with TLS, since asyncio's TLS does not allow it.
        below: the transport below TLS; None without TLS.
    """

    __slots__ = ("_half_closed_at", "_heard_at", "_probed", "below", "half_closed")

    def __init__(
        self, manager: web.Server, *, loop: asyncio.AbstractEventLoop, **options: Any
    ) -> None:
        super().__init__(manager, loop=loop, **options)
        self.half_closed = False
        self.below: asyncio.WriteTransport | None = None
        self._heard_at = self._half_closed_at = loop.time()
        self._probed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport below TLS, if there is one."""
        super().connection_made(transport)
        self.below = private.below(transport)

    def data_received(self, data: bytes) -> None:
        """Note the time, and let aiohttp handle the data."""
        self._heard_at = self._loop.time()
        super().data_received(data)

    def eof_received(self) -> bool:  # type: ignore[override] # aiohttp's answer is always "close"
        """Return whether to keep the connection open although the client has stopped sending."""
        now = self._loop.time()
        if self.idle or now - self._heard_at > LATE_SECONDS or self.below:
            return False
        if not self.half_closed:
            self.half_closed, self._half_closed_at = True, now
            _probe_by_system(self.transport)
            self._loop.call_soon(self._watch, _SHORTEST_PAUSE)
        return True

    async def encrypted_sent(self) -> None:
        """Wait until the system has taken all encrypted data.

        Raises:
            ConnectionError: the connection broke before that.
        """
        while self.below is not None and self.below.get_write_buffer_size():
            await asyncio.sleep(_SHORTEST_PAUSE)
            if self.transport is None:
                raise ConnectionResetError("the client has closed the connection")

    async def acknowledged(self) -> None:
        """Wait until the client's system has acknowledged everything sent.

        Raises:
            ConnectionError: it has not, and the client counts as gone.
        """
        end = self._loop.time() + ACKNOWLEDGE_SECONDS
        while self.transport is not None and not _is_gone(self.transport):
            if not _unacknowledged(self.transport):
                return
            if self._loop.time() > end:
                break
            await asyncio.sleep(_SHORTEST_PAUSE)
        raise ConnectionResetError("the client has closed the connection")

    @property
    def idle(self) -> bool:
        """Whether no request is being answered, and none waits."""
        return not self._messages and self._waiter is not None and not self._waiter.done()

    @property
    def _waiting(self) -> bool:
        """Whether a request waits for its turn."""
        return bool(self._messages)

    def _break_body(self) -> None:
        """End a body that is still being read with an error."""
        request = self._current_request
        if self._messages:
            body = self._messages[-1][1]
        elif request is not None:
            body = request.content
        else:
            return
        if not body.is_eof():
            body.set_exception(web.RequestPayloadError("the body ended before its announced end"))
            body.feed_eof()  # so that nobody waits for the rest

    def _watch(self, pause: float) -> None:
        """Watch a client that has stopped sending, until its connection is closed."""
        if self.transport is None:
            return
        if _is_gone(self.transport):
            self.transport.abort()
            return
        if not self._waiting and not self._request_in_progress:
            self._loop.call_soon(self._close_idle, 2)
        self._break_body()  # not before: a request whose turn has just come is in no one's hands
        if not self._waiting:
            self.close()  # once the last request is answered
        if self._loop.time() - self._half_closed_at >= PROBE_SECONDS and self._probe():
            pause = _SHORTEST_PAUSE
        self._loop.call_later(pause, self._watch, min(2 * pause, _LONGEST_PAUSE))

    def _close_idle(self, rounds: int) -> None:
        """Close the connection if no request is being answered in a few rounds of the loop.

        Between two requests, aiohttp reads the rest of the first one's body, although
        nothing of it will come. A request whose turn has just begun looks the same for one round.
        """
        if self._waiting or self._request_in_progress:
            return
        if rounds:
            self._loop.call_soon(self._close_idle, rounds - 1)
        else:
            self.force_close()

    def _probe(self) -> bool:
        """Send something that provokes a reset if the client is gone; return whether it was."""
        request = self._current_request
        if (
            self._probed
            or self.transport is None
            or request is None
            or request.version < HttpVersion11
            or request.writer.output_size  # the answer has begun
        ):
            return False
        self._probed = True
        self.transport.write(_CONTINUE)
        return True


def _probe_by_system(transport: asyncio.Transport | None) -> None:
    """Turn on the system's keep-alive probes, which find out whether a client is gone."""
    connection = transport.get_extra_info("socket") if transport else None
    if connection is not None and connection.family != socket.AF_UNIX:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_gone(transport: asyncio.Transport) -> bool:
    """Return whether the client's system has reset a connection."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return True
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        return True
    if connection.family == socket.AF_UNIX:
        return _is_hung_up(connection)
    if not hasattr(socket, "TCP_INFO"):
        return False
    state: int = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == _TCP_CLOSE


def _is_hung_up(connection: socket.socket) -> bool:
    """Return whether both sides of a local socket are closed, not only the client's."""
    waiting = select.poll()
    waiting.register(connection.fileno(), 0)  # this much is told unasked
    return any(events & select.POLLHUP for _, events in waiting.poll(0))


def _unacknowledged(transport: asyncio.Transport) -> int:
    """Return how many bytes the client's system has not acknowledged: SIOCOUTQ of tcp(7)."""
    number = struct.pack("i", 0)
    try:
        found = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, number)
    except OSError:  # a system that does not tell
        return 0
    (count,) = struct.unpack("i", found)
    return int(count)
