"""Between aiohttp's requests and responses and our own: nothing is lost on the way."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from multidict import CIMultiDict

from jobstore.account import Identity
from jobstore.connection import Connection
from jobstore.errors import BodyBroken, BodyTooLarge, Forbidden, JobstoreError
from jobstore.message import (
    Body,
    Headers,
    Request,
    Response,
    Stream,
    bodiless,
    body_size,
    chunks,
    end_to_end,
)

# aiohttp adds these where they are missing; a relayed response stays as its target made it.
_ADDED: Final = ("Content-Type", "Server")
# To close a socket without waiting for what is still to be sent: struct linger of socket(7).
_AT_ONCE: Final = struct.pack("ii", 1, 0)
# Up to so many bytes a body is read in one go: less than what aiohttp has buffered anyway.
_SMALL: Final = 64 * 1024
_GIVEN: Final = web.ResponseKey("jobstore.given", frozenset)
IDENTITY: Final = web.RequestKey("jobstore.identity", Identity)


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
        answer = unauthorized()
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


def scope_again(request: web.Request) -> str | None:
    """Look again who sends a request, and return whose jobs they may see now; see `confirm`."""
    confirm(request)
    return scope(request)


def scope(request: web.Request) -> str | None:
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
        take_back(response)
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
    """Give leave to send the body, if its sender waits for that: somebody wants to read it."""
    if isinstance(request, Incoming) and request.continues:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


class _Body:
    """The body of a request, as it arrives."""

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
        async for chunk in super().__aiter__():
            yield chunk
        confirm(self._sender)
        changing(self._sender)


def path_of(request: web.BaseRequest) -> str:
    """Return a request's path with query, as it was sent, byte for byte."""
    path = request.raw_path
    if path.startswith("/"):
        return path
    return request.rel_url.raw_path_qs or "/"  # absolute form, RFC 9112 section 3.2.2


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
        body = await request.content.read()
    confirm(request)
    return body


async def whole(request: web.Request, limit: int) -> bytes:
    """Read the body of a request to one of our own APIs.

    Args:
        request: the request.
        limit: how many bytes it may have.

    Raises:
        BodyTooLarge: it has more.
        BodyBroken: it ended before its announced end.
        Revoked: its sender's account is gone meanwhile.
    """
    body = bytearray()
    with _telling_broken():
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise BodyTooLarge(limit)
    confirm(request)
    return bytes(body)


async def relay(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Answer a request with its target's response, as it streams in.

    Raises:
        ConnectionError: the connection broke, or had to be broken since the response broke off.
    """
    answer = _answer(response, response.headers)
    await _send(answer, request, response)
    return answer


async def deliver(
    request: web.BaseRequest, response: Response, extra: Headers
) -> web.StreamResponse:
    """Answer a request with the kept response to another one, to its last byte.

    Args:
        request: the request that fetches it.
        response: what was kept.
        extra: headers to add.

    Raises:
        ConnectionError: the connection broke before the last byte was handed over.
    """
    answer = _answer(response, (*response.headers, *extra))
    # What was kept may be the answer to HEAD, whose length is not that of its body.
    answer.headers.popall("Content-Length", None)
    if not (isinstance(answer, web.Response) or bodiless(request.method, response.status)):
        answer.content_length = body_size(response.body)
    await _send(answer, request, response)
    await _handed_over(request)
    return answer


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


def unauthorized() -> web.Response:
    """Ask for credentials, in words that the clients of every dialect read.

    The error number is that of ArangoDB's errors.dat for "forbidden".
    """
    detail = "not authorized to execute this request"
    document = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": detail}
    arango = {"error": True, "code": 401, "errorNum": 11, "errorMessage": detail}
    challenge = {"WWW-Authenticate": 'Basic realm="jobstore", charset="UTF-8", Bearer'}
    return web.json_response({**document, **arango}, status=401, headers=challenge)


async def as_given(_: web.Request, response: web.StreamResponse) -> None:
    """Take back what aiohttp has added to a relayed response; a signal before each response."""
    take_back(response)


def take_back(response: web.StreamResponse) -> None:
    """Take back what aiohttp has added to a relayed response."""
    given = response.get(_GIVEN)
    if given is not None:
        for name in _ADDED:
            if name.lower() not in given:
                response.headers.popall(name, None)


async def _handed_over(request: web.BaseRequest) -> None:
    """Wait until the operating system has taken the last byte.

    A client that has closed its side has to have acknowledged it, too.

    Raises:
        ConnectionError: it has not, and never will.
    """
    transport = request.transport
    # A transport that is gone here went after the last write: no byte of it was left behind then,
    # since each write to a broken connection raises.
    if transport is not None and transport.get_write_buffer_size():
        await _drained(request, transport)
    client = request.protocol
    if isinstance(client, Connection) and client.half_closed:  # it may as well be gone
        await client.acknowledged()


async def _drained(request: web.BaseRequest, transport: asyncio.Transport) -> None:
    transport.set_write_buffer_limits(high=0)
    try:
        await request.writer.drain()
    finally:
        transport.set_write_buffer_limits()
