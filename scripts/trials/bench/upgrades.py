"""What it costs to stand between two ends of a WebSocket, beside the least that a relay can do.

``python -m trials.bench.upgrades echo`` is a service that switches to WebSockets and gives back
what comes; ``relay PORT`` passes the bytes of each connection on to that port and back, copied
twice and not looked at; ``send PORT MIB SIZE`` sends frames through a connection, and prints how
many seconds it took until all had come back.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from functools import partial
from typing import Any, Final

from trials.bench.figures import Case, Row, Sample, interleaved
from trials.bench.loads import KIB
from trials.bench.plan import Plan, Yard, processor_time
from trials.serving import Server

KEYS: Final = ("upgrade",)
_MIB: Final = 2**20
# How many MiB go each way in a round, and in frames of which size.
_FRAMES: Final = ((256, 64 * KIB), (16, KIB))
_HEAD: Final = (
    b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
_SWITCHED: Final = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
)
_END: Final = b"\r\n\r\n"


def rows(plan: Plan) -> Iterator[Row]:
    """Measure both, side by side."""
    if plan.wants(*KEYS):
        with plan.yard() as yard:
            service = yard.program("-m", "trials.bench.upgrades", "echo")
            relay = yard.program("-m", "trials.bench.upgrades", "relay", str(service.port))
            through = yard.jobstore("upgrade", "--upstream", service.url)
            for mib, size in _FRAMES:
                cases = _cases(yard, relay, through, plan.many(mib), size)
                yield from interleaved([*cases], plan.rounds)


def _cases(yard: Yard, relay: Server, through: Server, mib: int, size: int) -> Iterator[Case]:
    what = f"frames of {size // KIB} KiB through"
    base = Case("upgrade", f"{what} a bare relay", "MiB/s", partial(_sent, yard, relay, mib, size))
    yield base
    case = Case("upgrade", f"{what} jobstore", "MiB/s", partial(_sent, yard, through, mib, size))
    yield case.to(base)


def _sent(yard: Yard, server: Server, mib: int, size: int) -> Sample:
    """Send so much; the processor time is that for one MiB each way."""
    before = processor_time([server.pid])
    told = yard.python("-m", "trials.bench.upgrades", "send", str(server.port), str(mib), str(size))
    cpu = processor_time([server.pid]) - before
    return Sample(2 * mib / float(told), cpu / mib * 1e6)


# --- the programs -------------------------------------------------------------------------------


class _Piped(asyncio.Protocol):
    """One end of a relay: what comes here is written there."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.other: _Piped | None = None
        self.early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def join(self, other: "_Piped") -> None:
        """Pass on from now on what comes, and what has come already."""
        self.other = other
        other.transport.write(self.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self.other is not None:
            self.other.transport.close()


class _Front(_Piped):
    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._task = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        _, back = await loop.create_connection(_Piped, "127.0.0.1", self._port)
        back.join(self)
        self.join(back)


class _Echo(_Piped):
    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
            if _END in self.early:
                self.transport.write(_SWITCHED)
                self.early = self.early.partition(_END)[2]
                self.join(self)
        else:
            self.transport.write(data)


async def _serve(make: Callable[[], asyncio.Protocol]) -> None:
    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _send(port: int, mib: int, size: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4 * _MIB)
    writer.write(_HEAD)
    await reader.readuntil(_END)
    frame = b"\x82\xff" + size.to_bytes(8, "big") + bytes(4 + size)
    some = frame * max(1, 64 * KIB // size)
    rounds = mib * _MIB // len(some)
    began = time.perf_counter()

    async def flood() -> None:
        for _ in range(rounds):
            writer.write(some)
            await writer.drain()

    flooding = asyncio.create_task(flood())
    left = rounds * len(some)
    while left:
        left -= len(await reader.read(_MIB))
    await flooding
    print(time.perf_counter() - began)
    writer.close()


_PROGRAMS: Final[dict[str, Callable[..., Coroutine[Any, Any, None]]]] = {
    "echo": lambda: _serve(_Echo),
    "relay": lambda port: _serve(partial(_Front, port)),
    "send": _send,
}

if __name__ == "__main__":
    asyncio.run(_PROGRAMS[sys.argv[1]](*map(int, sys.argv[2:])))
