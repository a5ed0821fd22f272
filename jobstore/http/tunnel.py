"""A tunnel: two connections whose bytes are exchanged after a switch to another protocol.

What arrives on one connection is written to the other unchanged, with no more copies than these
two. If one connection cannot take more, reading from the other is paused. The end of one
direction is passed on, and the other direction continues: RFC 9293 section 3.6. When both
have ended, both connections are closed; when one breaks, so does the other.

asyncio's transport does not report a reset once it has read the end of file, so the socket
of a connection whose peer has stopped sending is checked now and then.
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
        """Hand all further events over to a side; return the data received so far."""

    @property
    def half_closed(self) -> bool:
        """Whether its peer has stopped sending already."""


@dataclass(slots=True, eq=False)
class Side:
    """One side of a tunnel: handles the events of one connection by acting on the other.

    Args:
        own: the connection's transport.
        other: the other connection's transport.
        over: done when the tunnel has ended.
        ended: whether the peer has stopped sending.
    """

    own: asyncio.Transport
    other: asyncio.Transport
    over: "asyncio.Future[None]"
    ended: bool = False
    mirror: "Side" = field(init=False)

    def received(self, data: bytes) -> None:
        """Pass data on."""
        if not self.other.is_closing():
            self.other.write(data)

    def end(self) -> bool:
        """Pass on the end of the data; return whether the connection stays open.

        asyncio's TLS cannot close one direction: there, the other connection is closed.
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
        """Close the other connection too, or break it off if this one was broken off."""
        if error is None:
            self.other.close()
        else:
            self.other.abort()
        if not self.over.done():
            self.over.set_result(None)

    def pause(self) -> None:
        """Pause reading for this connection."""
        _flow(self.other, paused=True)

    def resume(self) -> None:
        """Resume reading for this connection."""
        _flow(self.other, paused=False)

    def close(self) -> None:
        """Close both connections once everything passed on is sent."""
        self.own.close()
        self.other.close()

    def leave(self) -> None:
        """Close both connections, since the server stops."""
        self.close()

    def _look(self) -> None:
        """Close if the peer that stopped sending is gone."""
        if self.over.done():
            return
        if _is_gone(self.own):
            self.own.abort()
            self.other.abort()
        else:
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)


class TunnelProtocol(asyncio.BaseProtocol):
    """A base for connections that can become a side of a tunnel; listed before the other base."""

    __slots__ = ()
    _side: Side | None

    def pause_writing(self) -> None:
        """Pause the other end, so that it sends no more than this one reads."""
        super().pause_writing()
        if self._side is not None:
            self._side.pause()

    def resume_writing(self) -> None:
        """Resume the other end."""
        super().resume_writing()
        if self._side is not None:
            self._side.resume()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Notify the other side, before those who wait here for an answer."""
        if self._side is not None:
            self._side.lost(exc)
        super().connection_lost(exc)  # type: ignore[arg-type] # aiohttp takes what asyncio gives


MakeSides: TypeAlias = Callable[
    [asyncio.Transport, asyncio.Transport, "asyncio.Future[None]"], tuple[Side, Side]
]


def plain_sides(
    one: asyncio.Transport, other: asyncio.Transport, over: "asyncio.Future[None]"
) -> tuple[Side, Side]:
    """Create the sides of a tunnel for any protocol."""
    return Side(one, other, over), Side(other, one, over)


async def join(
    one: TunnelSide, other: TunnelSide, first: bytes, make: MakeSides = plain_sides
) -> None:
    """Join two connections by a tunnel, until one of them is closed.

    Args:
        one: a connection.
        other: another one.
        first: the data to send on the first one before anything else.
        make: creates the sides of the tunnel.

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
    """Turn on the system's keep-alive probes, which find out whether a silent peer is gone."""
    connection = transport.get_extra_info("socket")
    if connection is not None and connection.family in {socket.AF_INET, socket.AF_INET6}:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_gone(transport: asyncio.Transport) -> bool:
    """Return whether the peer has reset a connection or is gone."""
    connection = transport.get_extra_info("socket")
    if connection is None or connection.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), 0)
    return any(events & _GONE for _, events in poll.poll(0))
