"""Incoming requests: from aiohttp's to our own, with nothing lost."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage

from jobstore.model.errors import BodyBroken, BodyStalled
from jobstore.model.message import Body, Headers, Request
from jobstore.web import standing, wire

_BEFORE_PATH: Final = re.compile("[/?#]")
# Up to so many bytes a body is read in one go: less than what aiohttp has buffered anyway.
_SMALL: Final = 64 * 1024
# The largest piece of a body, in bytes, and how much is received before it is read, while the piece
# before is being written: at most twice as much, as aiohttp has it.
_PIECE: Final = 2**18
_AHEAD: Final = 2**20


@contextmanager
def _telling_broken() -> Iterator[None]:
    """Convert aiohttp's errors for a body that ends too early into ours."""
    try:
        yield
    except (ConnectionError, web.RequestPayloadError) as error:
        raise BodyBroken from error


class Incoming(web.Request):
    """A request at the front door, before any application has seen it."""

    @property
    def continues(self) -> bool:
        """Whether the client waits for 100 Continue before its body: RFC 9110 section 10.1.1."""
        if self._match_info is not None:  # an application that has routed it has given that leave
            return False
        expected = self.headers.get("Expect", "").lower() == "100-continue"
        return expected and self.version >= HttpVersion11

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        """Do what an application does with its signal `on_response_prepare`."""
        wire.adjust(response)
        wire.let_page_read(self, response)
        if self._match_info is not None:
            await super()._prepare_hook(response)


def incoming(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> Incoming:
    """Create a request from what aiohttp parsed; a factory for its server."""
    return Incoming(message, payload, protocol, writer, task, task.get_loop())


async def _welcome(request: web.BaseRequest) -> None:
    """Send 100 Continue if the client expects it: the body is about to be read."""
    if isinstance(request, Incoming) and request.continues:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0


async def _next(content: StreamReader, seconds: float, most: int) -> bytes:
    """Read the next piece of a body that jobstore consumes.

    Slow senders are accepted, but not those who send nothing at all: they may do so on purpose.
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
    """The body of a request that becomes a job, if its sender may still submit it then."""

    def __init__(self, request: web.Request) -> None:
        super().__init__(request)
        self._sender = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _telling_broken():
            await _welcome(self._request)
        async for piece in pieces(self._request):
            yield piece
        standing.confirm(self._sender)
        standing.changing(self._sender)


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


def received(request: web.BaseRequest, headers: Headers) -> Request:
    """Read a request from a socket; its body, if any, is a stream.

    Args:
        headers: its headers that are passed on.
    """
    return Request(
        method=request.method,
        path=path_of(request),
        headers=headers,
        body=_Body(request) if request.body_exists else b"",
    )


async def gathered(request: web.Request) -> Body:
    """Read a small body at once, which is cheaper than streaming; return a larger one as it is.

    Raises:
        BodyBroken: the body ended before its announced end.
        Revoked: its sender's access was revoked meanwhile.
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
    standing.confirm(request)
    return body


async def pieces(
    request: web.BaseRequest, seconds: float = wire.BODY_SECONDS, ahead: int = _AHEAD
) -> AsyncIterator[bytes]:
    """Read a body that jobstore consumes, as it arrives.

    Args:
        seconds: how long to wait for the next piece.
        ahead: how much is received before it is read, in bytes.

    Raises:
        BodyBroken: it ended before its announced end.
        BodyStalled: nothing more of it arrives.
    """
    content = request.content
    content.set_read_chunk_size(ahead)
    while not content.at_eof():
        yield await _next(content, seconds, min(_PIECE, ahead))
    error = content.exception()  # which at_eof passes over
    if error is not None:
        with _telling_broken():
            raise error
