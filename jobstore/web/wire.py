"""Outgoing answers: from our own to aiohttp's, with nothing lost."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from http import HTTPStatus
from typing import Final, TypeVar

from aiohttp import web
from multidict import CIMultiDict

from jobstore.http import heads, private
from jobstore.model.errors import JobstoreError
from jobstore.model.message import (
    Headers,
    Response,
    Stream,
    bodiless,
    body_size,
    chunks,
    header,
    without,
)
from jobstore.web import origins
from jobstore.web.connection import ClientConnection

# aiohttp adds these where they are missing; a relayed response stays as its target made it.
_ADDED: Final = ("Content-Type", "Server")
# To close a socket without waiting for what is still to be sent: struct linger of socket(7).
_AT_ONCE: Final = struct.pack("ii", 1, 0)
_LENGTH: Final = "Jobstore-Content-Length"
# For how long nothing of the body of a request may arrive that is ours to take, in seconds.
BODY_SECONDS: Final = 60.0
_SLOWEST_READER: Final = 64 * 1024  # bytes per second
# For how long a reader may take over each piece of a result, in seconds: meanwhile nobody else can
# have it, and nobody can delete it.
PIECE_SECONDS: Final = 600.0
_GIVEN: Final = web.ResponseKey("jobstore.given", frozenset)
_EMPTY: Final = web.ResponseKey("jobstore.empty", bool)
# The origin of a page that may read the answer, though it is another server's.
PAGE: Final = web.RequestKey("jobstore.page", str)

R = TypeVar("R", bound=web.StreamResponse)


async def relay(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Answer a request with its target's response, as it streams in.

    Raises:
        ConnectionError: the connection broke, or was broken because the response broke off.
    """
    answer = _answer(response, response.headers)
    await _send(answer, request, response)
    return answer


async def deliver(
    request: web.BaseRequest, response: Response, extra: Headers, *, explicit: bool = False
) -> web.StreamResponse:
    """Answer a request with the stored response of a job, to its last byte.

    Args:
        request: the request that fetches it.
        response: the stored response.
        extra: headers to add.
        explicit: whether a 204 has a ``Content-Length``; see `explicitly_empty`.

    Raises:
        AnswerUnsendable: it cannot be sent over HTTP.
        ConnectionError: the connection broke before the last byte was handed over, or was broken
            off, since the reader took nothing for too long.
    """
    answer = _answer(response, given_fields(response, extra))
    if explicit and response.status == HTTPStatus.NO_CONTENT:
        explicitly_empty(answer)
    if not (isinstance(answer, web.Response) or bodiless(request.method, response.status)):
        answer.content_length = body_size(response.body)
    await _send(answer, request, response, PIECE_SECONDS)
    await handed_over(request.protocol, PIECE_SECONDS)
    return answer


def given_fields(response: Response, extra: Headers) -> Headers:
    """Return the fields with which a stored response is delivered, except its body's length.

    The ``Content-Length`` of an answer to HEAD, or of a 304, is renamed: it is the length of a
    body that is not here, and the reader would wait for it.
    """
    named = header(response.headers, "content-length")
    if named is None:
        return (*response.headers, *extra)
    kept = without(response.headers, ("content-length",))
    if named == str(body_size(response.body)):
        return (*kept, *extra)
    return (*kept, (_LENGTH, named), *extra)


def read_in_time(request: web.BaseRequest, size: int) -> AbstractAsyncContextManager[None]:
    """Break off the connection of a reader who is too slow for a response kept in memory.

    Raises:
        ConnectionError: the connection was broken off.
    """
    return _broken_off_after(BODY_SECONDS + size / _SLOWEST_READER, request.transport)


@asynccontextmanager
async def _broken_off_after(
    seconds: float | None, transport: asyncio.Transport | None
) -> AsyncIterator[None]:
    """Break off the connection of a reader who takes longer; None for no limit."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        _break_off(transport)
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


async def _send(
    answer: web.StreamResponse,
    request: web.BaseRequest,
    response: Response,
    seconds: float | None = None,
) -> None:
    """Send an answer.

    Args:
        seconds: for how long a reader may take over each piece, or None.
    """
    heads.fit(request, tuple(answer.headers.items()), answer.reason)
    await answer.prepare(request)
    if not isinstance(response.body, bytes):
        await _stream(answer, request, response.body, seconds)
    async with _broken_off_after(seconds, request.transport):
        await answer.write_eof()


async def _stream(
    answer: web.StreamResponse, request: web.BaseRequest, body: Stream, seconds: float | None
) -> None:
    try:
        async for chunk in chunks(body):
            async with _broken_off_after(seconds, request.transport):
                await answer.write(chunk)
    except JobstoreError as error:
        # Too late for another answer: only a broken connection says that this one is not whole.
        _break_off(request.transport)
        raise ConnectionAbortedError(str(error)) from error


def _break_off(transport: asyncio.Transport | None) -> None:
    """Reset a connection: where closing it would mean the answer's normal end, as in HTTP/1.0.

    In process there is no connection; the handler's error is enough.
    """
    connection = transport.get_extra_info("socket") if transport else None
    if transport and connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        transport.abort()


def problem(status: int, detail: str, headers: Headers = (), **members: object) -> web.Response:
    """Return a problem document as an answer: RFC 9457.

    Args:
        status: the status code.
        detail: what happened, in a sentence for people.
        headers: headers to add.
        members: additional members.
    """
    return web.json_response(
        {**problem_document(status, detail), **members},
        status=status,
        headers=CIMultiDict(headers),
        content_type="application/problem+json",
    )


def problem_document(status: int, detail: str) -> dict[str, object]:
    """Return the members of a problem document."""
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def explicitly_empty(response: R) -> R:
    """Send ``Content-Length: 0`` with a response without a body, whatever its status.

    RFC 9110 section 8.6 forbids that for 204, and aiohttp obeys. ArangoDB sends it anyway, and its
    PHP driver, on a kept-alive connection, waits until its timeout without it.
    """
    response[_EMPTY] = True
    return response


def is_explicit(response: web.StreamResponse) -> bool:
    """Return whether a response was marked by `explicitly_empty`."""
    return len(response) > 0 and _EMPTY in response


def let_page_read(request: web.Request, response: web.StreamResponse) -> None:
    """Let a trusted page of another origin read one of our answers."""
    if "Origin" in request.headers and PAGE in request:
        origins.let_read(response.headers, request[PAGE])


async def before_head(request: web.Request, response: web.StreamResponse) -> None:
    """Adjust a response; an application's signal ``on_response_prepare``."""
    adjust(response)
    let_page_read(request, response)


def adjust(response: web.StreamResponse) -> None:
    """Undo aiohttp's changes to the headers of a response, just before they are sent."""
    if len(response) == 0:  # nothing is known of it: most are like that
        return
    _take_back(response)
    if _EMPTY in response:
        response.headers["Content-Length"] = "0"


def _take_back(response: web.StreamResponse) -> None:
    """Remove headers that aiohttp added to a relayed response."""
    given = response.get(_GIVEN)
    if given is not None:
        for name in _ADDED:
            if name.lower() not in given:
                response.headers.popall(name, None)


async def handed_over(client: web.RequestHandler, seconds: float | None = None) -> None:
    """Wait until the operating system has taken the last byte of an answer.

    A client that has closed its side must also have acknowledged it.

    Args:
        seconds: for how long, or None; then the connection is broken off.

    Raises:
        ConnectionError: it was not, and never will be.
    """
    async with _broken_off_after(seconds, client.transport):
        await _handed_over(client)


async def _handed_over(client: web.RequestHandler) -> None:
    transport = client.transport
    # A transport that is gone here went after the last write: no byte of it was left behind then,
    # since each write to a broken connection raises.
    if transport is not None and transport.get_write_buffer_size():
        transport.set_write_buffer_limits(high=0)
        try:
            await private.drain(client)
        finally:
            transport.set_write_buffer_limits()
    if not isinstance(client, ClientConnection):
        return
    if client.below is not None:
        await client.encrypted_sent()
    if client.half_closed:  # it may as well be gone
        await client.acknowledged()
