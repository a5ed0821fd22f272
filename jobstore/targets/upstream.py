"""Another HTTP service as a target."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Self

from aiohttp import (
    BasicAuth,
    ClientError,
    ClientPayloadError,
    ServerDisconnectedError,
    StreamReader,
)
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from jobstore.http import heads
from jobstore.model.errors import TargetBroken, TargetFailed
from jobstore.model.handle import JobHandle
from jobstore.model.message import (
    FINAL,
    JOB_ID,
    OURS,
    TOKEN,
    Body,
    Headers,
    HeadLimits,
    Request,
    Response,
    bodiless,
    body_size,
    chunks,
    end_to_end,
    framed,
    header,
    own_phrase,
    unsendable,
    without,
    without_lookalikes,
)
from jobstore.model.retry import IDEMPOTENT
from jobstore.targets.connections import Connections
from jobstore.targets.exchange import Exchange, HeadTooLargeError

# What a server may take for one of these is not sent on either.
_NOT_SENT_ON: Final = ("host", *OURS)

# What is undone where a body is read; "identity" is of RFC 2616 and changes nothing.
_UNDONE: Final[tuple[list[str], ...]] = ([], ["chunked"], ["identity"])

# Methods whose requests have no body unless they say so: RFC 9110 section 8.6.
_WITHOUT_BODY: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "DELETE", "CONNECT"})
_UNSENDABLE: Final = "the request cannot be sent over HTTP"

_LIMITS: Final = HeadLimits()

# What went wrong, by the first class that fits.
_BROKEN: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ServerDisconnectedError, "the target closed the connection without a complete answer"),
    (HttpProcessingError, "the target's answer is not valid HTTP"),
    (ClientPayloadError, "the target's answer broke off before its end"),
    (ClientError, "the connection to the target broke"),
    (OSError, "the connection to the target broke"),
)


class Upstream:
    """A target that is an HTTP service.

    Args:
        base: the service's URL, to which the path of each request is appended.
        connections: the connections to it.
    """

    def __init__(self, base: URL, connections: Connections) -> None:
        self.connections = connections
        self._prefix = base.raw_path.rstrip("/")
        self._host = ("Host", base.host_port_subcomponent or "")
        self._login = BasicAuth.from_url(base)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, base: str, *, connect: float = 10.0, limits: HeadLimits = _LIMITS
    ) -> AsyncIterator[Self]:
        """Open a target that neither adds anything nor hides anything.

        Args:
            base: the service's URL.
            connect: how long a connection may take to be made, in seconds.
            limits: how much the head of an answer may be.
        """
        url = URL(base, encoded=True)
        connections = Connections(url, limits, connect)
        try:
            yield cls(url, connections)
        finally:
            connections.close()

    def send(self, request: Request, handle: JobHandle) -> AbstractAsyncContextManager[Response]:
        """Send a request and give its response; leaving early closes the connection.

        Args:
            request: what to send.
            handle: the job that the request is for; its id and attempt are sent along.

        Raises:
            TargetUnreachable: if no connection could be made.
            TargetBroken: on entry or while the body is read, if the answer is none or breaks off.
        """
        return _Sending(self, request, handle)

    def head(self, request: Request, handle: JobHandle) -> bytes:
        """Write the head of a request.

        Raises:
            TargetBroken: no HTTP message can have it.
        """
        # Without a slash in between, a path such as "@example.com" would lead to another host.
        slash = "" if request.path.startswith("/") else "/"
        path = f"{self._prefix}{slash}{request.path.partition('#')[0]}"
        fields = (self._host, *outgoing(request, handle), *_framing(request))
        if self._login is not None:
            fields = (*without(fields, ("authorization",)), ("Authorization", self._login.encode()))
        if unsendable(fields, path) or " " in path or not TOKEN.fullmatch(request.method):
            raise TargetBroken(_UNSENDABLE)
        try:
            return heads.encoded(f"{request.method} {path} HTTP/1.1", fields)
        except ValueError as error:  # a text that is that of no bytes
            raise TargetBroken(_UNSENDABLE) from error


class _Sending:
    """One request and its response, while the context lasts."""

    __slots__ = ("_exchange", "_handle", "_request", "_upload", "_upstream")

    def __init__(self, upstream: Upstream, request: Request, handle: JobHandle) -> None:
        self._upstream = upstream
        self._request = request
        self._handle = handle
        self._exchange: Exchange
        self._upload: _Upload | None = None

    async def __aenter__(self) -> Response:
        request, connections = self._request, self._upstream.connections
        head = self._upstream.head(request, self._handle)
        reused = connections.reused()
        if reused is not None:
            with suppress(_Stale):
                return await self._sent(reused, head)
        return await self._sent(await connections.made(), head, new=True)

    async def _sent(self, exchange: Exchange, head: bytes, *, new: bool = False) -> Response:
        """Send the request over a connection, and take the head of its answer.

        Raises:
            _Stale: the connection was closed meanwhile, and the request may be sent again: nothing
                was answered, and that its service may have had it does no harm.
        """
        request, self._exchange = self._request, exchange
        exchange.expect(request.method)
        try:
            if isinstance(request.body, bytes):
                exchange.write(head + request.body)
            else:
                exchange.write(head)
                self._upload = _Upload(exchange, request)
            return _response(request.method, *await exchange.answered())
        except (ClientError, HttpProcessingError, OSError) as error:
            self._drop()
            if not new and self._may_repeat(error):
                raise _Stale from error
            raise self._failure(error) from error
        except BaseException:
            self._drop()
            raise

    def _may_repeat(self, error: Exception) -> bool:
        return (
            isinstance(error, ServerDisconnectedError | OSError)
            and self._upload is None
            and self._request.method in IDEMPOTENT
        )

    def _failure(self, error: Exception) -> Exception:
        """Say what went wrong, which may be that the request's own body broke off."""
        return (self._upload and self._upload.error) or _failure(error)

    async def __aexit__(self, *_: object) -> None:
        if self._upload is not None and not self._upload.task.done():
            self._drop()  # it has answered before it had all of the request
        else:
            self._upstream.connections.release(self._exchange)

    def _drop(self) -> None:
        self._upstream.connections.drop(self._exchange)
        if self._upload is not None:
            self._upload.task.cancel()


class _Stale(Exception):
    """A connection was used again just as the service closed it."""


class _Upload:
    """A body that streams to the service, while its answer may come already.

    Attributes:
        error: what kept the body from being read to its end.
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


class _Download:
    """A body on its way in."""

    def __init__(self, size: int | None, reader: StreamReader) -> None:
        self.size = size
        self._reader = reader

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._reader.iter_any():
                yield chunk
        except (ClientError, OSError) as exc:
            raise _failure(exc) from exc


def _framing(request: Request) -> Headers:
    """Say how the body of a request ends, where its own headers do not."""
    size = body_size(request.body)
    if size is None:
        return (("Transfer-Encoding", "chunked"),)
    return () if size or request.method in _WITHOUT_BODY else (("Content-Length", "0"),)


def outgoing(request: Request, handle: JobHandle) -> Headers:
    """Return the headers of a request that goes on to the next hop.

    ``Host`` becomes the service's own, and travels in ``Forwarded`` (RFC 7239); ``Via`` says who
    passed the request on (RFC 9110 section 7.6.3). Both are lists, so that a further line appends
    to one that came in. The job's own headers are never a client's.
    """
    headers = framed(end_to_end(request.headers), request.body)
    headers = without_lookalikes(headers, _NOT_SENT_ON)
    host = header(request.headers, "host")
    forwarded = (("Forwarded", f"host={_quoted(host)};proto=http"),) if host else ()
    job = () if handle.id is None else _job(handle.id, handle.attempt)
    return (*headers, ("Via", "1.1 jobstore"), *forwarded, *job)


def _job(job_id: int, attempt: int) -> Headers:
    return ((JOB_ID, str(job_id)), ("Jobstore-Attempt", str(attempt)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _response(method: str, message: RawResponseMessage, payload: StreamReader) -> Response:
    """Take an answer, its body as a whole if all of it has come.

    Raises:
        TargetBroken: it is none that could be passed on.
    """
    if message.code not in FINAL:
        raise TargetBroken("the target answered with a status that is none")
    received = tuple(message.headers.items())
    if problem := unsendable(received, message.reason):
        raise TargetBroken(f"the head of the target's answer {problem}")
    if list(_transfer_codings(received)) not in _UNDONE:
        raise TargetBroken("the target's answer has a transfer coding other than chunked")
    length = message.headers.get("Content-Length")
    body: Body
    if bodiless(method, message.code):
        body = b""
    elif length is not None and payload.is_eof():
        body = payload.read_nowait()
    else:
        body = _Download(None if length is None else int(length), payload)
    return Response(
        status=message.code,
        reason=own_phrase(message.code, message.reason),
        headers=end_to_end(received),
        body=body,
    )


def _transfer_codings(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        if name.lower() == "transfer-encoding":
            yield from (coding.strip().lower() for coding in value.split(","))


def _failure(exc: Exception) -> TargetFailed:
    """Say in a sentence what happened, and nothing of what URL and headers may give away."""
    for each in (exc, exc.__cause__):
        if isinstance(each, HeadTooLargeError):
            return TargetBroken(each.message)
    return TargetBroken(next(text for kind, text in _BROKEN if isinstance(exc, kind)))
