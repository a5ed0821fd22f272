"""Errors as problem documents: RFC 9457; and JSON bodies of requests."""

from typing import Final

from aiohttp import web

from jobstore.model.errors import JobstoreError, SubmissionInvalid
from jobstore.web import documents, late, refusals, room, standing, wire

NO_JSON: Final = "the body is not valid JSON"
# What reads the documents that come as JSON. Loading pydantic with it takes a tenth of a second, so
# that no server does so before the first of them comes.
_READERS: Final = (
    "jobstore.dialects.native.forms",
    "jobstore.dialects.native.bulk_forms",
    "jobstore.model.written_definition",
)


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer a request with the problem document of an error."""
    return refusals.problem_of(error)


async def no_such_call(_: web.Request) -> web.Response:
    """Answer 404 for an unknown path."""
    return wire.problem(404, "there is no such call; /_jobs/openapi.json describes those there are")


async def json_of(request: web.Request, limit: int, most: int = documents.PIECES) -> object:
    """Read a body as JSON, whatever its content type says.

    Args:
        limit: the largest body, in bytes.
        most: how many strings, members and items it may have.

    Raises:
        SubmissionInvalid: it is invalid.
        BodyTooLarge: it is too large.
        BodyBroken: it ended before its announced end, or stopped arriving.
        NoRoom: too many are being read at the same time.
        Forbidden: its sender may not change anything, or no longer may.
    """
    await late.loaded(*_READERS)
    async with room.whole(request, limit) as body:
        standing.changing(request)  # which its sender may have been when the body began to come
        try:
            return documents.parse(body, most)
        except documents.Unacceptable as error:
            raise SubmissionInvalid(f"the body is not valid JSON here: {error}") from None
        except ValueError:
            raise SubmissionInvalid(NO_JSON) from None
