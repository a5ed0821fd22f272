"""Answers of a service, as they arrive over a connection."""

from collections.abc import AsyncIterator
from typing import Final

from aiohttp import ClientError, ClientPayloadError, ServerDisconnectedError, StreamReader
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from multidict import MultiMapping

from jobstore.http import private
from jobstore.model.errors import TargetBroken, TargetFailed
from jobstore.model.message import (
    FINAL,
    Body,
    Response,
    bodiless,
    end_to_end,
    own_phrase,
    unsendable,
)
from jobstore.targets.exchange import HeadTooLargeError

# What is undone where a body is read; "identity" is of RFC 2616 and changes nothing.
_UNDONE: Final = (["chunked"], ["identity"])

# What went wrong, by the first class that fits.
_BROKEN: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ServerDisconnectedError, "the target closed the connection before its response was complete"),
    (HttpProcessingError, "the target's response is not valid HTTP"),
    (ClientPayloadError, "the target's response broke off before its end"),
    (ClientError, "the connection to the target broke"),
    (OSError, "the connection to the target broke"),
)


class _Download:
    """A body that is arriving."""

    def __init__(self, size: int | None, reader: StreamReader) -> None:
        self.size = size
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._reader.iter_any():
                yield chunk
        except (ClientError, OSError) as exc:
            raise failure_of(exc) from exc


def response_of(method: str, message: RawResponseMessage, payload: StreamReader) -> Response:
    """Return an answer; its body is bytes if all of it has arrived.

    Raises:
        TargetBroken: it cannot be passed on.
    """
    if message.code not in FINAL:
        raise TargetBroken("the target answered with an invalid status")
    fields = message.headers
    received = tuple(fields.items())
    if problem := unsendable(received, message.reason):
        raise TargetBroken(f"the head of the target's response {problem}")
    if "Transfer-Encoding" in fields and _transfer_codings(fields) not in _UNDONE:
        raise TargetBroken("the target's response has a transfer coding other than chunked")
    length = fields.get("Content-Length")
    body: Body
    if bodiless(method, message.code):
        body = b""
    elif length is not None and payload.is_eof():
        body = private.unread(payload)
    else:
        body = _Download(None if length is None else int(length), payload)
    return Response(
        status=message.code,
        reason=own_phrase(message.code, message.reason),
        headers=end_to_end(received),
        body=body,
    )


def _transfer_codings(fields: MultiMapping[str]) -> list[str]:
    listed = ",".join(fields.getall("Transfer-Encoding"))
    return [coding.strip().lower() for coding in listed.split(",")]


def failure_of(exc: Exception) -> TargetFailed:
    """Describe a failure in a sentence, without anything secret in URL and headers."""
    for each in (exc, exc.__cause__):
        if isinstance(each, HeadTooLargeError):
            return TargetBroken(each.message)
    return TargetBroken(next(text for kind, text in _BROKEN if isinstance(exc, kind)))
