"""A proxy that cuts connections, at random byte offsets or all at once, or falls silent."""

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


def _flowing() -> asyncio.Event:
    flows = asyncio.Event()
    flows.set()
    return flows


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
    _open: set[Connection] = field(default_factory=set)
    _up: asyncio.Event = field(default_factory=_flowing)
    _down: asyncio.Event = field(default_factory=_flowing)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass one connection on."""
        self._connections += 1
        cut = self._cut(stream(self.seed, "proxy", self.name, self._connections))
        await self._up.wait()
        try:
            above = await connect(self.server)
        except OSError:
            hang_up(writer, reset=True)
            return
        below, reset = Connection(reader, writer), False
        self._open |= {below, above}
        try:
            reset = await self._pump(below, above, cut)
        finally:
            self._open -= {below, above}
            for each in (writer, above.writer):
                hang_up(each, reset=reset)

    def drop(self, *, reset: bool) -> None:
        """Cut all connections there are just now."""
        for each in self._open:
            hang_up(each.writer, reset=reset)

    @asynccontextmanager
    async def silent(self, *, upwards: bool, downwards: bool) -> AsyncIterator[None]:
        """Pass nothing on while the context lasts, not even that a connection has ended.

        Args:
            upwards: whether the server hears nothing.
            downwards: whether its clients hear nothing.
        """
        gates = [gate for gate, shut in ((self._up, upwards), (self._down, downwards)) if shut]
        for gate in gates:
            gate.clear()
        try:
            yield
        finally:
            for gate in gates:
                gate.set()

    def _cut(self, chance: Random) -> _Cut | None:
        spared = chance.random() < _SPARED
        offset = int(2 ** chance.uniform(_LEAST_EXPONENT, _MOST_EXPONENT))
        upwards, reset = bool(chance.getrandbits(1)), bool(chance.getrandbits(1))
        return None if spared or not self.cutting else _Cut(upwards, offset, reset)

    async def _pump(self, below: Connection, above: Connection, cut: _Cut | None) -> bool:
        """Pass on what comes until one side ends or the connection is cut; tell how to close it."""
        ways = [
            asyncio.create_task(
                _flow(below, above, self._up, cut if cut and cut.upwards else None)
            ),
            asyncio.create_task(
                _flow(above, below, self._down, None if cut and cut.upwards else cut)
            ),
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
    source: Connection, sink: Connection, gate: asyncio.Event, cut: _Cut | None
) -> bool:
    """Pass on what comes one way, while the gate is open; tell whether it was cut."""
    with suppress(OSError):
        while piece := await source.reader.read(_PIECE):
            await gate.wait()
            if cut and len(piece) > cut.left:
                sink.writer.write(piece[: cut.left])
                return True
            if cut:
                cut.left -= len(piece)
            await sink.send(piece)
    await gate.wait()
    return False


@asynccontextmanager
async def listening(proxy: Proxy) -> AsyncIterator[Proxy]:
    """Listen while the context lasts."""
    async with services.listening(proxy.pass_on) as proxy.url:
        yield proxy
