"""Another HTTP service as a target."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Final, Self

from aiohttp import BasicAuth, ClientError, ServerDisconnectedError, StreamReader, hdrs
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError

from jobstore.http import heads
from jobstore.model.errors import TargetBroken, TargetUnreachable
from jobstore.model.handle import JobHandle
from jobstore.model.message import (
    JOB_ID,
    OURS,
    TOKEN,
    Headers,
    HeadLimits,
    Request,
    Response,
    body_size,
    chunks,
    end_to_end,
    framed,
    unsendable,
    without,
    without_lookalikes,
)
from jobstore.model.retry import IDEMPOTENT
from jobstore.targets import PromptSending
from jobstore.targets.connections import Connections, ServiceAddress
from jobstore.targets.exchange import Exchange
from jobstore.targets.forwarding import FORWARDING, forwarded
from jobstore.targets.mount import Front, Mount, front_of
from jobstore.targets.received import failure_of, response_of
from jobstore.targets.switching import Switched, asked, switch_to

# What a server may take for one of these is not sent on either: it is said anew.
_NOT_SENT_ON: Final = frozenset({"host", *FORWARDING, *OURS})

# Methods whose requests have no body unless they say so: RFC 9110 section 8.6.
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "CONNECT"})
_UNSENDABLE: Final = "the request cannot be sent over HTTP"

_LIMITS: Final = HeadLimits()
_FAILURES: Final = (ClientError, HttpProcessingError, OSError)


class Upstream:
    """A target that is an HTTP service.

    Args:
        place: its address.
        connections: the connections to it.
        prefix: the prefix to remove from each path; "" for none.
        preserve_host: whether it gets the client's ``Host`` instead of its own name.
    """

    def __init__(
        self,
        place: ServiceAddress,
        connections: Connections,
        prefix: str = "",
        *,
        preserve_host: bool,
    ) -> None:
        base, self.connections = place.url, connections
        self._mount = Mount(
            prefix=prefix, base=base.raw_path.rstrip("/"), origin=str(base.origin())
        )
        self._host = base.host_port_subcomponent or ""
        self._preserve_host = preserve_host
        self._login = BasicAuth.from_url(base)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        base: str,
        *,
        prefix: str = "",
        preserve_host: bool = False,
        connect: float = 10.0,
        limits: HeadLimits = _LIMITS,
    ) -> AsyncIterator[Self]:
        """Open the target while the context lasts.

        Args:
            base: the service's URL, to which the path of each request is appended, or ``unix:``
                and the path of its socket file.
            prefix: as for the class.
            preserve_host: as for the class.
            connect: how long connecting may take, in seconds.
            limits: the limits for the head of an answer.
        """
        place = ServiceAddress.of(base)
        connections = Connections(place, limits, connect)
        try:
            yield cls(place, connections, prefix, preserve_host=preserve_host)
        finally:
            connections.close()

    def send(self, request: Request, handle: JobHandle) -> PromptSending:
        """Send a request and yield its response; leaving early closes the connection.

        Args:
            request: what to send.
            handle: the job that the request is for; its id and attempt are sent along.

        Raises:
            TargetUnreachable: no connection could be made.
            TargetBroken: the answer is invalid or breaks off, on entry or while the body is read.
        """
        return _Sending(self, request, handle)

    @asynccontextmanager
    async def switching(
        self, request: Request, handle: JobHandle, protocols: str
    ) -> AsyncIterator[Response | Switched]:
        """Send a request that offers other protocols; yield its answer, or `Switched`.

        Args:
            request: what to send, with end-to-end headers only.
            handle: knows where it comes from.
            protocols: the offered protocols, as the value of ``Upgrade``.

        Raises:
            TargetUnreachable: no connection could be made.
            TargetBroken: the answer is invalid or breaks off, on entry or while the body is read.
        """
        head = self.head(request, handle, switch_to(protocols))
        exchange = await self.connections.made()
        try:
            answer = await asked(exchange, request, head, protocols)
            if isinstance(answer, Switched):
                yield answer
            else:
                yield self.received(request, *answer)
        finally:
            self.connections.drop(exchange)

    def received(
        self, request: Request, message: RawResponseMessage, payload: StreamReader
    ) -> Response:
        """Return an answer with its locations rewritten for the client.

        Raises:
            TargetBroken: it cannot be passed on.
        """
        response = response_of(request.method, message, payload)
        if hdrs.LOCATION in message.headers or hdrs.CONTENT_LOCATION in message.headers:
            headers = self._mount.places(response.headers, request)
            return replace(response, headers=headers)
        return response

    async def reach(self) -> None:
        """Make a connection and send nothing; the next request may use it.

        Raises:
            TargetUnreachable: none could be made.
        """
        self.connections.release(await self.connections.made())

    def head(self, request: Request, handle: JobHandle, extra: Headers = ()) -> bytes:
        """Return the head of a request as bytes.

        Args:
            request: the request.
            handle: the job that it is for, and where it comes from.
            extra: further fields.

        Raises:
            TargetBroken: it is not a valid HTTP head.
        """
        path, front = self._mount.path(request.path), front_of(request)
        named = front.named if self._preserve_host else None
        fields = (
            ("Host", named or self._host),
            *outgoing(request, handle, front),
            *self._mount.told,
            *_framing(request),
            *extra,
        )
        if self._login is not None:
            fields = (*without(fields, ("authorization",)), ("Authorization", self._login.encode()))
        # All that the fields have from elsewhere comes from here.
        given = f"{path}{handle.source or ''}"
        if unsendable(request.headers, given) or " " in path or not TOKEN.fullmatch(request.method):
            raise TargetBroken(_UNSENDABLE)
        try:
            return heads.encoded(f"{request.method} {path} HTTP/1.1", fields)
        except ValueError as error:  # a text that is that of no bytes
            raise TargetBroken(_UNSENDABLE) from error


class _Sending(PromptSending):
    """One request and its response, while the context lasts."""

    __slots__ = ("_exchange", "_handle", "_head", "_request", "_response", "_upload", "_upstream")

    def __init__(self, upstream: Upstream, request: Request, handle: JobHandle) -> None:
        self._upstream = upstream
        self._request = request
        self._handle = handle
        self._head = b""
        self._exchange: Exchange | None = None
        self._upload: _Upload | None = None
        self._response: Response | None = None

    def begin(self, told: Callable[[], None]) -> bool:
        """Send the request if a connection is idle; return whether it was sent."""
        try:
            return self._begun(told) is not None
        except TargetBroken:  # raised again on entry
            return False

    def _begun(self, told: Callable[[], None] | None = None) -> Exchange | None:
        """Send the request over an idle connection; None if there is none.

        Raises:
            TargetBroken: it is not a valid HTTP head.
        """
        self._head = self._upstream.head(self._request, self._handle)
        reused = self._upstream.connections.reused()
        if reused is not None:
            self._send(reused, told)
        return reused

    def _send(self, exchange: Exchange, told: Callable[[], None] | None = None) -> None:
        self._exchange, request = exchange, self._request
        if isinstance(request.body, bytes):
            exchange.ask(request.method, self._head + request.body, told)
        else:
            exchange.ask(request.method, self._head, told)
            self._upload = _Upload(exchange, request)

    async def __aenter__(self) -> Response:
        reused = self._begun() if self._exchange is None else self._exchange
        if reused is None:
            self._handle.connecting = True
            made = await self._upstream.connections.made()
            self._handle.connecting = False
            return await self._sent(made)
        with suppress(_Stale):
            return await self._answered(reused)
        try:
            made = await self._upstream.connections.made()
        except TargetUnreachable as error:
            raise TargetUnreachable(str(error), sent=True) from error
        return await self._sent(made)

    async def _sent(self, made: Exchange) -> Response:
        """Send the request over a new connection, and wait for the head of its answer."""
        self._send(made)
        return await self._answered(made, new=True)

    async def _answered(self, exchange: Exchange, *, new: bool = False) -> Response:
        """Wait for the head of the answer.

        Raises:
            _Stale: the connection was closed meanwhile, and the request may be sent again: there
                was no answer, and it does no harm if the service has received the request.
        """
        try:
            await exchange.answered()
            return self._received(exchange)
        except _FAILURES as error:
            self.drop()
            if not new and self._may_repeat(error):
                raise _Stale from error
            raise self._failure(error) from error
        except BaseException:
            self.drop()
            raise

    def whole(self) -> Response | None:
        """Return the response if all of it is there."""
        assert self._exchange is not None
        try:
            response = self._received(self._exchange)
        except (*_FAILURES, TargetBroken):  # raised again on entry
            return None
        return response if isinstance(response.body, bytes) else None

    def _received(self, exchange: Exchange) -> Response:
        if self._response is None:
            self._response = self._upstream.received(self._request, *exchange.answer())
        return self._response

    def _may_repeat(self, error: Exception) -> bool:
        return (
            isinstance(error, ServerDisconnectedError | OSError)
            and self._upload is None
            and self._request.method in IDEMPOTENT
            and not self._handle.unrepeatable
        )

    def _failure(self, error: Exception) -> Exception:
        """Return the failure; its cause may be that the request's own body broke off."""
        return (self._upload and self._upload.error) or failure_of(error)

    async def __aexit__(self, *_: object) -> None:
        self.finish()

    def finish(self) -> None:
        """End the exchange; its connection is used again if nothing is left on it."""
        assert self._exchange is not None
        if self._upload is not None and not self._upload.task.done():
            self.drop()  # it has answered before it had all of the request
        else:
            self._upstream.connections.release(self._exchange)

    def drop(self) -> None:
        """Break off the exchange."""
        assert self._exchange is not None
        self._exchange.forget()
        self._upstream.connections.drop(self._exchange)
        if self._upload is not None:
            self._upload.task.cancel()


class _Stale(Exception):
    """A connection was reused just as the service closed it."""


class _Upload:
    """A body that streams to the service, whose answer may come meanwhile.

    Attributes:
        error: why the body could not be read to its end.
        task: sends it.
    """

    def __init__(self, exchange: Exchange, request: Request) -> None:
        self.error: Exception | None = None
        self._exchange = exchange
        self._request = request
        self.task = asyncio.create_task(self._send())

    async def _send(self) -> None:
        exchange, body = self._exchange, self._request.body
        chunked = body_size(body) is None
        with suppress(ClientError, ConnectionError):  # whoever waits for the answer is told
            async for chunk in self._noting(chunks(body)):
                exchange.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                await exchange.drained()
            if self.error is not None:
                exchange.break_off()
            elif chunked:
                exchange.write(b"0\r\n\r\n")

    async def _noting(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        try:
            async for chunk in body:
                yield chunk
        except Exception as error:  # noqa: BLE001 - raised where the answer is waited for
            self.error = error


def _framing(request: Request) -> Headers:
    """Return the framing headers of a request's body, if its own headers have none."""
    if request.body and isinstance(request.body, bytes):  # `framed` has said how long it is
        return ()
    size = body_size(request.body)
    if size is None:
        return (("Transfer-Encoding", "chunked"),)
    return () if size or request.method in _WITHOUT_BODY else (("Content-Length", "0"),)


def outgoing(request: Request, handle: JobHandle, front: Front) -> Headers:
    """Return the headers of a request for the next hop.

    ``Via`` says who passed the request on (RFC 9110 section 7.6.3); it is a list, so a further
    line appends to an existing one. The client's address and the name it used are in the headers of
    RFC 7239 and in those that most services read; the client's own versions of them are left out.
    Clients cannot set the headers about the job.
    """
    headers = framed(end_to_end(request.headers), request.body)
    headers = without_lookalikes(headers, _NOT_SENT_ON)
    job = () if handle.id is None else _job(handle.id, handle.attempt)
    return (*headers, ("Via", "1.1 jobstore"), *forwarded(handle.source, front), *job)


def _job(job_id: int, attempt: int) -> Headers:
    return ((JOB_ID, str(job_id)), ("Jobstore-Attempt", str(attempt)))
