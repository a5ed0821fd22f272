"""Errors on their way to a client: what all dialects share, and words for those that have none."""

import logging
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, TypeAlias, TypeVar

from aiohttp import web

from jobstore.model.errors import JobstoreError, OwnerLimit, Unauthorized
from jobstore.model.message import Headers
from jobstore.web import wire

# Writes to the sender of a request that nothing came of it, in the words of what they asked for.
Refuse: TypeAlias = Callable[[web.Request, JobstoreError], web.Response]

T = TypeVar("T")

SOON: Final[Headers] = (("Retry-After", "1"),)
_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

log = logging.getLogger(__name__)


class Internal(JobstoreError):
    """An internal error; the log has the details."""

    status = 500

    def __init__(self) -> None:
        super().__init__("internal error; see the server's log")


class MethodNotAllowed(JobstoreError):
    """A path has calls, but none by this method.

    Args:
        methods: those that it has.
    """

    status = 405

    def __init__(self, methods: Sequence[str]) -> None:
        self.allowed = ", ".join(methods)
        super().__init__(f"expected one of the methods {self.allowed}")


def answerable(error: JobstoreError) -> tuple[int, JobstoreError]:
    """Return the message and the status of an error, for a client."""
    if error.status is not None:
        return error.status, error
    return Internal.status, unexpected(error)


def unexpected(error: JobstoreError) -> Internal:
    """Log an internal error, and return what the client is told instead."""
    log.error("%s", error, extra={"action": "answer"})
    return Internal()


def by_kind(table: Mapping[type[JobstoreError], T], error: JobstoreError) -> T | None:
    """Look an error up by its kind, or else by the nearest kind of which that is one."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def fields(error: JobstoreError) -> Headers:
    """Give the fields that an error is answered with."""
    if isinstance(error, MethodNotAllowed):
        return (("Allow", error.allowed),)
    return retry_after(error)


def retry_after(error: JobstoreError) -> Headers:
    """Give the field that says when to try again, for what is not available at the moment."""
    if error.status not in _LATER:
        return ()
    return (("Retry-After", str(error.seconds)),) if isinstance(error, OwnerLimit) else SOON


def problem_of(error: JobstoreError) -> web.Response:
    """Make a problem document of an error."""
    status, told = answerable(error)
    return wire.problem(status, str(told), fields(told))


def shared_refusal(
    status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    """Refuse a request before any dialect has seen it, in words that all of them share.

    The error number is that of ArangoDB's errors.dat for "forbidden".
    """
    arango = {"error": True, "code": status, "errorNum": 11, "errorMessage": detail}
    document = {**wire.problem_document(status, detail), **arango}
    return web.json_response(document, status=status, headers=headers)


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Refuse the sender of a request, if no dialect has words for it.

    Credentials are asked for in words that most clients read.
    """
    if isinstance(error, Unauthorized):
        return shared_refusal(HTTPStatus.UNAUTHORIZED, str(error))
    return problem_of(error)
