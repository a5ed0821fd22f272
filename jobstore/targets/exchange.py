"""One connection to a service: sending a request, finding the end of the answer, limiting its head.

aiohttp parses everything that arrives at once, so an error in what follows an answer would cost
the answer itself. Here, an answer whose end has arrived is complete, whatever follows it: RFC
9112 section 6.3. The connection is not reused then.

Tests that answer byte by byte fail if a release of aiohttp changes how it reads.
"""

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from aiohttp import EMPTY_PAYLOAD, ClientPayloadError, ServerDisconnectedError, StreamReader
from aiohttp.client_proto import ResponseHandler
from aiohttp.http import HttpResponseParser, RawResponseMessage
from aiohttp.http_exceptions import BadHttpMessage, HttpProcessingError, LineTooLong

from jobstore.http import private
from jobstore.http.tunnel import Side, TunnelProtocol
from jobstore.model.message import HeadLimits

# The end of the last line is left out: a pattern that begins with one certain byte is found faster.
_HEAD_END: Final = re.compile(rb"\n\r?\n")
_LONGEST_END: Final = 3
_SWITCHED: Final = 101
_INFORMATIONAL: Final = range(100, 200)  # RFC 9110 section 15.2
_BUFFER: Final = 64 * 1024  # bytes of a body that wait for their reader before no more are read
_TOO_MANY: Final = "Too many headers"  # aiohttp has no class of its own for this

# The head of an answer, and its body as far as it has come.
Received: TypeAlias = tuple[RawResponseMessage, StreamReader]


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
        self._read_bufsize = _BUFFER
        self._limits = limits
        self._new_parser: Final = partial(
            HttpResponseParser,
            loop=loop,
            limit=_BUFFER,
            payload_exception=ClientPayloadError,
            read_until_eof=True,
            auto_decompress=False,
            max_line_size=limits.field_size,
            max_field_size=limits.field_size,
            max_headers=limits.fields,
        )
        self._in_head = False
        self._head_size = 0
        self._ending = b""
        self._body = EMPTY_PAYLOAD
        self._received: Received | None = None
        self._told: Callable[[], None] | None = None
        self._side: Side | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is left to read, so that another request may be sent."""
        transport = self.transport
        return (
            transport is not None
            and not transport.is_closing()
            and self._body.is_eof()
            and not (self._should_close or self._exception or self._upgraded or self._tail)
        )

    def ask(self, method: str, data: bytes, told: Callable[[], None] | None = None) -> None:
        """Send a request; if the connection is gone, there will be no answer.

        Args:
            method: its method, since an answer to HEAD has no body.
            data: its head, and its body unless that is sent afterwards.
            told: called once `answer` can be called.
        """
        self._expect(method)
        self._told = told
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _expect(self, method: str) -> None:
        """Prepare for the answer to a request that is about to be sent."""
        self._received = None
        self._in_head = True
        self._head_size = 0
        self._ending = b""
        self._skip_payload = method == "HEAD"
        self._parser = self._new_parser(self, response_with_body=not self._skip_payload)

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

    async def answered(self) -> Received:
        """Wait for the head of the answer, and return it as `answer` does."""
        if not (self._received or self._exception):
            answered = asyncio.get_running_loop().create_future()
            self._told = partial(_wake, answered)
            await answered
        return self.answer()

    def forget(self) -> None:
        """Tell nobody of the answer."""
        self._told = None

    def answer(self) -> Received:
        """Return the head of the answer, and its body as far as it has come.

        Raises:
            ClientError: the connection broke.
            HttpProcessingError: the data is not a valid answer.
            OSError: the connection broke.
        """
        if self._received is not None:
            return self._received
        raise self._exception or ServerDisconnectedError

    def _tell(self) -> None:
        told = self._told
        if told is not None and (self._received or self._exception):
            self._told = None
            told()

    def feed_data(self, data: Received, size: int = 0) -> None:  # noqa: ARG002 - aiohttp's signature
        """Accept a message whose head is complete; an informational one is no answer."""
        message, body = data
        if not self._in_head:
            self._should_close = True  # nobody has asked for it
        elif message.code not in _INFORMATIONAL or message.code == _SWITCHED:
            self._in_head, self._received, self._body = False, data, body

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell whoever waits for the answer that there will be none."""
        super().connection_lost(exc)
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Parse the data, and tell whoever waits if there is an answer now."""
        if self._side is None:
            self._parse(data)
            self._tell()
        else:
            self._side.received(data)

    def _parse(self, data: bytes) -> None:
        """Parse the data; a head is parsed by itself, so an error behind it does not cost it."""
        while data and self._in_head and self._parser is not None and self._exception is None:
            head, data = self._cut(data)
            self._head_size += len(head)
            if self._head_size > self._limits.size:
                self._refuse()
                return
            super().data_received(head)
        if self._exception is None and (data or not self._in_head):
            super().data_received(data)

    def _cut(self, data: bytes) -> tuple[bytes, bytes]:
        """Split off the data that belongs to the head being read."""
        seen = self._ending + data
        found = _HEAD_END.search(seen)
        self._ending = b"" if found else seen[1 - _LONGEST_END :]
        end = found.end() - (len(seen) - len(data)) if found else len(data)
        return data[:end], data[end:]

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Resume reading, if it was paused: it is called for each body."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

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


def _wake(answered: "asyncio.Future[None]") -> None:
    if not answered.done():
        answered.set_result(None)


def _too_large(problem: str, limit: str) -> HeadTooLargeError:
    return HeadTooLargeError(
        message=f"the head of the target's response {problem}: see [http] {limit}"
    )
