"""Authentication inside another application, which identifies the senders of requests."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.model.account import Identity, Role
from jobstore.model.errors import Unauthorized
from jobstore.targets.inprocess import current
from jobstore.web import refusals, standing

Identify: TypeAlias = Callable[[web.Request], Awaitable[Identity | None] | Identity | None]


class Identifying:
    """Admit those whom the application identifies; the store's accounts are not used.

    Args:
        identify: returns the sender of a request, or None if they may not use jobs. Without a
            role, they are a user, who sees and changes their own jobs.
    """

    everybody = False

    def __init__(self, identify: Identify) -> None:
        self._identify = identify
        self._standing = standing.Standing(self._again)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Identify the sender of a request, and refuse strangers."""
        found = self._identify(request)
        identity = await found if inspect.isawaitable(found) else found
        if identity is None:
            # Not Basic: a browser would ask for a password that the application does not have.
            return refusals.shared_refusal(401, str(Unauthorized()), {"WWW-Authenticate": "Bearer"})
        if not isinstance(identity, Identity) or not identity.name:
            raise TypeError("identify: expected a jobstore.Identity with a name, or None")
        if found is identity:  # and not what had to be awaited, as it would have to be again
            request[standing.STANDING] = self._standing
        return await self._admitted(request, handler, identity)

    @web.middleware
    async def on_behalf(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let a job send requests on behalf of its owner; only their name is known."""
        return await self._admitted(request, handler, Identity(name=current(request).owner))

    async def _admitted(
        self, request: web.Request, handler: Handler, identity: Identity
    ) -> web.StreamResponse:
        request[standing.IDENTITY] = _with_role(identity)
        return await handler(request)

    def _again(self, request: web.Request) -> Identity | None:
        """Ask the application again who sends a request that has waited."""
        found = self._identify(request)
        return _with_role(found) if isinstance(found, Identity) else None


def _with_role(identity: Identity) -> Identity:
    return replace(identity, role=identity.role or Role.USER)
