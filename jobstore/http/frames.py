"""WebSockets through a tunnel: both ends get a close frame when the server stops.

Messages are neither read nor changed. In each direction, only the beginnings of frames are tracked,
so that a close frame can be sent between two of them: RFC 6455 sections 5.2 and 5.5.1. For large or
single frames the cost is not measurable. A direction with dozens of frames in a single read is no
longer tracked, since that would slow it down; it is closed without a close frame, and so is one
that is in the middle of a frame.
"""

import asyncio
import os
from dataclasses import dataclass, field
from typing import Final

from jobstore.http.tunnel import Side

# For how long both ends may answer that they go as well, in seconds.
GOODBYE_SECONDS: Final = 1.0
_GOING_AWAY: Final = (1001).to_bytes(2, "big")  # section 7.4.1
_CLOSE: Final = 0x88
_OPCODE: Final = 0x0F
_CLOSING: Final = 0x08
_MASKED: Final = 0x80
_MASK_SIZE: Final = 4
# How the length of a payload is written: in 7 bits, or else in so many bytes behind them.
_LENGTHS: Final = {126: 2, 127: 8}
# How many frames are followed of what is read at once; measured, each costs a quarter of a
# microsecond, and to read and to write it all some fifty.
_MOST_FRAMES: Final = 32


class Frames:
    """Tracks where the frames of one direction begin.

    Attributes:
        closed: whether a close frame has passed.
    """

    __slots__ = ("_head", "_left", "_lost", "closed")

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._lost = False
        self.closed = False

    @property
    def between(self) -> bool:
        """Whether a frame may begin now."""
        return not (self._lost or self._left or self._head)

    def passed(self, data: bytes) -> None:
        """Track the bytes that have passed."""
        if len(data) <= self._left:  # as nearly all of what is large
            self._left -= len(data)
        elif not self._lost:
            self._follow(self._head + data if self._head else data)

    def _follow(self, data: bytes) -> None:
        at, size = self._left, len(data)
        self._left, self._head = 0, b""
        for _ in range(_MOST_FRAMES):
            if at >= size:
                self._left = at - size
                return
            end = _end_of_frame(data, at)
            if end is None:
                self._head = data[at:]
                return
            if data[at] & _OPCODE == _CLOSING:
                self.closed = True
            at = end
        self._left = max(0, at - size)
        self._lost = at < size


def _end_of_frame(data: bytes, at: int) -> int | None:
    """Return the end of the frame that begins at an offset; None if its head is incomplete."""
    if at + 2 > len(data):
        return None
    said = data[at + 1]
    length = said & ~_MASKED
    at += 2
    if (more := _LENGTHS.get(length)) is not None:
        if at + more > len(data):
            return None
        length = int.from_bytes(data[at : at + more], "big")
        at += more
    return at + length + (_MASK_SIZE if said & _MASKED else 0)


@dataclass(slots=True, eq=False)
class WebSocketSide(Side):
    """One side of a tunnel with a WebSocket.

    Args:
        masked: whether frames sent to this side have to be masked, as those to a service.
        frames: the frames received from this side.
        leaving: whether this side was sent a close frame because the server stops.
        gone: whether its connection is closed.
    """

    masked: bool = False
    frames: Frames = field(default_factory=Frames)
    leaving: bool = False
    gone: bool = False
    mirror: "WebSocketSide" = field(init=False)

    def received(self, data: bytes) -> None:
        """Pass data on, unless the other side was sent a close frame."""
        self.frames.passed(data)
        if not self.leaving:
            Side.received(self, data)
        elif self.frames.closed:
            self.own.close()

    def end(self) -> bool:
        """Pass on the end of the data, unless the other side is gone."""
        return False if self.leaving else Side.end(self)

    def lost(self, error: BaseException | None) -> None:
        """Close the other connection too, unless it is being closed anyway."""
        self.gone = True
        if not self.leaving or self.mirror.gone:
            Side.lost(self, error)

    def leave(self) -> None:
        """Send both ends a close frame, since the server stops; close when they have answered."""
        if self.leaving:
            return
        for side in (self, self.mirror):
            side.leaving = True
            side.say_goodbye()
        asyncio.get_running_loop().call_later(GOODBYE_SECONDS, self.close)

    def say_goodbye(self) -> None:
        """Send a close frame if a frame may begin now; otherwise close at once."""
        to_here = self.mirror.frames
        if not to_here.between or to_here.closed or self.ended:
            self.own.close()
        elif not self.own.is_closing():
            self.own.write(_goodbye(masked=self.masked))


def websocket_sides(
    client: asyncio.Transport, service: asyncio.Transport, over: "asyncio.Future[None]"
) -> tuple[Side, Side]:
    """Create the sides of a tunnel with a WebSocket."""
    return (
        WebSocketSide(client, service, over),
        WebSocketSide(service, client, over, masked=True),
    )


def _goodbye(*, masked: bool) -> bytes:
    """Return a close frame; one from a client is masked: RFC 6455 section 5.3."""
    size = len(_GOING_AWAY)
    if not masked:
        return bytes((_CLOSE, size)) + _GOING_AWAY
    mask = os.urandom(_MASK_SIZE)
    payload = bytes(each ^ key for each, key in zip(_GOING_AWAY, mask, strict=False))
    return bytes((_CLOSE, _MASKED | size)) + mask + payload
