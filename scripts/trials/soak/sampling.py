"""What is seen from outside while a server works, again and again."""

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trials import process
from trials.soak.tally import Latency, Tally

# How often the WAL's size is looked at between two samples: it comes and goes.
_LOOKS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was seen at the end of an interval.

    Args:
        seconds: since the beginning.
        memory: of the server, in bytes.
        file: how large its file is, in bytes.
        wal: how large the WAL was at most in the interval, in bytes.
        descriptors: how many it has open.
        server_cpu: how much of a processor it has used in the interval; 1 is all of one.
        client_cpu: the same of the clients.
        client_memory: of the clients, in bytes.
        dialects: how long answers took in the interval, by dialect.
        calls: the same by call.
    """

    seconds: float
    memory: int
    file: int
    wal: int
    descriptors: int
    server_cpu: float
    client_cpu: float
    client_memory: int
    dialects: dict[str, Latency]
    calls: dict[str, Latency]


class Observer:
    """Look at a server and its file from outside.

    Args:
        pid: its process.
        store: its file.
        tally: what its clients see.
    """

    def __init__(self, pid: int, store: Path, tally: Tally) -> None:
        self._pid = pid
        self._store = store
        self._wal = store.with_name(f"{store.name}-wal")
        self._tally = tally
        self._began = self._at = time.monotonic()
        self._used = self._cpu()

    async def sample(self, interval: float) -> Sample:
        """Wait for an interval, in seconds, and tell what was seen in it."""
        wal = 0
        end = self._at + interval
        for look in range(_LOOKS, 0, -1):
            await asyncio.sleep((end - time.monotonic()) / look)
            wal = max(wal, _size(self._wal))
        return self._sample(wal)

    def _sample(self, wal: int) -> Sample:
        server, client = self._shares()
        dialects, calls = self._tally.interval()
        return Sample(
            seconds=round(self._at - self._began, 3),
            memory=process.memory(self._pid),
            file=_size(self._store),
            wal=wal,
            descriptors=process.descriptors(self._pid),
            server_cpu=server,
            client_cpu=client,
            client_memory=process.memory(os.getpid()),
            dialects=dialects,
            calls=calls,
        )

    def _shares(self) -> tuple[float, float]:
        """Tell how much of a processor server and clients have used since the last time."""
        at, used = time.monotonic(), self._cpu()
        passed = at - self._at
        server, client = (
            round((now - before) / passed, 3) for now, before in zip(used, self._used, strict=True)
        )
        self._at, self._used = at, used
        return server, client

    def _cpu(self) -> tuple[float, float]:
        return process.cpu_seconds(self._pid), process.cpu_seconds(os.getpid())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # the WAL goes away with the last connection
        return 0
