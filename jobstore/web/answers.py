"""Whole answers as bytes, sent by a single write: see `jobstore.web.desk`.

They have the same fields as responses that aiohttp sends.
"""

from typing import Final

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from jobstore.http import heads
from jobstore.model.message import BODILESS, Headers, Response, phrase_of
from jobstore.web import wire

_SERVER: Final = ("Server", SERVER_SOFTWARE)
_NO_CONTENT: Final = 204


def own(status: int, headers: Headers, body: bytes = b"", *, explicit: bool = False) -> bytes:
    """Serialise one of our own answers.

    Args:
        headers: its fields, without those that all answers have.
        explicit: whether a 204 has a ``Content-Length``; see `wire.explicitly_empty`.
    """
    fields = [*headers, *_length(status, body, explicit=explicit), _date(), _SERVER]
    return heads.encoded(f"HTTP/1.1 {status} {phrase_of(status)}", fields) + body


def of(response: web.Response) -> bytes:
    """Serialise an aiohttp response whose body is in memory."""
    body = response.body if isinstance(response.body, bytes) else b""
    headers = tuple(response.headers.items())
    return own(response.status, headers, body, explicit=wire.is_explicit(response))


def delivered(response: Response, extra: Headers, *, explicit: bool = False) -> bytes:
    """Serialise the stored response of a job, as `wire.deliver` sends it.

    Args:
        response: the stored response, with its body in memory.
        extra: headers to add.
        explicit: as in `own`.

    Raises:
        AnswerUnsendable: it cannot be sent over HTTP.
    """
    given = wire.given_fields(response, extra)
    heads.check(given, response.reason)
    return _written(response, given, explicit=explicit)


def relayed(response: Response) -> bytes:
    """Serialise a target's response, as `wire.relay` sends it.

    Args:
        response: the target's response, which its target has checked, with its body in memory.
    """
    return _written(response, response.headers)


def _written(response: Response, given: Headers, *, explicit: bool = False) -> bytes:
    """Serialise a target's response with the given fields and those that have to be added."""
    status, body = response.status, response.body
    assert isinstance(body, bytes)
    fields, names = [*given], {name.lower() for name, _ in given}
    if "content-length" not in names:
        fields += _length(status, body, explicit=explicit)
    if "date" not in names:
        fields.append(_date())
    reason = phrase_of(status) if response.reason is None else response.reason
    head = heads.encoded(f"HTTP/1.1 {status} {reason}", fields)
    return head if status in BODILESS else head + body


def _length(status: int, body: bytes, *, explicit: bool) -> Headers:
    """Return a body's ``Content-Length``, where it is allowed: RFC 9110 section 8.6."""
    if status in BODILESS:
        return (("Content-Length", "0"),) if explicit and status == _NO_CONTENT else ()
    return (("Content-Length", str(len(body))),)


def _date() -> tuple[str, str]:
    return "Date", rfc822_formatted_time()
