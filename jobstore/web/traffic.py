"""Metrics of requests: which API they were for, how they were answered, and how long they took."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from jobstore.live.meters import RequestMeters, Traffic

TRAFFIC: Final = web.RequestKey("jobstore.traffic", Traffic)


def counting(requests: Mapping[Traffic, RequestMeters]) -> Mapping[str, Any]:
    """Make what a server of aiohttp's is told, to count what goes the long way; nothing is logged.

    The desk counts by itself what it answers.
    """

    class Counting(AbstractAccessLogger):
        """Count a request once it is answered."""

        __slots__ = ()

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            """Count it; what could not even be read counts as what passes through."""
            assert isinstance(request, web.Request)
            meters = requests[request.get(TRAFFIC, Traffic.RELAY)]
            meters.answers.add(response.status // 100)
            meters.seconds.observe(time)

    return {"access_log": logging.getLogger(__name__), "access_log_class": Counting}
