"""The request of a call without a socket: the body that a handler reads."""

from collections.abc import Callable
from typing import Final

from aiohttp import EMPTY_PAYLOAD, web
from aiohttp.http_exceptions import ContentEncodingError
from aiohttp.http_parser import DeflateBuffer

from jobstore.model.message import Request, chunks, header
from jobstore.targets.pipe import Pipe, ReadFlow, whole

# aiohttp's parser undoes these by itself, so that no handler on a socket ever sees them.
_CODINGS: Final = frozenset({"gzip", "deflate", "br", "zstd"})


class Upload:
    """The body of a request on its way to the handler.

    Args:
        request: the request; its body is read no faster than the handler reads it.
        flow: the connection of bodies that are complete.
    """

    def __init__(self, request: Request, flow: ReadFlow) -> None:
        self.payload = EMPTY_PAYLOAD
        self.pending = False
        self._body = request.body
        if request.body != b"":
            self._open(header(request.headers, "content-encoding"), flow)

    def _open(self, coding: str | None, flow: ReadFlow) -> None:
        self._coding = coding.lower() if coding and coding.lower() in _CODINGS else None
        if isinstance(self._body, bytes) and not self._coding:
            self.payload = whole(self._body, flow)
        else:
            self.pending = True
            self._pipe = Pipe()
            self.payload = self._pipe.reader

    async def pour(self, fail: Callable[[Exception], None]) -> None:
        """Feed a streaming body to the handler.

        Args:
            fail: called with the error if the body breaks off, which is not the handler's fault.
        """
        try:
            await self._pour()
        except ContentEncodingError as exc:
            self.payload.set_exception(web.RequestPayloadError(str(exc)))
        except Exception as exc:  # noqa: BLE001 - whatever it was, the sender has to know
            fail(exc)

    async def _pour(self) -> None:
        out = DeflateBuffer(self.payload, self._coding) if self._coding else self.payload
        async for chunk in chunks(self._body):
            more = out.feed_data(chunk, len(chunk))
            await self._pipe.room()
            while more:  # what was compressed comes out piece by piece
                more = out.feed_data(b"", 0)
                await self._pipe.room()
        out.feed_eof()
