"""All that a request waits for in a database shares one patience, from the moment it arrives.

It is begun here only where the store is a database: with a file, nobody asks for it.
"""

from collections.abc import Awaitable
from typing import cast

from aiohttp import web
from aiohttp.typedefs import Handler

from jobstore.store import waited
from jobstore.web.ask import Ask
from jobstore.web.desk import Desk
from jobstore.web.door import Door


class PatientDoor(Door):
    """The door of a server whose store is a database."""

    def at_once(self, ask: Ask) -> bool:
        """Accept a request as any door does."""
        ask.waits = waited.begin()
        return super().at_once(ask)

    def answer_anything(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request on any port; one from the desk may have waited there."""
        ask = cast("Desk", request.protocol).passed_on
        if ask is None:
            waited.begin()
        else:
            waited.go_on(ask.waits)
        return super().answer_anything(request)


@web.middleware
async def patient(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Begin a request to an application whose jobs are in a database."""
    waited.begin()
    return await handler(request)
