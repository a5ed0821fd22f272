"""Other protocols than HTTP: a target is asked to switch to one on its connection.

RFC 9110 section 7.8 and, for WebSockets, RFC 6455.
"""

from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Protocol, TypeAlias, runtime_checkable

from aiohttp import ClientError, StreamReader
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from jobstore.http.tunnel import TunnelSide
from jobstore.model.errors import TargetBroken
from jobstore.model.frozen import frozen
from jobstore.model.handle import JobHandle
from jobstore.model.message import (
    Headers,
    Request,
    Response,
    end_to_end,
    header,
    own_phrase,
    unsendable,
)
from jobstore.targets.exchange import Exchange
from jobstore.targets.received import failure_of


@frozen
class Switched:
    """A target has switched to another protocol.

    Args:
        reason: the reason phrase of its answer, or None for the standard one.
        headers: the headers of its answer, which name the protocol.
        connection: the connection to it.
    """

    reason: str | None
    headers: Headers
    connection: TunnelSide

    @property
    def is_websocket(self) -> bool:
        """Whether the protocol is WebSocket."""
        return (header(self.headers, "upgrade") or "").lower() == "websocket"


Offered: TypeAlias = AbstractAsyncContextManager[Response | Switched]


@runtime_checkable
class SwitchingTarget(Protocol):
    """A target that may switch to other protocols."""

    def switching(self, request: Request, handle: JobHandle, protocols: str) -> Offered:
        """Send a request that offers other protocols; yield its answer, or `Switched`.

        Args:
            request: what to send, with end-to-end headers only and no body.
            handle: knows where it comes from.
            protocols: the offered protocols, as the value of ``Upgrade``.

        Raises:
            TargetFailed: on entry, or while the body of an answer is read.
        """


def switch_to(protocols: str) -> Headers:
    """Return the header fields that offer or choose other protocols."""
    return (("Connection", "Upgrade"), ("Upgrade", protocols))


async def asked(
    exchange: Exchange, request: Request, head: bytes, protocols: str
) -> Switched | tuple[RawResponseMessage, StreamReader]:
    """Send a head with an offer over a new connection, and wait for the answer.

    Raises:
        TargetBroken: there is no answer, or it does not fit the offer.
    """
    exchange.ask(request.method, head)
    try:
        message, payload = await exchange.answered()
    except (ClientError, HttpProcessingError, OSError) as error:
        raise failure_of(error) from error
    if message.code != HTTPStatus.SWITCHING_PROTOCOLS:
        return message, payload
    return _switched(message, exchange, protocols)


def _switched(message: RawResponseMessage, exchange: Exchange, protocols: str) -> Switched:
    received = tuple(message.headers.items())
    chosen = ", ".join(message.headers.getall("Upgrade", ()))
    if not chosen or not _names(chosen) <= _names(protocols):
        raise TargetBroken("the target switched to a protocol that was not requested")
    if problem := unsendable(received, message.reason):
        raise TargetBroken(f"the head of the target's response {problem}")
    headers = (*end_to_end(received), *switch_to(chosen))
    return Switched(own_phrase(message.code, message.reason), headers, exchange)


def _names(protocols: str) -> set[str]:
    return {each.strip().lower() for each in protocols.split(",")}
