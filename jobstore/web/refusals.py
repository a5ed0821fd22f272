"""Refusals in words that no dialect has of its own, and when to try again."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, TypeAlias

from aiohttp import web

from jobstore.model.errors import (
    JobstoreError,
    OwnerLimit,
    TooManyLogins,
    Unauthorized,
)
from jobstore.web import wire

# Writes to the sender of a request that nothing came of it, in the words of what they asked for.
Refuse: TypeAlias = Callable[[web.Request, JobstoreError], web.Response]

_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def retry_after(error: JobstoreError) -> dict[str, str]:
    """Give the header that says when to try again, for what cannot be had just now."""
    if error.status not in _LATER:
        return {}
    return {"Retry-After": str(error.seconds if isinstance(error, OwnerLimit) else 1)}


def shared_refusal(
    status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    """Refuse a request before any dialect has seen it, in words that all of them share.

    The error number is that of ArangoDB's errors.dat for "forbidden".
    """
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    arango = {"error": True, "code": status, "errorNum": 11, "errorMessage": detail}
    return web.json_response({**document, **arango}, status=status, headers=headers)


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in, where no dialect has words for it.

    Credentials are asked for in words that most clients read. The error number is that of
    ArangoDB's errors.dat for "forbidden".
    """
    detail = str(error)
    if not isinstance(error, Unauthorized):
        status = 429 if isinstance(error, TooManyLogins) else 503
        return wire.problem(status, detail, (("Retry-After", "1"),))
    return shared_refusal(401, detail)
