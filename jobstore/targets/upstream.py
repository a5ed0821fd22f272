"""Another HTTP service as a target."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from io import BytesIO
from typing import Final, Self

from aiohttp import (
    ClientConnectorDNSError,
    ClientConnectorError,
    ClientError,
    ClientPayloadError,
    ClientResponse,
    ClientResponseError,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    ConnectionTimeoutError,
    DummyCookieJar,
    ServerDisconnectedError,
)
from yarl import URL

from jobstore.http import heads
from jobstore.model.errors import TargetBroken, TargetFailed, TargetUnreachable
from jobstore.model.handle import JobHandle
from jobstore.model.message import (
    FINAL,
    JOB_ID,
    OURS,
    Body,
    Headers,
    HeadLimits,
    Request,
    Response,
    Stream,
    bodiless,
    end_to_end,
    framed,
    header,
    own_phrase,
    unsendable,
    without_lookalikes,
)
from jobstore.targets.connector import QuietConnector
from jobstore.targets.exchange import HeadTooLargeError

# How long an idle connection is kept, in seconds. One that the service closes just as a request
# goes out fails the job if its method is not idempotent, since RFC 9110 section 9.2.2 forbids to
# send that again. So this has to be shorter than any usual service's own limit (gunicorn: 2 s;
# uvicorn, Node.js and Apache: 5 s); a new connection costs little beside a lost job.
_IDLE: Final = 1.0

# What a server may take for one of these is not sent on either.
_NOT_SENT_ON: Final = ("host", *OURS)

# What is undone where a body is read; "identity" is of RFC 2616 and changes nothing.
_UNDONE: Final[tuple[list[str], ...]] = ([], ["chunked"], ["identity"])

# What aiohttp would add by itself.
_AUTOMATIC: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")

_LIMITS: Final = HeadLimits()

# What went wrong, by the first class that fits.
_BROKEN: Final[tuple[tuple[type[Exception], str], ...]] = (
    (ServerDisconnectedError, "the target closed the connection without a complete answer"),
    (ClientResponseError, "the target's answer is not valid HTTP"),
    (ClientPayloadError, "the target's answer broke off before its end"),
    (ClientError, "the connection to the target broke"),
    (OSError, "the connection to the target broke"),
    (ValueError, "the request cannot be sent over HTTP"),
)


class Upstream:
    """A target that is an HTTP service.

    Args:
        base: the service's URL, to which the path of each request is appended.
        session: a session as ``Upstream.open`` makes it.
    """

    def __init__(self, base: str, session: ClientSession) -> None:
        self._base = base.rstrip("/")
        self._session = session

    @classmethod
    @asynccontextmanager
    async def open(
        cls, base: str, *, connect: float = 10.0, limits: HeadLimits = _LIMITS
    ) -> AsyncIterator[Self]:
        """Open a target with a session that neither adds anything nor hides anything.

        Args:
            base: the service's URL.
            connect: how long a connection may take to be made, in seconds.
            limits: how much the head of an answer may be.
        """
        async with ClientSession(
            connector=QuietConnector(limits, limit=0, keepalive_timeout=_IDLE),
            request_class=heads.OpaqueRequest,
            timeout=ClientTimeout(total=None, sock_connect=connect),
            cookie_jar=DummyCookieJar(),
            skip_auto_headers=_AUTOMATIC,
            auto_decompress=False,
            max_line_size=limits.field_size,
            max_field_size=limits.field_size,
            max_headers=limits.fields,
        ) as session:
            yield cls(base, session)

    @asynccontextmanager
    async def send(self, request: Request, handle: JobHandle) -> AsyncIterator[Response]:
        """Send a request and give its response; leaving early closes the connection.

        Args:
            request: what to send.
            handle: the job that the request is for; its id and attempt are sent along.

        Raises:
            TargetUnreachable: if no connection could be made.
            TargetBroken: on entry or while the body is read, if the answer is none or breaks off.
        """
        async with await self._ask(request, handle) as answer:
            yield _response(request.method, answer)

    async def _ask(self, request: Request, handle: JobHandle) -> ClientResponse:
        upload = _Upload(request.body)
        try:
            return await self._session.request(
                request.method,
                self._url(request.path),
                headers=outgoing(request, handle),
                data=upload.data(),
                allow_redirects=False,
            )
        except (ClientError, OSError, ValueError) as exc:
            raise upload.error or _failure(exc) from exc

    def _url(self, path: str) -> URL:
        # Without a slash in between, a path such as "@example.com" would lead to another host.
        slash = "" if path.startswith("/") else "/"
        return URL(f"{self._base}{slash}{path}", encoded=True)


class _Upload:
    """A body on its way out; aiohttp disguises what it raises, so that it is noted here."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.error: Exception | None = None

    def data(self) -> BytesIO | AsyncIterator[bytes] | None:
        """Return the body as aiohttp takes it without a warning that it is large."""
        if isinstance(self._body, bytes):
            return BytesIO(self._body) if self._body else None
        return self._noting(self._body)

    async def _noting(self, body: Stream) -> AsyncIterator[bytes]:
        try:
            async for chunk in body:
                yield chunk
        except Exception as exc:
            self.error = exc
            raise


class _Download:
    """A body on its way in."""

    def __init__(self, answer: ClientResponse) -> None:
        self.size = answer.content_length
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                yield chunk
        except (ClientError, OSError) as exc:
            raise _failure(exc) from exc


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
    return _alike((*headers, ("Via", "1.1 jobstore"), *forwarded, *job))


def _alike(headers: Headers) -> Headers:
    """Spell each name one way, since aiohttp takes ``via`` after ``Via`` for its replacement."""
    spelling: dict[str, str] = {}
    return tuple((spelling.setdefault(name.lower(), name), value) for name, value in headers)


def _job(job_id: int, attempt: int) -> Headers:
    return ((JOB_ID, str(job_id)), ("Jobstore-Attempt", str(attempt)))


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def _response(method: str, answer: ClientResponse) -> Response:
    """Take an answer's head.

    Raises:
        TargetBroken: it is none that could be passed on.
    """
    if answer.status not in FINAL:
        raise TargetBroken("the target answered with a status that is none")
    received = tuple(answer.headers.items())
    if problem := unsendable(received, answer.reason):
        raise TargetBroken(f"the head of the target's answer {problem}")
    if list(_transfer_codings(received)) not in _UNDONE:
        raise TargetBroken("the target's answer has a transfer coding other than chunked")
    return Response(
        status=answer.status,
        reason=own_phrase(answer.status, answer.reason or ""),
        headers=end_to_end(received),
        body=b"" if bodiless(method, answer.status) else _Download(answer),
    )


def _transfer_codings(headers: Headers) -> Iterator[str]:
    for name, value in headers:
        if name.lower() == "transfer-encoding":
            yield from (coding.strip().lower() for coding in value.split(","))


def _failure(exc: Exception) -> TargetFailed:
    """Say in a sentence what happened, and nothing of what URL and headers may give away."""
    if isinstance(exc.__cause__, HeadTooLargeError):
        return TargetBroken(exc.__cause__.message)
    if isinstance(exc, ClientConnectorError):
        return TargetUnreachable(f"no connection to {exc.host}:{exc.port}: {_reason(exc)}")
    if isinstance(exc, ConnectionTimeoutError):
        return TargetUnreachable("no connection to the target could be made in time")
    return TargetBroken(next(text for kind, text in _BROKEN if isinstance(exc, kind)))


def _reason(exc: ClientConnectorError) -> str:
    """Return the system's words for a failed connection, where asyncio has put its own for them."""
    if exc.errno and not isinstance(exc, ClientSSLError | ClientConnectorDNSError):
        return os.strerror(exc.errno)
    return str(exc.strerror or "all addresses failed")
