"""A completely received request and its answer: see `jobstore.web.desk`."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

from aiohttp import EMPTY_PAYLOAD, StreamReader, web
from aiohttp.http import RawRequestMessage
from multidict import CIMultiDictProxy

from jobstore.http import private
from jobstore.live.meters import Traffic
from jobstore.model.account import Identity
from jobstore.web import answers, fronts, wire
from jobstore.web.proxies import Proxies

_END: Final = b"\r\n\r\n"
# Where the status stands in an answer: behind "HTTP/1.1 ".
_STATUS_AT: Final = 9
_ZERO: Final = ord("0")
_BROKEN: Final = "the server failed; see its log"

# Answers a request that was handed on.
Finishing: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


class Sender(Protocol):
    """The connection of a request."""

    @property
    def remote(self) -> str | None:
        """The address of the client."""

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""

    @property
    def gone(self) -> bool:
        """Whether the client is gone."""

    @property
    def flushed(self) -> bool:
        """Whether the client's system has received everything, as far as known."""

    def send(self, data: bytes) -> bool:
        """Send bytes; return whether the client was still there."""

    def finish(self, ask: "Ask") -> None:
        """Note that a request was answered, and continue with the next one."""

    def when_flushed(self, ask: "Ask", done: Callable[[Exception | None], None]) -> None:
        """Finish, and call back once everything sent has arrived or can no longer arrive."""

    def pass_on(
        self,
        ask: "Ask",
        message: RawRequestMessage,
        payload: StreamReader,
        then: "Finishing | None" = None,
    ) -> None:
        """Pass a request on to the long way, with what has to be done there."""


class Ask:
    """A request at the desk.

    Args:
        desk: its connection.
        message: its head.
        payload: its complete body.

    Attributes:
        size: the length of its body in bytes.
        identity: its sender, once known.
        proxies: the trusted proxies, once known.
        since: when its last byte came, by the loop's clock.
        traffic: what it is for, once known.
        digit: the first digit of its answer's status; 0 before the answer.
    """

    __slots__ = (
        "_desk",
        "_leaving",
        "_message",
        "_payload",
        "digit",
        "headers",
        "identity",
        "method",
        "path",
        "proxies",
        "since",
        "size",
        "traffic",
    )

    identity: Identity
    proxies: Proxies

    def __init__(
        self,
        desk: Sender,
        message: RawRequestMessage,
        payload: StreamReader,
        since: float = 0.0,
    ) -> None:
        self.since = since
        self.traffic = Traffic.RELAY
        self.digit = 0
        self._desk = desk
        self._message = message
        self._payload = payload
        self._leaving: Callable[[], None] | None = None
        self.method: str = message.method
        self.path: str = message.path
        self.headers: CIMultiDictProxy[str] = message.headers
        self.size: int = 0 if payload is EMPTY_PAYLOAD else payload.total_bytes

    def body(self) -> bytes:
        """The body; it can still be read if the request is passed on."""
        if self._payload is EMPTY_PAYLOAD:
            return b""
        return private.unread(self._payload)

    @property
    def source(self) -> str | None:
        """The address that it came from, or None if it did not come over a network."""
        return self.proxies.source(self._desk.remote, self.headers)

    @property
    def front(self) -> str:
        """The origin that the client used, if the request itself does not say it."""
        desk = self._desk
        return fronts.told(self.proxies, desk.remote, self.headers, secure=desk.secure)

    @property
    def gone(self) -> bool:
        """Whether the client is gone."""
        return self._desk.gone

    def fail(self, error: BaseException) -> None:
        """Answer with an internal error, and log it."""
        log.error("a request could not be answered", exc_info=error, extra={"action": "answer"})
        self.answer(answers.of(wire.problem(500, _BROKEN)))

    def answer(self, data: bytes) -> None:
        """Answer with a complete message."""
        self.digit = data[_STATUS_AT] - _ZERO
        self._desk.send(self._cut(data))
        self._desk.finish(self)

    def hand_over(self, data: bytes, done: Callable[[Exception | None], None]) -> None:
        """Answer, and report whether everything was handed over to the client's system.

        Args:
            data: a complete message.
            done: called with the error, or None.
        """
        desk = self._desk
        self.digit = data[_STATUS_AT] - _ZERO
        if not desk.send(self._cut(data)):
            desk.finish(self)
            done(ConnectionResetError("the client has closed the connection"))
        elif desk.flushed:
            desk.finish(self)
            done(None)
        else:
            desk.when_flushed(self, done)

    def _cut(self, data: bytes) -> bytes:
        """Leave out the body where none is allowed: RFC 9110 section 9.3.2."""
        return data[: data.index(_END) + len(_END)] if self.method == "HEAD" else data

    def pass_on(self, then: Finishing | None = None) -> None:
        """Pass it on to the long way after all.

        Args:
            then: what has to be done there; None if nothing has been done yet.
        """
        self._desk.pass_on(self, self._message, self._payload, then)

    def drop(self) -> None:
        """Leave it without an answer: its client is gone."""
        self._desk.finish(self)

    def when_leaving(self, call: Callable[[], None] | None) -> None:
        """Call a function if its client closes its side or goes away before the answer; or none."""
        self._leaving = call

    def left(self) -> None:
        """Note that its client has closed its side, or has gone away."""
        if self._leaving is not None:
            self._leaving()
