"""A proxy that cuts connections at random byte offsets, in either direction."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Final

from trials.chaos.chance import stream
from trials.chaos.client import Address, hang_up

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
        server: where connections lead to; may be changed at any time.
        cutting: whether to cut connections at all.
        cuts: how many were cut.
        address: where it listens.
    """

    seed: int
    name: str
    server: Address = ("", 0)
    cutting: bool = True
    cuts: int = 0
    address: Address = field(init=False)
    _connections: int = 0

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        self._connections += 1
        cut = self._cut(stream(self.seed, "proxy", self.name, self._connections))
        try:
            above = await asyncio.open_connection(*self.server)
        except OSError:
            hang_up(writer, reset=True)
            return
        reset = False
        try:
            reset = await self._pump((reader, writer), above, cut)
        finally:
            for each in (writer, above[1]):
                hang_up(each, reset=reset)

    def _cut(self, chance: Random) -> _Cut | None:
        spared = chance.random() < _SPARED
        offset = int(2 ** chance.uniform(_LEAST_EXPONENT, _MOST_EXPONENT))
        upwards, reset = bool(chance.getrandbits(1)), bool(chance.getrandbits(1))
        return None if spared or not self.cutting else _Cut(upwards, offset, reset)

    async def _pump(
        self,
        below: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        above: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        cut: _Cut | None,
    ) -> bool:
        """Pass on what comes until one side ends or the connection is cut; tell how to close it."""
        ways = [
            asyncio.create_task(_flow(below[0], above[1], cut if cut and cut.upwards else None)),
            asyncio.create_task(_flow(above[0], below[1], None if cut and cut.upwards else cut)),
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


async def _flow(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, cut: _Cut | None
) -> bool:
    """Pass on what comes one way; tell whether it was cut."""
    with suppress(OSError):
        while piece := await reader.read(_PIECE):
            if cut and len(piece) > cut.left:
                writer.write(piece[: cut.left])
                return True
            if cut:
                cut.left -= len(piece)
            writer.write(piece)
            await writer.drain()
    return False


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[Proxy]:
    """Listen while the context lasts."""
    server = await asyncio.start_server(proxy.pass_on, "127.0.0.1", 0)
    proxy.address = server.sockets[0].getsockname()[:2]
    try:
        yield proxy
    finally:
        server.close()
