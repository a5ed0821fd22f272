"""Requests that cannot be parsed or served: one plain answer, and one line in the log.

aiohttp's own answers and log entries repeat the input, including passwords.
"""

import logging
import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from aiohttp import StreamReader, hdrs, web
from aiohttp.http import HttpVersion10, HttpVersion11
from aiohttp.http_exceptions import (
    BadHttpMessage,
    BadHttpMethod,
    BadStatusLine,
    HttpProcessingError,
    InvalidURLError,
    LineTooLong,
)
from aiohttp.web_protocol import _ErrInfo

from jobstore.http import private
from jobstore.model.message import HeadLimits, loggable
from jobstore.web import wire
from jobstore.web.connection import ClientConnection

_SPOKEN: Final = (HttpVersion11, HttpVersion10)
_ONLY: Final = "expected HTTP/1.1; other versions are not supported"


class _HeadTooLongError(BadHttpMessage):
    """A head is too long."""


# What could not be parsed: aiohttp's class for it, words in its message, and how it is answered.
_REFUSALS: Final[tuple[tuple[type[HttpProcessingError], str, int, str], ...]] = (
    (_HeadTooLongError, "", 431, "expected a head of at most {0.size} bytes"),
    (LineTooLong, "", 431, "expected request line and fields of at most {0.field_size} bytes each"),
    (BadHttpMethod, "HTTPS", 400, "expected plain HTTP, not TLS"),
    (BadHttpMethod, "", 400, "expected an HTTP/1.1 request with a valid method"),
    (BadStatusLine, "HTTP version", 505, _ONLY),
    (BadStatusLine, "", 400, "expected a request line such as GET / HTTP/1.1"),
    (InvalidURLError, "", 400, "expected a path, percent-encoded, in the request line"),
    (BadHttpMessage, "Too many headers", 431, "expected at most {0.fields} header fields"),
    (BadHttpMessage, "Pause on PRI", 505, _ONLY),
)
_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE"
_HEAD_END: Final = re.compile(rb"\r\n\r\n")
# What the parser says before it repeats what it has read; all of it is its own words.
_OWN_WORDS: Final = re.compile(
    r"([A-Za-z][A-Za-z `/'-]{2,80}):\n\n|((?:Missing|Duplicate) '.{1,40}' .*)"
)

log = logging.getLogger(__name__)


class FrontConnection(ClientConnection):
    """A client's connection that answers invalid HTTP plainly, and logs nothing of its content.

    Such an answer is the last one, but the client may still be sending. If the connection were
    closed before all of that is read, its system would drop the answer (RFC 9112 section 9.6). So
    only our side is closed, and what comes is read and dropped, for as long as aiohttp does so with
    the rest of a body.

    Args:
        arguments: aiohttp's own arguments.
        limits: the limits for the head of a request.
        options: aiohttp's own keyword arguments.
    """

    __slots__ = ("_dropped", "_head_size", "_limits", "_refused")

    def __init__(self, *arguments: Any, limits: HeadLimits, **options: Any) -> None:
        super().__init__(
            *arguments,
            max_line_size=limits.field_size,
            max_field_size=limits.field_size,
            max_headers=limits.fields,
            **options,
        )
        self._limits = limits
        self._head_size = 0
        self._refused = False
        # For aiohttp, what follows a refusal is the body of a request, which nobody reads.
        self._dropped: StreamReader | None = None

    def close(self) -> None:
        """Close the connection once its requests are answered."""
        super().close()
        self._drop_no_more()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Wait no longer for what the client still sends."""
        self._drop_no_more()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override] # as its own base has it
        """Wait no longer for what the client still sends."""
        self._drop_no_more()
        return super().eof_received()

    def _drop_no_more(self) -> None:
        if self._dropped is not None:
            self._dropped.feed_eof()

    def data_received(self, data: bytes) -> None:
        """Parse the data, up to the longest allowed head."""
        if self._refused:
            return
        room = self._limits.size - self._head_size
        if len(data) > room and self._reads_head() and not _HEAD_END.search(data, 0, room):
            self._refuse(_HeadTooLongError(""))
            return
        before, reads_head = self._request_count, self._reads_head()
        try:
            super().data_received(data)
        except Exception:  # noqa: BLE001 - of the parser, which repeats what it has read
            self._refuse(BadHttpMessage(""))
        last = self._messages[-1][0] if self._messages else None
        if isinstance(last, _ErrInfo):
            self._messages.pop()
            self._end_with(last)
        within = reads_head and before == self._request_count and self._reads_head()
        self._head_size = self._head_size + len(data) if within else 0

    def _reads_head(self) -> bool:
        """Return whether the next data is a head, not the rest of a body."""
        if self._messages:
            return self._messages[-1][1].is_eof()
        if self._current_request is not None:
            return self._current_request.content.is_eof()
        return self._waiter is not None  # else a request is just on its way to its handler

    def _refuse(self, error: HttpProcessingError) -> None:
        """Answer an error after all earlier requests, and nothing after it, as aiohttp does."""
        self._request_count += 1
        self._end_with(_ErrInfo(error.code, error, ""))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end_with(self, refusal: _ErrInfo) -> None:
        self._refused = True
        self._dropped = StreamReader(self, self._limits.size, loop=self._loop)
        self._messages.append((refusal, self._dropped))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; after a refusal, close our side of the connection."""
        sent = await super().finish_response(request, resp, start_time)
        if request.content is self._dropped:
            self._close_side()
        return sent

    def _close_side(self) -> None:
        if self.transport is None or not self.transport.can_write_eof():  # with TLS
            self._drop_no_more()
        elif not self.transport.is_closing():
            self.transport.write_eof()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer input that could not be parsed; handlers' errors are logged by aiohttp."""
        if isinstance(exc, ConnectionError):  # an answer broke off, with its client or its target
            log.info("an answer broke off: %s", loggable(exc), extra={"action": "answer"})
            raise exc
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        status, detail = _refusal(exc, self._limits)
        _log_refusal(self.peername, detail)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer is already being sent")
        return _closing(request, wire.problem(status, detail))


def refusal(request: web.Request) -> web.StreamResponse | None:
    """Answer a valid request that cannot be served here; None for any other."""
    version, headers = private.version_of(request), request.headers
    if version not in _SPOKEN:
        return _refused(request, 505, _ONLY)
    if request.method == "CONNECT":
        return _refused(request, 501, "CONNECT is not supported")
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and (coding.lower() != "chunked" or version is HttpVersion10):
        return _refused(request, 501, "expected no transfer coding except chunked, in HTTP/1.1")
    expected = headers.get(hdrs.EXPECT)
    if expected is not None and expected.lower() != "100-continue":
        return _refused(request, 417, "expected no Expect except 100-continue")
    return _of_target(request)


def _of_target(request: web.Request) -> web.StreamResponse | None:
    """Answer a request whose target is not a path that can be passed on."""
    target = request.raw_path
    if "#" in target:
        return _refused(request, 400, "expected a path without a fragment: write # as %23")
    if target == "*":  # RFC 9110 section 9.3.7: it asks about the server, as a ping does
        return web.Response(status=204, headers={"Allow": _METHODS})
    return None


def _refused(request: web.BaseRequest, status: int, detail: str) -> web.StreamResponse:
    _log_refusal(request.remote, detail)
    return _closing(request, wire.problem(status, detail))


def _closing(request: web.BaseRequest, response: web.Response) -> web.StreamResponse:
    """Make an answer the last one of its connection, as HTTP/1.1."""
    private.set_version(request, HttpVersion11)  # aiohttp would answer in the request's
    response.force_close()
    return response


def _log_refusal(peer: str | Sequence[object] | None, detail: str) -> None:
    address = peer if isinstance(peer, str | None) else peer[0]
    log.info("refused a request from %s: %s", address, detail, extra={"action": "refuse"})


def _refusal(error: HttpProcessingError, limits: HeadLimits) -> tuple[int, str]:
    """Return the status and message for input that could not be parsed; neither repeats it."""
    for kind, words, status, detail in _REFUSALS:
        if isinstance(error, kind) and words in error.message:
            return status, detail.format(limits)
    own = _OWN_WORDS.match(error.message)
    reason = f": {own[1] or own[2]}" if own else ""
    return HTTPStatus.BAD_REQUEST, f"the request is not valid HTTP/1.1{reason}"
