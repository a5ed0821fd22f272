"""A separate port for metrics, health checks and the dashboard."""

import re
from collections.abc import Awaitable
from typing import Any, Final

from aiohttp import web

from jobstore.web import intake, wire
from jobstore.web.ask import Ask
from jobstore.web.desk import DeskServer
from jobstore.web.door import Door

# What is answered there, and where there is such a port, only there.
PATHS: Final = re.compile(r"/_jobs/(?:metrics|livez|readyz|ui)(?:[/?]|$)")
_ONLY: Final = "this address serves only health and metrics, such as /_jobs/readyz"


class AdminDoor:
    """Answer metrics and health, and nothing else.

    Args:
        door: answers it.
    """

    def __init__(self, door: Door) -> None:
        self._door = door
        self.requests = door.requests

    def server(self, **options: Any) -> DeskServer:
        """Make the server, with these arguments."""
        return DeskServer(self.answer, request_factory=intake.incoming, door=self, **options)

    def at_once(self, _: Ask) -> bool:
        """Leave everything to the long way: requests are rare here."""
        return False

    def answer(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request."""
        if PATHS.match(intake.path_of(request)):
            return self._door.answer_anything(request)
        return _given(wire.problem(404, _ONLY))


async def _given(response: web.StreamResponse) -> web.StreamResponse:
    return response
