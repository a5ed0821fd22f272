"""Durable submits and full cycles per second, as ratios to a bare aiohttp server's 202.

The load comes from a process of its own, over raw sockets: an HTTP client library would eat the
server's core. Only ratios of one run count, since machines differ and drift: the rounds of the
three servers are interleaved, and the median and the range over the rounds are printed.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import re
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
BARE: Final = """
import asyncio, sys
from aiohttp import web

async def accept(request):
    await request.read()
    return web.Response(status=202)

async def main():
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", accept)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("http://127.0.0.1:%d" % runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def message(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    """Write a request as it goes over the wire."""
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: bench\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    )
    return head.encode() + body


class Connection:
    """One keep-alive connection that sends requests and reads answers, and does no more."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> bytes:
        """Send a request, read its answer to the end, and return the answer's head."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)", head)
        if length and int(length[1]):
            await self._reader.readexactly(int(length[1]))
        return head


async def once(connection: Connection, request: bytes) -> None:
    """Ask once: a bare answer, or a durable submit."""
    head = await connection.ask(request)
    assert head.startswith(b"HTTP/1.1 202"), head


async def cycle(connection: Connection, request: bytes) -> None:
    """Submit a job and ask for its result until it is there."""
    head = await connection.ask(request)
    job = re.search(rb"x-arango-async-id: (\d+)", head)
    assert job, head
    fetch = message("PUT", f"/_api/job/{job[1].decode()}")
    while (head := await connection.ask(fetch)).startswith(b"HTTP/1.1 204"):
        pass
    assert head.startswith(b"HTTP/1.1 200"), head


STEPS: Final = {"once": once, "cycle": cycle}


@dataclass(frozen=True)
class Load:
    """What a round asks of a server."""

    port: int
    step: str
    connections: int
    seconds: float
    request: bytes


def drive(load: Load) -> tuple[float, list[float]]:
    """Put a load on a server; return the rate per second and the latencies in milliseconds."""
    return asyncio.run(_drive(load))


async def _drive(load: Load) -> tuple[float, list[float]]:
    latencies: list[float] = []
    step = STEPS[load.step]
    opened = [
        await asyncio.open_connection("127.0.0.1", load.port) for _ in range(load.connections)
    ]
    start = time.perf_counter()

    async def run(connection: Connection) -> None:
        while (before := time.perf_counter()) < start + load.seconds:
            await step(connection, load.request)
            latencies.append((time.perf_counter() - before) * 1000)

    await asyncio.gather(*(run(Connection(*streams)) for streams in opened))
    elapsed = time.perf_counter() - start
    for _, writer in opened:
        writer.close()
    return len(latencies) / elapsed, latencies


@contextmanager
def server(*command: str, cwd: Path) -> Iterator[tuple[int, int]]:
    """Run a server that prints its URL first; give its port and its process id."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, text=True, cwd=cwd
    ) as process:
        try:
            assert process.stdout is not None
            found = next(
                match for line in process.stdout if (match := re.search(r"http://\S+?:(\d+)", line))
            )
            yield int(found[1]), process.pid
        finally:
            process.terminate()


def jobstore(folder: Path, name: str, *options: str) -> tuple[str, ...]:
    """Write the command that serves a store of its own."""
    store = str(folder / f"{name}.db")
    return ("-m", "jobstore", "serve", "--port", "0", "--store", store, *options)


def rates(seconds: float, rounds: int, connections: list[int]) -> Iterator[dict[str, object]]:
    """Measure the rows that are rates, interleaved."""
    body = os.urandom(1024)
    submit = message("POST", "/echo", body, "x-arango-async: store\r\n")
    bare = message("POST", "/echo", body)
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        folder = Path(name)
        (folder / "queue.toml").write_text("[executor]\nconcurrency = 1\nqueue_limit = 100000000\n")
        queueing = jobstore(folder, "queue", "--config", "queue.toml")
        with (
            server("-c", BARE, cwd=folder) as (bare_port, _),
            server(*queueing, cwd=folder) as (queue_port, _),
            server(*jobstore(folder, "cycle"), cwd=folder) as (cycle_port, _),
        ):
            # With its one slot taken for good, this server only takes jobs in.
            blocker = message(
                "GET", "/_admin/sleep?duration=86400", headers="x-arango-async: true\r\n"
            )
            pool.submit(drive, Load(queue_port, "once", 1, 0.0001, blocker)).result()
            loads = {
                "bare 202": (bare_port, "once", bare),
                "durable submit": (queue_port, "once", submit),
                "full cycle": (cycle_port, "cycle", submit),
            }
            for count in connections:
                rows: dict[str, list[tuple[float, list[float]]]] = {row: [] for row in loads}
                for _ in range(rounds + 1):
                    for row, (port, step, request) in loads.items():
                        load = Load(port, step, count, seconds, request)
                        rows[row].append(pool.submit(drive, load).result())
                yield from summary(count, {row: runs[1:] for row, runs in rows.items()})


def summary(
    connections: int, rows: dict[str, list[tuple[float, list[float]]]]
) -> Iterator[dict[str, object]]:
    """Condense the rounds of each row, in relation to the bare server's of the same round."""
    bare = rows["bare 202"]
    for row, runs in rows.items():
        ratios = [rate / base for (rate, _), (base, _) in zip(runs, bare, strict=True)]
        latencies = sorted(latency for _, run in runs for latency in run)
        yield {
            "row": row,
            "connections": connections,
            "per_second": round(statistics.median(rate for rate, _ in runs)),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "p50_ms": round(latencies[len(latencies) // 2], 3),
            "p99_ms": round(latencies[int(len(latencies) * 0.99)], 3),
        }


def memory(size: int) -> dict[str, object]:
    """Measure what a large body costs in memory, on its way in, through the echo and out."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with server(*jobstore(folder, "memory"), cwd=folder) as (port, pid):
            before = peak(pid)
            start = time.perf_counter()
            received = asyncio.run(_echo(port, size))
            elapsed = time.perf_counter() - start
            assert received == size, (received, size)
            return {
                "row": f"{size // MIB} MiB body in and out",
                "peak_memory_mib": round((peak(pid) - before) / 1024, 1),
                "seconds": round(elapsed, 2),
                "plain_write_seconds": round(plain_write(folder / "plain", size), 2),
            }


def peak(pid: int) -> int:
    """Read the largest resident size that a process has had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+)", status)
    assert found
    return int(found[1])


def plain_write(path: Path, size: int) -> float:
    """Write a plain file in pieces of 1 MiB, sync it, and return how long that took."""
    piece = os.urandom(MIB)
    start = time.perf_counter()
    with path.open("wb") as file:
        for _ in range(size // MIB):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    return time.perf_counter() - start


async def _echo(port: int, size: int) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST /echo HTTP/1.1\r\nHost: bench\r\nContent-Length: {size}\r\n"
    writer.write(f"{head}x-arango-async: store\r\n\r\n".encode())
    piece = os.urandom(MIB)
    for _ in range(size // MIB):
        writer.write(piece)
        await writer.drain()
    connection = Connection(reader, writer)
    answer = await reader.readuntil(b"\r\n\r\n")
    job = re.search(rb"x-arango-async-id: (\d+)", answer)
    assert job, answer
    path = f"/_api/job/{job[1].decode()}"
    while (await connection.ask(message("GET", path))).startswith(b"HTTP/1.1 204"):
        pass
    writer.write(message("PUT", path))
    await reader.readuntil(b"\r\n\r\n")
    received = 0
    while received < size:
        received += len(await reader.read(MIB))
    writer.close()
    return received


def show(row: dict[str, object]) -> None:
    """Print a row as it comes."""
    print("  ".join(f"{key}={value}" for key, value in row.items()), flush=True)


def main() -> None:
    """Measure what the arguments ask for, print it, and write it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 64])
    parser.add_argument("--body-mib", type=int, default=256, help="0 leaves that row out")
    parser.add_argument("--json", type=Path, default=Path("bench-latest.json"))
    options = parser.parse_args()
    rows = []
    for row in rates(options.seconds, options.rounds, options.connections):
        show(row)
        rows.append(row)
    if options.body_mib:
        rows.append(memory(options.body_mib * MIB))
        show(rows[-1])
    machine = {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    print(f"written to {options.json}")


if __name__ == "__main__":
    main()
