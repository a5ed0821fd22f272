"""An application in process, called over a socket: for other protocols."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from jobstore.http import heads
from jobstore.model.errors import TargetBroken
from jobstore.model.message import (
    OURS,
    HeadLimits,
    Request,
    Response,
    unsendable,
    without_lookalikes,
)
from jobstore.targets.exchange import Exchange
from jobstore.targets.received import response_of
from jobstore.targets.switching import Switched, asked, switch_to


@asynccontextmanager
async def switching(
    server: web.Server, request: Request, protocols: str
) -> AsyncIterator[Response | Switched]:
    """Ask an application to switch to one of some protocols.

    Args:
        server: the application's server.
        request: the request; it has no body.
        protocols: the offered protocols, as the value of ``Upgrade``.

    Raises:
        TargetBroken: it did not answer, or the request cannot be sent.
    """
    head, exchange = _head(request, protocols), await _connected(server)
    try:
        answer = await asked(exchange, request, head, protocols)
        yield answer if isinstance(answer, Switched) else response_of(request.method, *answer)
    finally:
        exchange.close()


async def _connected(server: web.Server) -> Exchange:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    await loop.connect_accepted_socket(server, theirs)
    _, exchange = await loop.create_unix_connection(lambda: Exchange(loop, HeadLimits()), sock=ours)
    return exchange


def _head(request: Request, protocols: str) -> bytes:
    fields = (*without_lookalikes(request.headers, OURS), *switch_to(protocols))
    if unsendable(fields, request.path) or " " in request.path:
        raise TargetBroken("the request cannot be sent over HTTP")
    return heads.encoded(f"{request.method} {request.path} HTTP/1.1", fields)
