"""The response of a call without a socket: what a handler writes to."""

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import ClientConnectionResetError, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.compression_utils import ZLibCompressor

from jobstore.model.errors import TargetBroken
from jobstore.model.frozen import frozen
from jobstore.model.message import (
    FINAL,
    Body,
    Headers,
    Response,
    bodiless,
    end_to_end,
    own_phrase,
    unsendable,
)
from jobstore.targets.pipe import Pipe

if TYPE_CHECKING:
    from multidict import CIMultiDict


class Answer(AbstractStreamWriter):
    """The response as the handler writes it and the sender takes it.

    Args:
        method: the request's method, since an answer to HEAD has no body.
    """

    def __init__(self, method: str, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.begun: asyncio.Future[None] = self._loop.create_future()
        self.length = None
        self._method = method
        self._bodiless = False
        self._status = 0
        self._reason = ""
        self._headers: Headers = ()
        self._size: int | None = None
        self._whole = b""
        self._pipe: Pipe | None = None
        self._compressor: ZLibCompressor | None = None
        self._error: Exception | None = None
        self._ended = False
        self._closed = False

    # The sender's side.

    def response(self) -> Response:
        """Return the response; its body is a stream unless the handler has finished.

        Raises:
            TargetBroken: the handler gave none.
        """
        if self._error:
            raise self._error
        if self._status not in FINAL:  # it is 0 where a response object was used a second time
            raise TargetBroken("the handler sent no final response")
        reason = own_phrase(self._status, self._reason)
        return Response(
            status=self._status, reason=reason, headers=self._headers, body=self._body()
        )

    def _body(self) -> Body:
        if not self._pipe:
            return self._whole
        if self._pipe.reader.is_eof():
            return self._pipe.reader.read_nowait()
        return _Rest(self._size, self._pipe.reader)

    def finish(self) -> None:
        """End the response: its handler has finished.

        The reader is told of the end only now, so that reading the whole response does not break
        off what the handler still does after its last byte.
        """
        if self.length and not self._bodiless:
            self.fail(TargetBroken("the handler wrote less than it had announced"))
        elif self._pipe:
            self._pipe.reader.feed_eof()
        self._end()

    def fail(self, error: Exception) -> None:
        """Break the response off, unless it has already ended."""
        if not self._ended:
            self._error = error
            if self._pipe:
                self._pipe.reader.set_exception(error)
            self._end()

    def _end(self) -> None:
        self._ended = True
        self._begin()

    def _begin(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)

    def close(self) -> None:
        """Accept no more data."""
        self._closed = True

    # The handler's side, which is aiohttp's interface.

    def give(self, status: int, reason: str, headers: Headers, body: bytes) -> None:
        """Accept a complete response at once.

        Raises:
            TargetBroken: its head cannot be sent.
        """
        if problem := unsendable(headers, reason):
            raise TargetBroken(f"the head of the response {problem}")
        self._status, self._reason, self._headers = status, reason, end_to_end(headers)
        self._whole = self._accept(body)

    async def write_headers(self, status_line: str, headers: "CIMultiDict[str]") -> None:
        """Note the head of the response; another one may replace it until it is sent."""
        items = tuple(headers.items())
        if problem := unsendable(items, status_line):
            raise TargetBroken(f"the head of the response {problem}")
        _, status, self._reason = status_line.split(" ", 2)
        self._status = int(status)
        self._headers = end_to_end(items)
        self._size = self.length
        self._bodiless = bodiless(self._method, self._status)

    def send_headers(self) -> None:
        """Hand over the response, if the handler is still running in the loop's next round.

        Waiting for the end, or for some amount, would hold back a slow stream; not
        waiting at all would turn complete answers into streams.
        """
        self.output_size = self.output_size or 1  # aiohttp asks whether anything has been sent
        if not self._bodiless and not self._pipe:
            self._pipe = Pipe()
            self._loop.call_soon(self._begin)

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """Add to the body, and wait while the reader's buffer is full."""
        data = bytes(chunk)  # since the handler may use its buffer again
        if self._compressor:
            data = await self._compressor.compress(data)
        await self._put(data)

    async def write_eof(self, chunk: bytes = b"") -> None:
        """Add the last part of the body, which is usually all of it."""
        data = bytes(chunk)
        if self._compressor:
            data = await self._compressor.compress(data) + self._compressor.flush()
        if self._pipe:
            await self._put(data)
        else:
            self._whole = self._accept(data)

    async def _put(self, data: bytes) -> None:
        self.send_headers()
        data = self._accept(data)
        if self._pipe and data:
            await self._pipe.feed(data)
        else:  # a handler that writes what nobody gets must not hold up the loop
            await asyncio.sleep(0)

    def _accept(self, data: bytes) -> bytes:
        if self._closed:
            raise ClientConnectionResetError("no client is waiting for the answer any more")
        if self._bodiless:
            return b""
        if self.length is not None:
            data = data[: self.length]
            self.length -= len(data)
        self.output_size += len(data)
        return data

    async def drain(self) -> None:
        """Do nothing: each write has waited for room already."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        """Compress everything written from now on."""
        self._compressor = ZLibCompressor(encoding=encoding, strategy=strategy)

    def enable_chunking(self) -> None:
        """Do nothing: chunked encoding belongs to a connection."""


@frozen
class _Rest:
    """A body that its handler is still writing."""

    size: int | None
    reader: StreamReader

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self.reader.iter_any()
