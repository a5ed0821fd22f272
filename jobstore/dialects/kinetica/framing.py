"""The frame of every call: read its record and write its answer, both within limits."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, ParamSpec, TypeAlias, TypeVar

from aiohttp import web

from jobstore.dialects.kinetica import encodings
from jobstore.dialects.kinetica.encodings import Encoding
from jobstore.dialects.kinetica.records import Form, RequestInvalid
from jobstore.dialects.kinetica.request import KineticaCall
from jobstore.model.errors import JobstoreError
from jobstore.model.frozen import frozen
from jobstore.model.message import Body, body_size, loggable
from jobstore.web import room, standing
from jobstore.web.ask import Ask
from jobstore.web.refusals import Internal

# From how many bytes on a record is taken apart or put together in a thread, while others are
# answered.
LONG_WORK: Final = 16 * 2**10
# All but what creates a job, which brings the job's own body with it, is small: in bytes.
_LARGEST_QUESTION: Final = 64 * 2**10
# How many times the room of what came in, or was kept, is needed at most to make another thing of
# it: a text has four bytes for each character if one of them is none of the first 65,536.
_PLAIN: Final = 2
_WIDE: Final = 5

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger(__name__)

Run: TypeAlias = Callable[[web.Request, KineticaCall], Awaitable[web.StreamResponse]]
# Takes a call on at the desk, or leaves it, unchanged, to the long way.
RunAtOnce: TypeAlias = Callable[[Ask, KineticaCall], bool]


@frozen
class Endpoint:
    """The call at one path.

    Args:
        run: answers it.
        asks: the form of a request's record.
        answers: the form of an answer's record.
        limit: the largest request, in bytes.
        changes: whether it changes something, so that readers may not call it.
        run_at_once: answers small calls at the desk.
    """

    run: Run
    asks: Form
    answers: Form
    limit: int = _LARGEST_QUESTION
    changes: bool = False
    run_at_once: RunAtOnce | None = None

    def at_once(self, ask: Ask) -> bool:
        """Accept a call, unless it is large or invalid."""
        if self.run_at_once is None or ask.size > LONG_WORK:
            return False
        if self.changes and not ask.identity.changes:
            return False
        try:
            encoding = encodings.encoding_of(ask.headers.get("Content-Type"))
            asked = encodings.decode(encoding, self.asks, ask.body(), self.limit)
            return self.run_at_once(ask, KineticaCall(encoding, asked, self.answers))
        except JobstoreError:
            return False

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, or raise one of our own errors: clients give up after a 500."""
        try:
            return await self._answer(request, _encoding(request))
        # Of the others nobody is there to be answered, or not any more.
        except (JobstoreError, ConnectionError, standing.Revoked):
            raise
        except Exception:
            path = loggable(request.path)
            log.exception("cannot answer %s", path, extra={"action": "answer"})
            raise Internal from None

    async def _answer(self, request: web.Request, encoding: Encoding) -> web.StreamResponse:
        if self.changes:
            standing.changing(request)
        async with room.whole(request, self.limit) as body:
            more = room.taken(request, len(body) * _times(encoding, body))
            async with more:
                decode = partial(encodings.decode, encoding, self.asks, body, self.limit)
                asked = await off_loop(len(body), decode)
                return await self.run(request, KineticaCall(encoding, asked, self.answers))


def _encoding(request: web.Request) -> Encoding:
    if request.method != "POST":
        raise RequestInvalid("expected POST")
    return encodings.encoding_of(request.headers.get("Content-Type"))


def _times(encoding: Encoding, body: bytes) -> int:
    """Return how many times the size of a body its decoding needs."""
    if encoding is not Encoding.JSON or (body.isascii() and b"\\u" not in body):
        return _PLAIN
    return _WIDE


async def off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run work on large data in a thread.

    Args:
        size: the size of the data, in bytes.
        work: the function to call.
        args: its arguments.
        kwargs: its keyword arguments.
    """
    if size <= LONG_WORK:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


@asynccontextmanager
async def room_for(request: web.Request, body: Body | None) -> AsyncIterator[int]:
    """Reserve memory for an answer that is built in memory; yield the size of its content.

    Raises:
        NoRoom: none is left at the moment.
    """
    size = 0 if body is None else body_size(body) or 0
    async with room.taken(request, size * _WIDE):
        yield size
