"""Errors for Kinetica's clients, also if no target answers them."""

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from jobstore.dialects.kinetica.encodings import Encoding, encoding_of, media_type
from jobstore.dialects.kinetica.records import RequestInvalid
from jobstore.dialects.kinetica.request import refusal
from jobstore.model.errors import (
    AccountsUnavailable,
    BodyBroken,
    BodyGone,
    BodyTooLarge,
    DeliveryRefused,
    Forbidden,
    JobNotFound,
    JobstoreError,
    NotAccepting,
    NoTarget,
    OwnerLimit,
    ShuttingDown,
    StoreAtLimit,
    StoreAway,
    StoreBusy,
    StoreDamaged,
    StoreFull,
    StoreUnavailable,
    StoreUnsure,
    TagTaken,
    TooDeep,
    TooManyLogins,
    Unauthorized,
)
from jobstore.web import refusals

# How the user agent of Kinetica's own clients begins, if they have one.
_USER_AGENT: Final = "kinetica-api"
_BINARY: Final = frozenset({Encoding.AVRO, Encoding.SNAPPY})

# What is said of an error, which may say it itself; all others are internal ones. Some words would
# make a client look for another cluster, "System shutting down" and "Connection refused" among
# them: no message may have them.
_MESSAGES: Final[Mapping[type[JobstoreError], str]] = {
    RequestInvalid: "{0}",
    ShuttingDown: "no job can be taken in just now: the server is about to stop",
    NotAccepting: "no job can be taken in just now: {0}",
    StoreBusy: "nothing can be written just now: another process is writing; try again",
    StoreAtLimit: "nothing can be written just now: the store is as large as it may get",
    StoreFull: "nothing can be written just now: no room is left",
    StoreUnsure: "{0}",
    StoreDamaged: "nothing can be read just now: the store is damaged",
    StoreAway: "nothing can be written just now: the store's database cannot be reached",
    StoreUnavailable: "nothing can be written just now: the store's disk or file is not there",
    AccountsUnavailable: "{0}",
    BodyBroken: "{0}",
    BodyGone: "{0}",
    BodyTooLarge: "{0}",
    DeliveryRefused: "{0}",
    Forbidden: "{0}",
    JobNotFound: "Job {0.reference} not found",
    NoTarget: "{0}",
    OwnerLimit: "{0}",
    TagTaken: "{0}",
    TooDeep: "{0}",
    TooManyLogins: "{0}",
    Unauthorized: "{0}",
    refusals.Internal: "internal error",
}
_TAGGED: Final = "Job with tag {0.reference} not found"
# Clients take 404 and 5xx to mean that the whole cluster is down, and look for another one.
_STATUSES: Final[Mapping[type[JobstoreError], int]] = {Unauthorized: 401, OwnerLimit: 429}


def refused(request: web.BaseRequest, error: JobstoreError) -> web.Response:
    """Answer a request with an error."""
    return refused_in(_encoding(request), error)


def refused_in(encoding: Encoding, error: JobstoreError) -> web.Response:
    """Answer with an error, if the request's encoding is known."""
    message = refusals.by_kind(_MESSAGES, error)
    if message is None:
        return refused_in(encoding, refusals.unexpected(error))
    if isinstance(error, JobNotFound) and isinstance(error.reference, str):
        message = _TAGGED
    status = refusals.by_kind(_STATUSES, error) or 400
    headers = refusals.retry_after(error) if isinstance(error, OwnerLimit) else ()
    return refusal(encoding, message.format(error), status, headers)


def no_such_endpoint(request: web.BaseRequest) -> web.Response | None:
    """Refuse a call that no target answers; None if the client is not one of Kinetica's."""
    if not _is_client(request):
        return None
    return refusal(_encoding(request), f"unknown endpoint {request.path[:200]}")


def _is_client(request: web.BaseRequest) -> bool:
    """Return whether the client is one of Kinetica's, by its headers."""
    if request.method != "POST":
        return False
    if _USER_AGENT in request.headers.get("User-Agent", "").lower():
        return True
    sent = media_type(request.headers.get("Content-Type"))
    return sent in _BINARY and media_type(request.headers.get("Accept")) == sent


def _encoding(request: web.BaseRequest) -> Encoding:
    """Return the encoding for the answer; JSON for invalid calls."""
    if request.method != "POST":
        return Encoding.JSON
    try:
        return encoding_of(request.headers.get("Content-Type"))
    except RequestInvalid:
        return Encoding.JSON
