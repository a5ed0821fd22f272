"""The interface of what decides who has access."""

from collections.abc import Awaitable
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


class Gate(Protocol):
    """Who has access."""

    @property
    def everybody(self) -> bool:
        """Whether everybody has access at the moment."""

    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Identify the sender of a request, and refuse strangers."""

    @property
    def on_behalf(self) -> Middleware:
        """Let a job send requests on behalf of its owner."""
