"""Errors as answers: what all dialects share, and answers for clients of no dialect."""

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
    """The path does not allow this method.

    Args:
        methods: the methods that it allows.
    """

    status = 405

    def __init__(self, methods: Sequence[str]) -> None:
        self.allowed = ", ".join(methods)
        super().__init__(f"expected one of the methods {self.allowed}")


def answerable(error: JobstoreError) -> tuple[int, JobstoreError]:
    """Return an error's message and status for a client."""
    if error.status is not None:
        return error.status, error
    return Internal.status, unexpected(error)


def unexpected(error: JobstoreError) -> Internal:
    """Log an internal error, and return the error for the client."""
    log.error("%s", error, extra={"action": "answer"})
    return Internal()


def by_kind(table: Mapping[type[JobstoreError], T], error: JobstoreError) -> T | None:
    """Look up an error by its class, or else by the nearest base class."""
    return next((table[kind] for kind in type(error).__mro__ if kind in table), None)


def fields(error: JobstoreError) -> Headers:
    """Return the header fields of an error's answer."""
    if isinstance(error, MethodNotAllowed):
        return (("Allow", error.allowed),)
    return retry_after(error)


def retry_after(error: JobstoreError) -> Headers:
    """Return the ``Retry-After`` field of an error about something that is unavailable now."""
    if error.status not in _LATER:
        return ()
    return (("Retry-After", str(error.seconds)),) if isinstance(error, OwnerLimit) else SOON


def problem_of(error: JobstoreError) -> web.Response:
    """Answer with an error as a problem document."""
    status, told = answerable(error)
    return wire.problem(status, str(told), fields(told))


def shared_refusal(
    status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    """Refuse a request before any dialect has seen it, in a form that all dialects share.

    The error number is that of ArangoDB's errors.dat for "forbidden".
    """
    arango = {"error": True, "code": status, "errorNum": 11, "errorMessage": detail}
    document = {**wire.problem_document(status, detail), **arango}
    return web.json_response(document, status=status, headers=headers)


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Refuse the sender of a request that belongs to no dialect.

    The answer asks for credentials in a form that most clients understand.
    """
    if isinstance(error, Unauthorized):
        return shared_refusal(HTTPStatus.UNAUTHORIZED, str(error))
    return problem_of(error)
