"""Answers as ArangoDB writes them, and its numbers and words for what goes wrong."""

import json
import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.model.errors import (
    AccountsUnavailable,
    BeingDelivered,
    BodyBroken,
    BodyStalled,
    Forbidden,
    JobNotFound,
    JobstoreError,
    NotAccepting,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    StoreUnsure,
    Unauthorized,
)
from jobstore.web import refusals, wire

log = logging.getLogger(__name__)
TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json; charset=utf-8"
# Error numbers and messages; the others have their status for a number, and words of their own.
_ERRORS: Final[Mapping[type[JobstoreError], tuple[int, str | None]]] = {
    NotAccepting: (21003, "queue is full"),
    StoreFull: (1104, "filesystem full"),
    StoreBusy: (18, "lock timeout"),
    StoreUnavailable: (2, "system error"),
    StoreDamaged: (2, "system error"),
    StoreUnsure: (4, None),
    BodyBroken: (400, "bad parameter"),
    BodyStalled: (408, None),
    JobNotFound: (404, "not found"),
    BeingDelivered: (1200, None),
    Forbidden: (11, "forbidden"),
    Unauthorized: (11, "not authorized to execute this request"),
    AccountsUnavailable: (4, None),
}
_NO_HEADERS: Final[Mapping[str, str]] = {}
_INTERNAL: Final = 4


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in."""
    return refusal(error)


def refusal(error: JobstoreError) -> web.Response:
    """Answer with ArangoDB's error for what happened."""
    if error.status is None:
        log.error("%s", error, extra={"action": "answer"})
        return error_reply(500, _INTERNAL, "internal error")
    number, message = next(
        (words for kind in type(error).__mro__ if (words := _ERRORS.get(kind))),
        (error.status, None),
    )
    return error_reply(error.status, number, message or str(error), refusals.retry_after(error))


def error_reply(
    status: int, number: int, message: str, headers: Mapping[str, str] = _NO_HEADERS
) -> web.Response:
    """Answer with an error, by its number."""
    return json_reply(status, error_body(status, number, message), headers)


def error_body(status: int, number: int, message: str) -> dict[str, object]:
    """Give the members that every error has."""
    return {"error": True, "errorMessage": message, "code": status, "errorNum": number}


def json_reply(
    status: int, value: object, headers: Mapping[str, str] = _NO_HEADERS
) -> web.Response:
    """Answer with JSON."""
    return web.Response(
        status=status, body=compact(value), headers={"Content-Type": JSON, **headers}
    )


def compact(value: object) -> bytes:
    """Write JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def empty_reply(status: int, headers: Mapping[str, str] = _NO_HEADERS) -> web.Response:
    """Answer without a body."""
    answer = web.Response(status=status, headers={"Content-Type": TEXT, **headers})
    return wire.explicitly_empty(answer) if status == HTTPStatus.NO_CONTENT else answer
