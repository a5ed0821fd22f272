"""Between aiohttp's requests and responses and our own: nothing is lost on the way."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Final, TypeVar

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict

from jobstore.http import heads, private
from jobstore.model.account import Identity
from jobstore.model.errors import (
    BodyBroken,
    BodyStalled,
    Forbidden,
    JobstoreError,
    OwnerLimit,
    TooManyLogins,
    Unauthorized,
)
from jobstore.model.message import (
    Body,
    Headers,
    Request,
    Response,
    Stream,
    bodiless,
    body_size,
    chunks,
    end_to_end,
    header,
    without,
)
from jobstore.web import origins
from jobstore.web.connection import ClientConnection
from jobstore.web.proxies import Proxies

# aiohttp adds these where they are missing; a relayed response stays as its target made it.
_ADDED: Final = ("Content-Type", "Server")
_BEFORE_PATH: Final = re.compile("[/?#]")
# To close a socket without waiting for what is still to be sent: struct linger of socket(7).
_AT_ONCE: Final = struct.pack("ii", 1, 0)
# Up to so many bytes a body is read in one go: less than what aiohttp has buffered anyway.
_SMALL: Final = 64 * 1024
_LENGTH: Final = "Jobstore-Content-Length"
# For how long nothing of the body of a request may arrive that is ours to take, in seconds.
BODY_SECONDS: Final = 60.0
_SLOWEST_READER: Final = 64 * 1024  # bytes per second
_GIVEN: Final = web.ResponseKey("jobstore.given", frozenset)
_EMPTY: Final = web.ResponseKey("jobstore.empty", bool)
IDENTITY: Final = web.RequestKey("jobstore.identity", Identity)
# Whose word is taken on where a request comes from; without any, the other end counts.
PROXIES: Final = web.RequestKey("jobstore.proxies", Proxies)
_NO_PROXIES: Final = Proxies()
# The origin of a page that may read the answer, though it is another server's.
PAGE: Final = web.RequestKey("jobstore.page", str)

R = TypeVar("R", bound=web.StreamResponse)


@dataclass(frozen=True, slots=True)
class Standing:
    """On what ground somebody was let in.

    Args:
        again: tells who sends a request as their account is now; None if they are let in no more.
    """

    again: Callable[[web.Request], Identity | None]


STANDING: Final = web.RequestKey("jobstore.standing", Standing)


class Revoked(web.HTTPUnauthorized):
    """Whoever sent a request was let in, and would not be any more; aiohttp answers with it."""

    def __init__(self) -> None:
        answer = shared_refusal(HTTPStatus.UNAUTHORIZED, str(Unauthorized()))
        super().__init__(text=answer.text, headers=answer.headers)


def confirm(request: web.Request) -> None:
    """Look again who sends a request that has waited for something, before it gets anything.

    Where no `STANDING` says on what ground they were let in, there is nothing to look at.

    Raises:
        Revoked: their account is gone, or their token, or it has another password.
    """
    standing = request.get(STANDING)
    if standing is None:
        return
    identity = standing.again(request)
    if identity is None:
        raise Revoked
    request[IDENTITY] = identity


def scope_again(request: web.Request) -> int | None:
    """Look again who sends a request, and return whose jobs they may see now; see `confirm`."""
    confirm(request)
    return scope(request)


def scope(request: web.Request) -> int | None:
    """Return whose jobs the sender of a request may see, or None for everybody's."""
    return request[IDENTITY].scope


def changing(request: web.Request) -> Identity:
    """Return who sends a request that changes something.

    Raises:
        Forbidden: they may not.
    """
    identity = request[IDENTITY]
    if not identity.changes:
        raise Forbidden
    return identity


def source(request: web.BaseRequest) -> str | None:
    """Return the address that a request came from, or None if it came over no network."""
    proxies: Proxies = request.get(PROXIES, _NO_PROXIES)
    return proxies.source(request.remote, request.headers)


@contextmanager
def _telling_broken() -> Iterator[None]:
    """Turn what aiohttp raises when a body ends too early into our own word for it."""
    try:
        yield
    except (ConnectionError, web.RequestPayloadError) as error:
        raise BodyBroken from error


class Incoming(web.Request):
    """A request at the front door, where no application has seen it yet."""

    @property
    def continues(self) -> bool:
        """Whether its sender waits for leave to send the body: RFC 9110 section 10.1.1."""
        if self._match_info is not None:  # an application that has routed it has given that leave
            return False
        expected = self.headers.get("Expect", "").lower() == "100-continue"
        return expected and self.version >= HttpVersion11

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Do what an application does with its signal `on_response_prepare`."""
        adjust(response)
        let_read(self, response)
        if self._match_info is not None:
            await super()._prepare_hook(response)


def incoming(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> Incoming:
    """Make a request of what aiohttp has parsed; a factory for its server."""
    return Incoming(message, payload, protocol, writer, task, task.get_loop())


async def _welcome(request: web.BaseRequest) -> None:
    """Send 100 Continue if its sender expects it: somebody wants to read the body."""
    if isinstance(request, Incoming) and request.continues:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _next(content: StreamReader, seconds: float, most: int) -> bytes:
    """Read what arrives of a body that is ours to take.

    A slow sender is welcome, one who sends nothing at all is not: it may be waited for on purpose.
    """
    with _telling_broken():
        try:
            async with asyncio.timeout(seconds):
                return await content.read(most)
        except TimeoutError:
            raise BodyStalled(seconds) from None


class _Body:
    """The body of a request that is passed through, as it arrives."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request

    @property
    def size(self) -> int | None:
        return self._request.content_length

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _telling_broken():
            await _welcome(self._request)
            async for chunk in self._request.content.iter_any():
                yield chunk


class _Submitted(_Body):
    """The body of a request that becomes a job only if its sender may still submit it then."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request)
        self._sender = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _telling_broken():
            await _welcome(self._request)
        async for piece in pieces(self._request):
            yield piece
        confirm(self._sender)
        changing(self._sender)


def path_of(request: web.BaseRequest) -> str:
    """Return a request's path with query, as it was sent, byte for byte."""
    path = request.raw_path
    if path.startswith("/"):
        return path
    return request.rel_url.raw_path_qs or "/"  # absolute form, RFC 9112 section 3.2.2


def authority_of(request: web.BaseRequest) -> str | None:
    """Return the authority in a request's target, if that is a whole URL."""
    if request.raw_path.startswith("/"):
        return None
    _, separator, rest = request.raw_path.partition("://")
    return _BEFORE_PATH.split(rest, maxsplit=1)[0] if separator else None


def received(request: web.BaseRequest) -> Request:
    """Read a request that came in over a socket; its body streams if it has one.

    Of the headers those stay that travel on.
    """
    return Request(
        method=request.method,
        path=path_of(request),
        headers=end_to_end(tuple(request.headers.items())),
        body=_Body(request) if request.body_exists else b"",
    )


async def gathered(request: web.Request) -> Body:
    """Read a small body at once, which costs less than streaming; give a larger one as it is.

    Raises:
        BodyBroken: the body ended before its announced end.
        Revoked: its sender's account is gone meanwhile.
    """
    if not request.body_exists:
        return b""
    if not 0 < (request.content_length or 0) <= _SMALL:
        return _Submitted(request)
    with _telling_broken():
        await _welcome(request)
        if request.content.is_eof():  # all of it has arrived, as it mostly has
            return await request.content.read()
    body = b"".join([piece async for piece in pieces(request)])
    confirm(request)
    return body


async def pieces(
    request: web.BaseRequest, seconds: float = BODY_SECONDS, most: int = 2**20
) -> AsyncIterator[bytes]:
    """Read a body that is ours to take, as it arrives.

    Args:
        seconds: for how long nothing of it may arrive.
        most: how many bytes a piece may have.

    Raises:
        BodyBroken: it ended before its announced end.
        BodyStalled: nothing more of it arrives.
    """
    content = request.content
    while not content.at_eof():
        yield await _next(content, seconds, most)
    error = content.exception()  # which at_eof passes over
    if error is not None:
        with _telling_broken():
            raise error


async def relay(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Answer a request with its target's response, as it streams in.

    Raises:
        ConnectionError: the connection broke, or had to be broken since the response broke off.
    """
    answer = _answer(response, response.headers)
    await _send(answer, request, response)
    return answer


async def deliver(
    request: web.BaseRequest, response: Response, extra: Headers, *, explicit: bool = False
) -> web.StreamResponse:
    """Answer a request with the kept response to another one, to its last byte.

    Args:
        request: the request that fetches it.
        response: what was kept.
        extra: headers to add.
        explicit: whether a 204 says how long it is; see `explicitly_empty`.

    Raises:
        AnswerUnsendable: no HTTP message can have what was kept.
        ConnectionError: the connection broke before the last byte was handed over.
    """
    answer = _answer(response, given_fields(response, extra))
    if explicit and response.status == HTTPStatus.NO_CONTENT:
        explicitly_empty(answer)
    if not (isinstance(answer, web.Response) or bodiless(request.method, response.status)):
        answer.content_length = body_size(response.body)
    await _send(answer, request, response)
    await handed_over(request.protocol)
    return answer


def given_fields(response: Response, extra: Headers) -> Headers:
    """Return the fields with which a kept response is delivered, but for its body's length."""
    kept = without(response.headers, ("content-length",))
    return (*kept, *_length_of_head(response), *extra)


def _length_of_head(response: Response) -> Headers:
    """Give the length that an answer to HEAD, or 304, named, under a name of our own.

    It is that of a body which is not here: as ``Content-Length`` its reader would wait for that.
    """
    named = header(response.headers, "content-length")
    return () if named in (None, str(body_size(response.body))) else ((_LENGTH, named),)


@asynccontextmanager
async def prompt(request: web.BaseRequest, size: int) -> AsyncIterator[None]:
    """Break a connection off whose reader is too slow for what is kept in memory for them.

    Raises:
        ConnectionError: they were.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS + size / _SLOWEST_READER):
            yield
    except TimeoutError as error:
        _break_off(request.transport)
        raise ConnectionAbortedError("read too slowly") from error


def _answer(response: Response, headers: Headers) -> web.StreamResponse:
    status, reason, fields = response.status, response.reason, CIMultiDict(headers)
    answer: web.StreamResponse
    if isinstance(response.body, bytes):  # which goes out together with the head
        answer = web.Response(status=status, reason=reason, headers=fields, body=response.body)
    else:
        answer = web.StreamResponse(status=status, reason=reason, headers=fields)
    answer[_GIVEN] = frozenset(name.lower() for name, _ in headers)
    return answer


async def _send(answer: web.StreamResponse, request: web.BaseRequest, response: Response) -> None:
    heads.fit(request, tuple(answer.headers.items()), answer.reason)
    await answer.prepare(request)
    if not isinstance(response.body, bytes):
        await _stream(answer, request, response.body)
    await answer.write_eof()


async def _stream(answer: web.StreamResponse, request: web.BaseRequest, body: Stream) -> None:
    try:
        async for chunk in chunks(body):
            await answer.write(chunk)
    except JobstoreError as error:
        # Too late for another answer: only a broken connection says that this one is not whole.
        _break_off(request.transport)
        raise ConnectionAbortedError(str(error)) from error


def _break_off(transport: asyncio.Transport | None) -> None:
    """Reset a connection: where its end is that of the answer, as in HTTP/1.0, closing says less.

    In process there is none; the handler's error is enough.
    """
    connection = transport.get_extra_info("socket") if transport else None
    if transport and connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()


def problem(status: int, detail: str, headers: Headers = ()) -> web.Response:
    """Make a problem document of an error: RFC 9457.

    Args:
        status: the status code.
        detail: what happened, in a sentence for people.
        headers: headers to add.
    """
    document = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    return web.json_response(
        {**document, "detail": detail},
        status=status,
        headers=CIMultiDict(headers),
        content_type="application/problem+json",
    )


_LATER: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


def retry_after(error: JobstoreError) -> dict[str, str]:
    """Give the header that says when to try again, for what cannot be had just now."""
    if error.status not in _LATER:
        return {}
    return {"Retry-After": str(error.seconds if isinstance(error, OwnerLimit) else 1)}


def shared_refusal(
    status: int, detail: str, headers: Mapping[str, str] = MappingProxyType({})
) -> web.Response:
    """Refuse a request before any dialect has seen it, in words that all of them share.

    The error number is that of ArangoDB's errors.dat for "forbidden".
    """
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    arango = {"error": True, "code": status, "errorNum": 11, "errorMessage": detail}
    return web.json_response({**document, **arango}, status=status, headers=headers)


def refused(_: web.Request, error: JobstoreError) -> web.Response:
    """Answer that whoever sends a request is not let in, where no dialect has words for it.

    Credentials are asked for in words that most clients read. The error number is that of
    ArangoDB's errors.dat for "forbidden".
    """
    detail = str(error)
    if not isinstance(error, Unauthorized):
        status = 429 if isinstance(error, TooManyLogins) else 503
        return problem(status, detail, (("Retry-After", "1"),))
    return shared_refusal(401, detail)


def explicitly_empty(response: R) -> R:
    """Let a response without a body say ``Content-Length: 0``, whatever its status is.

    RFC 9110 section 8.6 forbids that for 204, and aiohttp holds to it. ArangoDB sends it all the
    same, and its PHP driver, on a connection that is kept alive, waits for its timeout without it.
    """
    response[_EMPTY] = True
    return response


def is_explicit(response: web.StreamResponse) -> bool:
    """Tell whether a response is one of those."""
    return len(response) > 0 and _EMPTY in response


def let_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let a trusted page of another origin read an answer of ours."""
    if "Origin" in request.headers and PAGE in request:
        origins.let_read(response.headers, request[PAGE])


async def before_head(request: web.Request, response: web.StreamResponse) -> None:
    """Adjust a response; an application's signal ``on_response_prepare``."""
    adjust(response)
    let_read(request, response)


def adjust(response: web.StreamResponse) -> None:
    """Undo what aiohttp has done to the headers of a response, just before they are sent."""
    if len(response) == 0:  # nothing is known of it: most are like that
        return
    _take_back(response)
    if _EMPTY in response:
        response.headers["Content-Length"] = "0"


def _take_back(response: web.StreamResponse) -> None:
    """Take back what aiohttp has added to a relayed response."""
    given = response.get(_GIVEN)
    if given is not None:
        for name in _ADDED:
            if name.lower() not in given:
                response.headers.popall(name, None)


async def handed_over(client: web.RequestHandler) -> None:
    """Wait until the operating system has taken the last byte of an answer.

    A client that has closed its side has to have acknowledged it, too.

    Raises:
        ConnectionError: it has not, and never will.
    """
    transport = client.transport
    # A transport that is gone here went after the last write: no byte of it was left behind then,
    # since each write to a broken connection raises.
    if transport is not None and transport.get_write_buffer_size():
        transport.set_write_buffer_limits(high=0)
        try:
            await private.drain(client)
        finally:
            transport.set_write_buffer_limits()
    if isinstance(client, ClientConnection) and client.half_closed:  # it may as well be gone
        await client.acknowledged()
