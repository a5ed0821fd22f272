"""Connections to a service that are used again only while nothing is left on them."""

import asyncio
from functools import partial
from typing import Any

from aiohttp import ClientRequest, ClientTimeout, TCPConnector
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from jobstore.model.message import HeadLimits
from jobstore.targets.exchange import Exchange


class QuietConnector(TCPConnector):
    """Reuse a connection only if it is quiet.

    What a service says without having been asked is the answer to no request, and would pass for
    that to the next one: RFC 9112 section 9.2. aiohttp looks only at whether a connection is open.

    Args:
        limits: how much the head of an answer may be.
        options: what aiohttp's connector takes.
    """

    def __init__(self, limits: HeadLimits, **options: Any) -> None:
        super().__init__(**options)
        # What aiohttp makes each of its connections with; it keeps that for itself.
        self._factory = partial(Exchange, asyncio.get_running_loop(), limits)  # type: ignore[assignment]

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - aiohttp's signature
    ) -> Connection:
        """Get a connection for a request, a new one unless an old one is quiet."""
        while True:
            connection = await super().connect(req, traces, timeout)
            if connection.protocol is None or not connection.protocol.should_close:
                return connection
            connection.close()
