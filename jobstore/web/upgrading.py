"""Requests for another protocol, such as WebSockets: the request is passed on, then the connection.

Protocols that carry HTTP requests past the access checks are never passed on: HTTP/2
without TLS (h2c), and TLS. Such an offer is left out, as RFC 9110 section 7.8 allows.
"""

import re
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.http import HttpVersion11
from multidict import MultiMapping

from jobstore.http import frames, heads, private, tunnel
from jobstore.model.handle import JobHandle
from jobstore.model.message import Request, Response, phrase_of
from jobstore.targets.switching import Switched, SwitchingTarget
from jobstore.web import standing, wire
from jobstore.web.switchable import SwitchableConnection

_OF_HTTP: Final = frozenset({"h2", "h2c", "http", "https", "tls"})
_PROTOCOL: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:/[!#$%&'*+.^_`|~0-9A-Za-z-]+)?")


def protocols(headers: MultiMapping[str]) -> str:
    """Return the offered protocols that may be passed on, as the value of ``Upgrade``."""
    options = {
        option.strip().lower()
        for field in headers.getall("Connection", ())
        for option in field.split(",")
    }
    if "upgrade" not in options:
        return ""
    named = [each.strip() for field in headers.getall("Upgrade", ()) for each in field.split(",")]
    return ", ".join(each for each in named if _may_pass(each))


def _may_pass(protocol: str) -> bool:
    match = _PROTOCOL.fullmatch(protocol)
    return match is not None and match[1].lower() not in _OF_HTTP


def switches(headers: MultiMapping[str]) -> bool:
    """Return whether a request lasts as long as its connection, and so cannot become a job."""
    if "Upgrade" not in headers:
        return False
    return "websocket" in headers["Upgrade"].lower() or bool(protocols(headers))


def offered(request: web.BaseRequest) -> str:
    """Return the protocols of a request that can be passed on; "" to answer it as usual.

    With a body, or data behind the request, it is unclear where the other protocol would begin.
    """
    headers, connection = request.headers, request.protocol
    if "Upgrade" not in headers or request.version < HttpVersion11 or request.body_exists:
        return ""
    switchable = isinstance(connection, SwitchableConnection) and connection.may_switch
    return protocols(headers) if switchable else ""


async def relay(
    request: web.Request, target: SwitchingTarget, incoming: Request, handle: JobHandle, offer: str
) -> web.StreamResponse:
    """Ask a target to switch to another protocol; join the connections if it does.

    Args:
        request: the request.
        target: its target.
        incoming: the request as it is passed on.
        handle: knows where it comes from.
        offer: the offered protocols.

    Raises:
        ConnectionError: the connection broke before the two were joined.
        Revoked: its sender's access was revoked.
        TargetFailed: the target gave no answer.
    """
    async with target.switching(incoming, handle, offer) as answer:
        standing.confirm(request)
        if isinstance(answer, Response):
            return await wire.relay(request, answer)
        return await _join(request, answer)


async def _join(request: web.Request, answer: Switched) -> web.StreamResponse:
    connection = request.protocol
    assert isinstance(connection, SwitchableConnection)
    status = HTTPStatus.SWITCHING_PROTOCOLS
    reason = phrase_of(status) if answer.reason is None else answer.reason
    head = heads.encoded(f"HTTP/1.1 {status:d} {reason}", answer.headers)
    request.writer.output_size = len(head)  # it is no use any more to ask the client to go on
    make = frames.websocket_sides if answer.is_websocket else tunnel.plain_sides
    await tunnel.join(connection, answer.connection, head, make)
    response = web.StreamResponse(status=status)
    response.force_close()
    private.mark_sent(response)
    return response
