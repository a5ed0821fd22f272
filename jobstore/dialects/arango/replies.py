"""Answers as ArangoDB writes them, and its error numbers and messages."""

import json
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
    QueryInvalid,
    QueueFull,
    StoreAtLimit,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    StoreUnsure,
    Unauthorized,
)
from jobstore.model.message import Headers
from jobstore.web import edge, refusals, wire

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json; charset=utf-8"

# Error numbers and messages; the others have their status for a number, and words of their own.
_ERRORS: Final[Mapping[type[JobstoreError], tuple[int, str | None]]] = {
    QueueFull: (21003, "queue is full"),
    NotAccepting: (21003, None),
    StoreFull: (1104, "filesystem full"),
    StoreAtLimit: (1104, "the store is as large as it may get"),
    StoreBusy: (18, "lock timeout"),
    StoreUnavailable: (2, "system error"),
    StoreDamaged: (2, "system error"),
    StoreUnsure: (4, None),
    BodyBroken: (400, "bad parameter"),
    BodyStalled: (408, None),
    QueryInvalid: (400, "bad parameter"),
    JobNotFound: (404, "not found"),
    BeingDelivered: (1200, None),
    Forbidden: (11, "forbidden"),
    Unauthorized: (11, "not authorized to execute this request"),
    AccountsUnavailable: (4, None),
    refusals.MethodNotAllowed: (405, "method not supported"),
    refusals.Internal: (4, "internal error"),
}


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer a request with ArangoDB's error."""
    return refusal(error)


def refusal(error: JobstoreError) -> web.Response:
    """Return ArangoDB's error as an answer."""
    status, error = refusals.answerable(error)
    number, message = refusals.by_kind(_ERRORS, error) or (status, None)
    body = error_body(status, number, message or str(error))
    return json_reply(status, body, refusals.fields(error))


def error_body(status: int, number: int, message: str) -> dict[str, object]:
    """Return the members of an error."""
    return {"error": True, "errorMessage": message, "code": status, "errorNum": number}


def json_reply(status: int, value: object, headers: Headers = ()) -> web.Response:
    """Answer with JSON."""
    return edge.reply(status, JSON, compact(value), headers)


def compact(value: object) -> bytes:
    """Write JSON without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


def empty_reply(status: int, headers: Headers = ()) -> web.Response:
    """Answer without a body."""
    answer = edge.reply(status, TEXT, headers=headers)
    return wire.explicitly_empty(answer) if status == HTTPStatus.NO_CONTENT else answer
