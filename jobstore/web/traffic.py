"""What is counted of requests: what they were for, how they were answered, and how long it took."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from jobstore.live.meters import Meters, Traffic

TRAFFIC: Final = web.RequestKey("jobstore.traffic", Traffic)


def counting(meters: Meters) -> Mapping[str, Any]:
    """Make what a server of aiohttp's is told, to count what goes the long way; nothing is logged.

    The desk counts by itself what it answers.
    """

    class Counting(AbstractAccessLogger):
        """Count a request once it is answered."""

        __slots__ = ()

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            """Count it; what could not even be read counts as what passes through."""
            assert isinstance(request, web.Request)
            traffic = request.get(TRAFFIC, Traffic.RELAY)
            meters.answered(traffic, response.status // 100, time)

    return {"access_log": logging.getLogger(__name__), "access_log_class": Counting}
