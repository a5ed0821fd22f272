"""Who sends a request, and by which credentials: checked again after a wait."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.model.account import Identity
from jobstore.model.errors import Forbidden, Unauthorized
from jobstore.model.frozen import frozen
from jobstore.web import fronts, refusals
from jobstore.web.proxies import NO_PROXIES, Proxies

IDENTITY: Final = web.RequestKey("jobstore.identity", Identity)
# Whose word is taken on where a request comes from; without any, the other end counts.
PROXIES: Final = web.RequestKey("jobstore.proxies", Proxies)


@frozen
class Standing:
    """How a sender got access.

    Args:
        again: returns the sender, as their account is now; None if access was revoked.
    """

    again: Callable[[web.Request], Identity | None]


STANDING: Final = web.RequestKey("jobstore.standing", Standing)


class Revoked(web.HTTPUnauthorized):
    """A sender's access was revoked meanwhile; aiohttp sends it as the answer."""

    def __init__(self) -> None:
        answer = refusals.shared_refusal(HTTPStatus.UNAUTHORIZED, str(Unauthorized()))
        super().__init__(text=answer.text, headers=answer.headers)


def confirm(request: web.Request) -> None:
    """Check the sender of a request that has waited again, before sending anything.

    Without `STANDING`, there is nothing to check.

    Raises:
        Revoked: the account or token is gone, or the password has changed.
    """
    standing = request.get(STANDING)
    if standing is None:
        return
    identity = standing.again(request)
    if identity is None:
        raise Revoked
    request[IDENTITY] = identity


def scope_again(request: web.Request) -> int | None:
    """Check the sender of a request again with `confirm`, and return whose jobs they may see."""
    confirm(request)
    return scope(request)


def scope(request: web.Request) -> int | None:
    """Return whose jobs the sender of a request may see, or None for everybody's."""
    return request[IDENTITY].scope


def changing(request: web.Request) -> Identity:
    """Return the sender of a request that changes something.

    Raises:
        Forbidden: they may not change anything.
    """
    identity = request[IDENTITY]
    if not identity.changes:
        raise Forbidden
    return identity


def operator(request: web.Request) -> str:
    """Return the name of the admin who sends a request, for the audit log.

    Raises:
        Forbidden: they are not an admin.
    """
    identity = changing(request)
    if not identity.administers:
        raise Forbidden("only an admin may do this")
    return identity.name or f"somebody at {source(request) or 'this machine'}"


def source(request: web.BaseRequest) -> str | None:
    """Return the address that a request came from, or None if it did not come over a network."""
    proxies: Proxies = request.get(PROXIES, NO_PROXIES)
    return proxies.source(request.remote, request.headers)


def front(request: web.BaseRequest) -> str:
    """Return the origin that the client used, if the request itself does not say it."""
    proxies: Proxies = request.get(PROXIES, NO_PROXIES)
    return fronts.told(proxies, request.remote, request.headers, secure=request.secure)
