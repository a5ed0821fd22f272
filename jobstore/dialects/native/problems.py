"""What goes wrong, as problem documents: RFC 9457."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from aiohttp import web

from jobstore.model.errors import (
    JobstoreError,
    SubmissionInvalid,
)
from jobstore.web import documents, json_text, late, room, wire

Call: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

NO_JSON: Final = "the body is not valid JSON"
# What reads the documents that come as JSON. Loading pydantic with it takes a tenth of a second, so
# that no server does so before the first of them comes.
_READERS: Final = ("jobstore.dialects.native.forms", "jobstore.model.written_definition")

log = logging.getLogger(__name__)


def told(call: Call) -> Call:
    """Make a call answer with a problem document where it raises an error."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await call(request)
        except JobstoreError as error:
            return refusal(error)

    return handle


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in."""
    return refusal(error)


def refusal(error: JobstoreError) -> web.Response:
    """Answer with the problem document of an error."""
    if error.status is None:
        log.error("%s", error, extra={"action": "answer"})
        return wire.problem(500, "internal error; the server's log says more")
    return wire.problem(error.status, str(error), tuple(wire.retry_after(error).items()))


def not_allowed(methods: list[str]) -> Call:
    """Make the answer to any method but those that a path has."""
    allowed = ", ".join(methods)

    async def handle(_: web.Request) -> web.Response:
        return wire.problem(405, f"expected one of the methods {allowed}", (("Allow", allowed),))

    return handle


async def no_such_call(_: web.Request) -> web.Response:
    """Answer where there is nothing."""
    return wire.problem(404, "there is no such call; /_jobs/openapi.json describes those there are")


async def json_of(request: web.Request, limit: int) -> object:
    """Read a body as JSON, whatever its content type says.

    Args:
        limit: how many bytes it may have.

    Raises:
        SubmissionInvalid: it is none.
        BodyTooLarge: it is too large.
        BodyBroken: it ended before its announced end, or stopped arriving.
        NoRoom: too many are being read at the same time.
        Forbidden: its sender may change nothing, or not any more.
    """
    for reader in _READERS:
        late.load(reader)
    async with room.whole(request, limit) as body:
        wire.changing(request)  # which its sender may have been when the body began to come
        try:
            return documents.parse(body)
        except (documents.TooManyPieces, json_text.Unstorable) as error:
            raise SubmissionInvalid(f"the body is not valid JSON here: {error}") from None
        except ValueError:
            raise SubmissionInvalid(NO_JSON) from None
