"""Bodies on their way between two coroutines."""

import asyncio
from typing import Final

from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol

BOUND: Final = 256 * 1024  # bytes that may wait for their reader before the source has to wait


class ReadFlow(BaseProtocol):
    """The part of a connection that a StreamReader uses: nothing of it depends on the body.

    Attributes:
        loop: the loop on which bodies are read.
    """

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        super().__init__(self.loop)

    @property
    def connected(self) -> bool:
        """Whether a reader may wait for more; a broken body raises an exception instead."""
        return True

    def pause_reading(self) -> None:
        """Do nothing: everything has been read."""

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's signature
        """Do nothing: no more data will come."""


class _Flow(ReadFlow):
    """Something whose reading can be paused and resumed."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()
        self.room.set()

    def pause_reading(self) -> None:
        """Pause the source."""
        self.room.clear()

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: ARG002, FBT001, FBT002 - aiohttp's signature
        """Resume the source."""
        self.room.set()


def whole(body: bytes, flow: ReadFlow) -> StreamReader:
    """Return a reader of a complete body."""
    reader = StreamReader(flow, max(BOUND, len(body)), loop=flow.loop)
    reader.feed_data(body)
    reader.feed_eof()
    return reader


class Pipe:
    """A bounded buffer between a coroutine and the reader of a body, without a connection."""

    def __init__(self) -> None:
        self._flow = _Flow()
        self.reader = StreamReader(self._flow, BOUND // 2)  # which pauses at twice this limit

    async def feed(self, chunk: bytes) -> None:
        """Add a chunk, and wait until there is room for another."""
        self.reader.feed_data(chunk)
        await self.room()

    async def room(self) -> None:
        """Wait until the reader has room."""
        await self._flow.room.wait()
