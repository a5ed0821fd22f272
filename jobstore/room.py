"""Memory for what has to be whole at once: so much for all requests together, and no more.

A request may take a little without asking. What is beyond that is taken from one room for all, and
where that is full, a request is refused rather than kept waiting: who holds the room may be slow
on purpose.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from aiohttp import web

from jobstore import wire
from jobstore.errors import BodyTooLarge, NoRoom

# In bytes: what each request may take, and what there is for all of them beyond that.
_FREE: Final = 64 * 2**10
_SIZE: Final = 48 * 2**20


class Room:
    """So many bytes for all."""

    def __init__(self, size: int = _SIZE) -> None:
        self._left = size

    def take(self, size: int) -> None:
        """Take so many bytes.

        Raises:
            NoRoom: there are not as many left.
        """
        if size > self._left:
            raise NoRoom
        self._left -= size

    def give_back(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


ROOM: Final = web.AppKey("jobstore.room", Room)


@contextmanager
def taken(request: web.Request, size: int) -> Iterator[None]:
    """Keep room for what is made of a request while the context lasts.

    Raises:
        NoRoom: there is none just now.
    """
    room, beyond = request.app[ROOM], max(0, size - _FREE)
    room.take(beyond)
    try:
        yield
    finally:
        room.give_back(beyond)


@asynccontextmanager
async def whole(request: web.Request, limit: int) -> AsyncIterator[bytes]:
    """Read the body of a request to one of our own APIs; its room is kept while the context lasts.

    Args:
        request: the request.
        limit: how many bytes it may have.

    Raises:
        BodyTooLarge: it has more.
        BodyBroken: it ended before its announced end, or stopped arriving.
        NoRoom: too much is being read at the same time.
    """
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    room, body, held = request.app[ROOM], bytearray(), 0
    try:
        async for piece in wire.pieces(request):
            if len(body) + len(piece) > limit:
                raise BodyTooLarge(limit)
            more = max(0, len(body) + len(piece) - _FREE) - held
            room.take(more)
            held += more
            body += piece
        yield bytes(body)
    finally:
        room.give_back(held)
