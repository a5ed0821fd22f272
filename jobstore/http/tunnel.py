"""Two connections whose bytes go to one another: what remains of HTTP once a protocol was switched.

What comes on one connection is written to the other as it is, and costs no other copy than these
two. A connection that has no room for more stops the reading from the other. The end of one
direction is passed on as such, and the other direction goes on: RFC 9293 section 3.6. When both
have ended, both connections are closed; when one breaks, so does the other.

A reset is not reported by asyncio's transport once it has read the end of file, so that the socket
of a connection whose other end has stopped sending is asked now and then.
"""

import asyncio
import select
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

# How often a connection is looked at whose other end has stopped sending, in seconds.
_LOOK_SECONDS: Final = 1.0
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL
# Idle seconds before the first probe of the system, seconds between two, and how many may be lost.
_KEEP_ALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class TunnelSide(Protocol):
    """A connection that can become a side of a tunnel."""

    transport: asyncio.Transport | None

    def switch(self, side: "Side") -> bytes:
        """Let a side have all that happens from now on; give what has come already."""

    @property
    def half_closed(self) -> bool:
        """Whether its other end has stopped sending already."""


@dataclass(slots=True, eq=False)
class Side:
    """What the protocol of one connection tells, and what is done with the other one for it.

    Args:
        own: the connection's transport.
        other: that of the other one.
        over: done when the tunnel is over.
        ended: whether the other end has stopped sending.
    """

    own: asyncio.Transport
    other: asyncio.Transport
    over: "asyncio.Future[None]"
    ended: bool = False
    mirror: "Side" = field(init=False)

    def received(self, data: bytes) -> None:
        """Pass on what has come."""
        if not self.other.is_closing():
            self.other.write(data)

    def end(self) -> bool:
        """Pass on that nothing more comes; tell whether the connection stays open.

        TLS has no such end in asyncio: there, the other connection is closed.
        """
        self.ended = True
        if self.mirror.ended or not (self.other.can_write_eof() and self.own.can_write_eof()):
            self.close()
            return False
        if not self.other.is_closing():
            self.other.write_eof()
        asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        return True

    def lost(self, error: BaseException | None) -> None:
        """Close the other connection, too; break it off if this one was."""
        if error is None:
            self.other.close()
        else:
            self.other.abort()
        if not self.over.done():
            self.over.set_result(None)

    def pause(self) -> None:
        """Let nothing more come for this connection."""
        _flow(self.other, paused=True)

    def resume(self) -> None:
        """Let more come for this connection."""
        _flow(self.other, paused=False)

    def close(self) -> None:
        """Close both connections, once all that was passed on is sent."""
        self.own.close()
        self.other.close()

    def leave(self) -> None:
        """Close both connections, since the server goes away."""
        self.close()

    def _look(self) -> None:
        """Close if the end that stopped sending is gone."""
        if self.over.done():
            return
        if _is_gone(self.own):
            self.own.abort()
            self.other.abort()
        else:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


class TunnelProtocol(asyncio.BaseProtocol):
    """What a connection on either side of a tunnel tells the other; it goes before its own base."""

    __slots__ = ()
    _side: Side | None

    def pause_writing(self) -> None:
        """Let the other end send no more than this one reads."""
        super().pause_writing()
        if self._side is not None:
            self._side.pause()

    def resume_writing(self) -> None:
        """Let the other end go on."""
        super().resume_writing()
        if self._side is not None:
            self._side.resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the other side, before those who wait here for an answer."""
        if self._side is not None:
            self._side.lost(exc)
        super().connection_lost(exc)  # type: ignore[arg-type] # aiohttp takes what asyncio gives


MakeSides: TypeAlias = Callable[
    [asyncio.Transport, asyncio.Transport, "asyncio.Future[None]"], tuple[Side, Side]
]


def plain_sides(
    one: asyncio.Transport, other: asyncio.Transport, over: "asyncio.Future[None]"
) -> tuple[Side, Side]:
    """Make the sides of a tunnel of which nothing is known."""
    return Side(one, other, over), Side(other, one, over)


async def join(
    one: TunnelSide, other: TunnelSide, first: bytes, make: MakeSides = plain_sides
) -> None:
    """Let the bytes of two connections go to one another, until one of them is closed.

    Args:
        one: a connection.
        other: another one.
        first: what is sent on the first one before anything else.
        make: makes the sides of the tunnel.

    Raises:
        ConnectionError: one of them is gone already.
    """
    sides = _sides(one.transport, other.transport, make)
    ends = (one, other)
    early = [end.switch(side) for end, side in zip(ends, sides, strict=True)]
    sides[0].own.write(first)
    for end, side, data in zip(ends, sides, early, strict=True):
        side.mirror.resume()
        if data:
            side.received(data)
        if end.half_closed:
            side.end()
    await sides[0].over


def _sides(
    one: asyncio.Transport | None, other: asyncio.Transport | None, make: MakeSides
) -> tuple[Side, Side]:
    if one is None or one.is_closing() or other is None or other.is_closing():
        raise ConnectionResetError("a connection was closed before it could be joined to another")
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    sides = make(one, other, over)
    for side, mirror in zip(sides, sides[::-1], strict=True):
        side.mirror = mirror
        _probe(side.own)
    return sides


def _flow(transport: asyncio.Transport, *, paused: bool) -> None:
    if transport.is_closing():
        return
    if paused:
        transport.pause_reading()
    else:
        transport.resume_reading()


def _probe(transport: asyncio.Transport) -> None:
    """Let the system find out by itself whether a silent peer is gone."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_gone(transport: asyncio.Transport) -> bool:
    """Tell whether the peer's system has reset a connection, or nobody is there any more."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(events & _GONE for _, events in poll.poll(0))
