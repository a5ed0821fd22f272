"""A proxy that cuts connections at random byte offsets, in either direction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from trials import services
from trials.chaos.chance import stream
from trials.sockets import Connection, connect, hang_up

# Offsets are as likely to lie between 64 and 128 bytes as between 1 and 2 MiB.
_LEAST_EXPONENT: Final = 4.0
_MOST_EXPONENT: Final = 22.5
_SPARED: Final = 0.1
_PIECE: Final = 64 * 1024


@dataclass(slots=True)
class _Cut:
    """Where a connection is cut.

    Args:
        upwards: whether what the client sends is counted, or what the server answers.
        left: after how many bytes.
        reset: whether the connection is reset, or closed.
    """

    upwards: bool
    left: int
    reset: bool


@dataclass(slots=True)
class Proxy:
    """A proxy before one address.

    Args:
        seed: decides, for each connection by its number, where that is cut.
        name: tells the proxy from others.
        server: the URL that connections lead to; may be changed at any time.
        cutting: whether to cut connections at all.
        cuts: how many were cut.
        url: where it listens.
    """

    seed: int
    name: str
    server: str = ""
    cutting: bool = True
    cuts: int = 0
    url: str = field(init=False)
    _connections: int = 0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        self._connections += 1
        cut = self._cut(stream(self.seed, "proxy", self.name, self._connections))
        try:
            above = await connect(self.server)
        except OSError:
            hang_up(writer, reset=True)
            return
        reset = False
        try:
            reset = await self._pump(Connection(reader, writer), above, cut)
        finally:
            for each in (writer, above.writer):
                hang_up(each, reset=reset)

    def _cut(self, chance: Random) -> _Cut | None:
        spared = chance.random() < _SPARED
        offset = int(2 ** chance.uniform(_LEAST_EXPONENT, _MOST_EXPONENT))
        upwards, reset = bool(chance.getrandbits(1)), bool(chance.getrandbits(1))
        return None if spared or not self.cutting else _Cut(upwards, offset, reset)

    async def _pump(self, below: Connection, above: Connection, cut: _Cut | None) -> bool:
        """Pass on what comes until one side ends or the connection is cut; tell how to close it."""
        ways = [
            asyncio.create_task(_flow(below, above, cut if cut and cut.upwards else None)),
            asyncio.create_task(_flow(above, below, None if cut and cut.upwards else cut)),
        ]
        try:
            done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
        if not any(way.result() for way in done):
            return False
        self.cuts += 1
        return cut is not None and cut.reset


async def _flow(source: Connection, sink: Connection, cut: _Cut | None) -> bool:
    """Pass on what comes one way; tell whether it was cut."""
    with suppress(OSError):
        while piece := await source.reader.read(_PIECE):
            if cut and len(piece) > cut.left:
                sink.writer.write(piece[: cut.left])
                return True
            if cut:
                cut.left -= len(piece)
            await sink.send(piece)
    return False


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[Proxy]:
    """Listen while the context lasts."""
    async with services.listening(proxy.pass_on) as proxy.url:
        yield proxy
