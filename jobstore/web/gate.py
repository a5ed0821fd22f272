"""What decides who is let in, whatever it goes by."""

from collections.abc import Awaitable
from typing import Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


class Gate(Protocol):
    """Who is let in."""

    @property
    def everybody(self) -> bool:
        """Whether everybody is let in just now."""

    def middleware(self, request: web.Request, handler: Handler) -> Awaitable[web.StreamResponse]:
        """Find out who sends a request, and turn strangers away."""

    @property
    def on_behalf(self) -> Middleware:
        """What lets a job ask on behalf of its owner."""
