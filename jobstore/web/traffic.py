"""Metrics of requests: which API they were for, how they were answered, and how long they took."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from jobstore.live.meters import RequestMeters, Traffic

TRAFFIC: Final = web.RequestKey("jobstore.traffic", Traffic)


def counting(requests: Mapping[Traffic, RequestMeters]) -> Mapping[str, Any]:
    """Return an aiohttp access logger that counts requests on the long way and logs nothing.

    The desk counts its own answers.
    """

    class Counting(AbstractAccessLogger):
        """Count a request once it is answered."""

        __slots__ = ()

        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            """Count a request; one that could not be parsed counts as passing through."""
            assert isinstance(request, web.Request)
            meters = requests[request.get(TRAFFIC, Traffic.RELAY)]
            meters.answers.add(response.status // 100)
            meters.seconds.observe(time)

    return {"access_log": logging.getLogger(__name__), "access_log_class": Counting}
