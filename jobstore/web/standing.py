"""Who sends a request, and why they were accepted: checked again after a wait."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.model.account import Identity
from jobstore.model.errors import (
    Forbidden,
    Unauthorized,
)
from jobstore.web import fronts, refusals
from jobstore.web.proxies import NO_PROXIES, Proxies

IDENTITY: Final = web.RequestKey("jobstore.identity", Identity)
# Whose word is taken on where a request comes from; without any, the other end counts.
PROXIES: Final = web.RequestKey("jobstore.proxies", Proxies)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sender got access.

    Args:
        again: returns the sender of a request, as their account is now; None if their access was
            revoked.
    """

    again: Callable[[web.Request], Identity | None]


STANDING: Final = web.RequestKey("jobstore.standing", Standing)


class Revoked(web.HTTPUnauthorized):
    """The access of a sender was revoked meanwhile; aiohttp answers with it."""

    def __init__(self) -> None:
        answer = refusals.shared_refusal(HTTPStatus.UNAUTHORIZED, str(Unauthorized()))
        super().__init__(text=answer.text, headers=answer.headers)


def confirm(request: web.Request) -> None:
    """Check the sender of a request that has waited again, before sending anything.

    Where no `STANDING` says how they got access, there is nothing to look at.

    Raises:
        Revoked: their account is gone, or their token, or it has another password.
    """
    standing = request.get(STANDING)
    if standing is None:
        return
    identity = standing.again(request)
    if identity is None:
        raise Revoked
    request[IDENTITY] = identity


def scope_again(request: web.Request) -> int | None:
    """Check the sender of a request again, and return whose jobs they may see; see `confirm`."""
    confirm(request)
    return scope(request)


def scope(request: web.Request) -> int | None:
    """Return whose jobs the sender of a request may see, or None for everybody's."""
    return request[IDENTITY].scope


def changing(request: web.Request) -> Identity:
    """Return who sends a request that changes something.

    Raises:
        Forbidden: they may not.
    """
    identity = request[IDENTITY]
    if not identity.changes:
        raise Forbidden
    return identity


def source(request: web.BaseRequest) -> str | None:
    """Return the address that a request came from, or None if it came over no network."""
    proxies: Proxies = request.get(PROXIES, NO_PROXIES)
    return proxies.source(request.remote, request.headers)


def front(request: web.BaseRequest) -> str:
    """Return the origin by which a request was asked for, where it does not say so itself."""
    proxies: Proxies = request.get(PROXIES, NO_PROXIES)
    return fronts.told(proxies, request.remote, request.headers, secure=request.secure)
