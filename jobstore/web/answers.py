"""Whole answers as bytes, for a connection that sends them by one write: see `jobstore.web.desk`.

They have the same fields as aiohttp's own way of sending a response gives them.
"""

from typing import Final

from aiohttp import web
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http import SERVER_SOFTWARE

from jobstore.http import heads
from jobstore.model.message import BODILESS, Headers, Response, phrase_of
from jobstore.web import wire

_SERVER: Final = ("Server", SERVER_SOFTWARE)


def own(status: int, headers: Headers, body: bytes = b"", *, explicit: bool = False) -> bytes:
    """Write an answer of ours.

    Args:
        status: its status.
        headers: its fields, without those that are the same for all.
        body: its body.
        explicit: whether a 204 says how long it is; see `wire.explicitly_empty`.
    """
    fields = [*headers, *_length(status, body, explicit=explicit), _date(), _SERVER]
    return heads.encoded(f"HTTP/1.1 {status} {phrase_of(status)}", fields) + body


def of(response: web.Response) -> bytes:
    """Write a response that was made for aiohttp, and whose body is here."""
    body = response.body if isinstance(response.body, bytes) else b""
    headers = tuple(response.headers.items())
    return own(response.status, headers, body, explicit=wire.is_explicit(response))


def delivered(response: Response, extra: Headers, *, explicit: bool = False) -> bytes:
    """Write the kept response to another request, as `wire.deliver` sends it.

    Args:
        response: what was kept, with a body in memory.
        extra: headers to add.
        explicit: as in `own`.

    Raises:
        AnswerUnsendable: no HTTP message can have what was kept.
    """
    return _written(response, wire.given_fields(response, extra), explicit=explicit)


def relayed(response: Response) -> bytes:
    """Write the response of a request's target, as `wire.relay` sends it.

    Args:
        response: the target's, with a body in memory.

    Raises:
        AnswerUnsendable: no HTTP message can have it.
    """
    return _written(response, response.headers)


def _written(response: Response, given: Headers, *, explicit: bool = False) -> bytes:
    """Write a target's response with fields that are given, and what has to be added to them."""
    status, body = response.status, response.body
    assert isinstance(body, bytes)
    heads.check(given, response.reason)
    fields, names = [*given], {name.lower() for name, _ in given}
    if "content-length" not in names:
        fields += _length(status, body, explicit=explicit)
    if "date" not in names:
        fields.append(_date())
    reason = phrase_of(status) if response.reason is None else response.reason
    head = heads.encoded(f"HTTP/1.1 {status} {reason}", fields)
    return head if status in BODILESS else head + body


def _length(status: int, body: bytes, *, explicit: bool) -> Headers:
    """Tell how long a body is, where that may be said: RFC 9110 section 8.6."""
    if status in BODILESS:
        return (("Content-Length", "0"),) if explicit and status == 204 else ()  # noqa: PLR2004
    return (("Content-Length", str(len(body))),)


def _date() -> tuple[str, str]:
    return "Date", rfc822_formatted_time()
