"""One connection to a service: sending a request, finding the end of the answer, limiting its head.

aiohttp parses everything that arrives at once, so an error in what follows an answer would cost
the answer itself. Here, an answer whose end has arrived is complete, whatever follows it: RFC
9112 section 6.3. The connection is not reused then.

Tests that answer byte by byte fail if a release of aiohttp changes how it reads.
"""

import asyncio
import re
from typing import Final

from aiohttp import EMPTY_PAYLOAD, ClientPayloadError, ServerDisconnectedError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import RawResponseMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong

from jobstore.http import private
from jobstore.http.tunnel import Side, TunnelProtocol
from jobstore.model.message import FINAL, HeadLimits

_HEAD_END: Final = re.compile(rb"\r?\n\r?\n")
_LONGEST_END: Final = 4
_SWITCHED: Final = 101
_LOWEST_FINAL: Final = 200
_BUFFER: Final = 64 * 1024  # bytes of a body that wait for their reader before no more are read
_TOO_MANY: Final = "Too many headers"  # aiohttp has no class of its own for this


class HeadTooLargeError(HttpProcessingError):
    """An answer exceeds a configured limit; the message names it."""


class Exchange(TunnelProtocol, ResponseHandler):
    """A connection to a service.

    Args:
        loop: the event loop.
        limits: the limits for an answer's head.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: HeadLimits) -> None:
        super().__init__(loop)
        self._limits = limits
        self._in_head = False
        self._head_size = 0
        self._ending = b""
        self._body = EMPTY_PAYLOAD
        self._side: Side | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to read, so that another request may be sent."""
        return self.is_connected() and not self.should_close

    def expect(self, method: str) -> None:
        """Prepare for the answer to a request that is about to be sent.

        Args:
            method: the request's method, since an answer to HEAD has no body.
        """
        self._in_head = True
        self._head_size = 0
        self._ending = b""
        self.set_response_params(
            skip_payload=method == "HEAD",
            read_until_eof=True,
            auto_decompress=False,
            read_bufsize=_BUFFER,
            max_line_size=self._limits.field_size,
            max_field_size=self._limits.field_size,
            max_headers=self._limits.fields,
        )

    def write(self, data: bytes) -> None:
        """Send something.

        Raises:
            ConnectionError: the connection is gone.
        """
        if self.transport is None or self.transport.is_closing():
            raise ServerDisconnectedError
        self.transport.write(data)

    def break_off(self) -> None:
        """Close the connection, which wakes those who wait for the answer."""
        if self.transport is not None:
            self.transport.close()

    async def drained(self) -> None:
        """Wait until more can be sent.

        Raises:
            ConnectionError: the connection is gone.
        """
        if self.writing_paused:
            await private.drain(self)

    async def answered(self) -> tuple[RawResponseMessage, StreamReader]:
        """Wait for the head of the answer.

        Raises:
            ClientError: the connection broke.
            HttpProcessingError: the data is not a valid answer.
            OSError: the connection broke.
        """
        while True:
            message, payload = await self.read()
            if message.code >= _LOWEST_FINAL or message.code == _SWITCHED:
                return message, payload

    def feed_data(self, data: tuple[RawResponseMessage, StreamReader], size: int = 0) -> None:
        """Accept a message whose head is complete."""
        message, self._body = data
        self._in_head = not (message.code in FINAL or message.code == _SWITCHED)
        super().feed_data(data, size)

    def data_received(self, data: bytes) -> None:
        """Parse the data; a head is parsed by itself, so an error behind it does not cost it."""
        if self._side is not None:
            self._side.received(data)
            return
        while data and self._in_head and self._parser is not None and self.exception() is None:
            head, data = self._cut(data)
            self._head_size += len(head)
            if self._head_size > self._limits.size:
                self._refuse()
                return
            super().data_received(head)
        if self.exception() is None and (data or not self._in_head):
            super().data_received(data)

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """Split off the data that belongs to the head being read."""
        seen = self._ending + data
        found = _HEAD_END.search(seen)
        self._ending = b"" if found else seen[1 - _LONGEST_END :]
        end = found.end() - (len(seen) - len(data)) if found else len(data)
        return data[:end], data[end:]

    # --- once another protocol is spoken --------------------------------------------------------

    @property
    def half_closed(self) -> bool:
        """Whether the service has stopped sending: without a tunnel, that ends the connection."""
        return False

    def switch(self, side: Side) -> bytes:
        """Hand all further events over to a side of a tunnel; return the data received so far."""
        self._side = side
        return private.take_early(self)

    def eof_received(self) -> bool:  # type: ignore[override] # its own base always closes
        """Pass on that the service has stopped sending, or close the connection."""
        if self._side is not None:
            return self._side.end()
        super().eof_received()
        return False

    # --- heads ----------------------------------------------------------------------------------

    def _refuse(self) -> None:
        if self.transport is not None:
            self.transport.close()
        self.set_exception(_too_large(f"is longer than {self._limits.size} bytes", "head_size"))

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Report an error to whoever waits for the answer, if anybody does."""
        if not isinstance(exc, HttpProcessingError):
            super().set_exception(exc, *cause)
        elif not self._in_head and self._body.is_eof():
            self._should_close = True  # the answer is whole, and what follows it is none
            self._parser = None
        else:
            exc = self._named(exc, *cause)
            super().set_exception(exc, *cause)
            if not self._in_head:
                broken = ClientPayloadError()
                broken.__cause__ = exc
                self._body.set_exception(broken)

    def _named(self, exc: HttpProcessingError, *cause: BaseException) -> HttpProcessingError:
        """Return an error that names the exceeded limit, if that is what happened."""
        match cause:
            case (LineTooLong(),):
                problem = f"has a line of more than {self._limits.field_size} bytes"
                return _too_large(problem, "field_size")
            case (BadHttpMessage(message=message),) if message.startswith(_TOO_MANY):
                return _too_large(f"has more than {self._limits.fields} fields", "fields")
        return exc


def _too_large(problem: str, limit: str) -> HeadTooLargeError:
    return HeadTooLargeError(
        message=f"the head of the target's response {problem}: see [http] {limit}"
    )
