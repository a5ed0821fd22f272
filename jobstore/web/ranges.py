"""Byte ranges of stored bodies: RFC 9110 section 14.

One range is served at a time. A request for several, or an invalid one, gets the whole body.
"""

import re
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web
from multidict import CIMultiDict, MultiMapping

from jobstore.http import heads
from jobstore.model.message import Headers, Response, body_size, header, without
from jobstore.store.bodies import StoredBody
from jobstore.web import wire

_RANGE: Final = re.compile(
    r"bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{0,18})|-\s*([0-9]{1,18}))\s*", re.IGNORECASE
)
# What is said of a whole, and is not true of a part.
_OF_THE_WHOLE: Final = frozenset({"content-digest", "content-md5"})
_ACCEPTED: Final = ("Accept-Ranges", "bytes")


async def show(request: web.Request, kept: Response, extra: Headers) -> web.StreamResponse:
    """Answer a request with a stored message or a part of it; HEAD with its length.

    Args:
        kept: the stored message; only the part that is sent is read.
        extra: headers to add.

    Raises:
        AnswerUnsendable: it cannot be sent over HTTP.
        ConnectionError: the connection broke before the last byte was handed over.
    """
    fields = wire.given_fields(replace(kept, headers=without(kept.headers, ("accept-ranges",))), ())
    whole, extra = replace(kept, headers=fields), (*extra, _ACCEPTED)
    size = body_size(kept.body) or 0
    if request.method == "HEAD":
        return await _measured(request, replace(whole, headers=(*fields, *extra)), size)
    wanted = _wanted(request.headers, kept.headers, size)
    if wanted is None:
        return await wire.deliver(request, whole, extra)
    if wanted.start >= wanted.stop:
        headers = (("Content-Range", f"bytes */{size}"),)
        status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
        return wire.problem(status, f"expected a range within {size} bytes", headers)
    return await wire.deliver(request, _part(whole, wanted, size), extra)


def _wanted(asked: MultiMapping[str], kept: Headers, size: int) -> range | None:
    """Return the requested range; None for the whole body, empty if it has no such bytes."""
    fields = asked.getall("Range", ())
    match = _RANGE.fullmatch(fields[0].strip()) if len(fields) == 1 else None
    if match is None or not _holds(asked.getall("If-Range", ()), kept):
        return None
    first, last, count = match.groups()
    if count is not None:
        suffix = int(count)  # of nothing it is all there is, for which there are no words
        return None if suffix and not size else range(max(0, size - suffix), size)
    if last and int(last) < int(first):  # which is no range: RFC 9110 section 14.1.1
        return None
    return range(int(first), min(size, int(last) + 1) if last else size)


def _holds(conditions: list[str] | tuple[str, ...], kept: Headers) -> bool:
    """Return whether a part fits those that the client has: RFC 9110 section 13.1.5."""
    if not conditions:
        return True
    condition = conditions[0].strip()
    validator = "etag" if condition.endswith('"') else "last-modified"
    return not condition.startswith("W/") and condition == header(kept, validator)


def _part(whole: Response, wanted: range, size: int) -> Response:
    body, (start, end) = whole.body, (wanted.start, wanted.stop)
    assert isinstance(body, bytes | StoredBody)
    place = ("Content-Range", f"bytes {start}-{end - 1}/{size}")
    return Response(
        status=HTTPStatus.PARTIAL_CONTENT,
        headers=(*without(whole.headers, _OF_THE_WHOLE), place),
        body=body[start:end] if isinstance(body, bytes) else body.part(start, end),
    )


async def _measured(request: web.Request, kept: Response, size: int) -> web.StreamResponse:
    """Answer HEAD."""
    heads.fit(request, kept.headers, "")
    answer = web.StreamResponse(status=kept.status, headers=CIMultiDict(kept.headers))
    answer.content_length = size
    await answer.prepare(request)
    await answer.write_eof()
    return answer
