"""Memory for messages that have to be complete: one limit for all requests together.

A request may use a little without reserving it. Anything beyond that is taken from a shared amount.
If that is used up, a request waits for a moment, during which no more of it is read, and is then
refused: those who hold the memory may be slow on purpose.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from jobstore.model.errors import BodyTooLarge, NoRoom
from jobstore.web import intake, standing

# In bytes: what each request may take, what there is for all of them beyond that, and what one of
# them may take at most for what is made of it. Measured, 100 connections that send as much as they
# can cost 64 MiB: each has up to 256 KiB on its way as well.
_FREE: Final = 32 * 2**10
_SIZE: Final = 24 * 2**20
_FOR_ONE: Final = 16 * 2**20
# For how long a request waits for room, in seconds.
_PATIENCE: Final = 5.0


class Room:
    """A number of bytes that all requests share."""

    def __init__(self, size: int = _SIZE) -> None:
        self._left = size
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Reserve so many bytes, as soon as they are free.

        Raises:
            NoRoom: they were not free for a while.
        """
        if size > self._left:
            await self._wait_for(size)
        self._left -= size

    async def _wait_for(self, size: int) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                while size > self._left:
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            raise NoRoom from None

    def give_back(self, size: int) -> None:
        """Release reserved bytes."""
        self._left += size
        self._freed.set()


ROOM: Final = web.AppKey("jobstore.room", Room)


@asynccontextmanager
async def taken(request: web.Request, size: int) -> AsyncIterator[None]:
    """Reserve memory for a request while the context lasts.

    Raises:
        NoRoom: none is left at the moment.
    """
    room, beyond = request.app[ROOM], max(0, min(size, _FOR_ONE) - _FREE)
    await room.take(beyond)
    try:
        yield
    finally:
        room.give_back(beyond)


@asynccontextmanager
async def whole(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """Read the body of a request to one of our APIs, with its memory reserved meanwhile.

    Args:
        limit: the largest body, in bytes.

    Raises:
        BodyTooLarge: it is larger.
        BodyBroken: it ended before its announced end, or stopped arriving.
        NoRoom: too much is being read at the same time.
        Revoked: its sender's access was revoked meanwhile.
    """
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    room, body, held = request.app[ROOM], bytearray(), 0
    try:
        async for piece in intake.pieces(request, ahead=_FREE):
            if len(body) + len(piece) > limit:
                raise BodyTooLarge(limit)
            more = max(0, len(body) + len(piece) - _FREE) - held
            await room.take(more)
            held += more
            body += piece
        standing.confirm(request)
        yield bytes(body)
    finally:
        room.give_back(held)
