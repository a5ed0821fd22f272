"""Durable submits and full cycles per second, as ratios to other work of the same run.

The load comes from a process of its own, over raw sockets: an HTTP client library would eat the
server's core. Only ratios of one run count, since machines differ and drift: the rounds of all
rows are interleaved, and the median and the range over the rounds are printed.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import platform
import re
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

MIB: Final = 1024 * 1024
BODY: Final = os.urandom(512).hex().encode()
PASSWORD: Final = secrets.token_urlsafe()
DEFINITION: Final = """
[[definition]]
name = "number {0}"
path = "/bench/{0}"
target = "/echo"
"""
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

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Send a request, and return the head and the body of its answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"\r\n[Cc]ontent-[Ll]ength: (\d+)", head)
        return head, await self._reader.readexactly(int(length[1]) if length else 0)


async def once(connection: Connection, load: "Load") -> None:
    """Ask once: a bare answer, or a durable submit."""
    head, _ = await connection.ask(load.request)
    assert head.startswith(b"HTTP/1.1 202"), head


async def cycle(connection: Connection, load: "Load") -> None:
    """Submit a job and ask for its result until it is there."""
    head, _ = await connection.ask(load.request)
    job = re.search(rb"x-arango-async-id: (\d+)", head)
    assert job, head
    fetch = message("PUT", f"/_api/job/{job[1].decode()}", headers=load.headers)
    while (head := (await connection.ask(fetch))[0]).startswith(b"HTTP/1.1 204"):
        pass
    assert head.startswith(b"HTTP/1.1 200"), head


async def kinetica(connection: Connection, load: "Load") -> None:
    """Create a job in Kinetica's dialect and ask for it until it is done."""
    _, body = await connection.ask(load.request)
    job_id = json.loads(json.loads(body)["data_str"])["job_id"]
    asked = json.dumps({"job_id": job_id, "options": {}}).encode()
    get = message("POST", "/get/job", asked, JSON_TYPE)
    while rb"\"RUNNING\"" in (body := (await connection.ask(get))[1]):
        pass
    assert rb"\"DONE\"" in body, body


JSON_TYPE: Final = "Content-Type: application/json\r\n"
STEPS: Final = {"once": once, "cycle": cycle, "kinetica": kinetica}


@dataclass(frozen=True)
class Load:
    """What a round asks of a server."""

    port: int
    step: str
    request: bytes
    headers: str = ""
    connections: int = 1
    seconds: float = 0.0


@dataclass(frozen=True)
class Row:
    """One line of the table, and the line that it is a ratio to."""

    name: str
    load: Load
    to: str


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
            await step(connection, load)
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


def jobstore_says(folder: Path, *arguments: str, given: str = "") -> str:
    """Run a command to its end, and return what it says."""
    command = [sys.executable, "-m", "jobstore", *arguments]
    done = subprocess.run(
        command, cwd=folder, input=given, text=True, check=True, stdout=subprocess.PIPE
    )
    return done.stdout


@contextmanager
def servers(folder: Path, definitions: int) -> Iterator[list[Row]]:
    """Start a server for each kind of work; give the rows to measure on them."""
    (folder / "queue.toml").write_text(
        "[executor]\nconcurrency = 1\nqueue_limit = 100000000\ndrain = 0\n"
    )
    jobstore_says(
        folder,
        "user",
        "add",
        "bench",
        "--password-stdin",
        "--store",
        "account.db",
        given=f"{PASSWORD}\n",
    )
    token = jobstore_says(folder, "user", "token", "bench", "--store", "account.db").strip()
    (folder / "many.toml").write_text("".join(DEFINITION.format(n) for n in range(definitions)))
    jobstore_says(folder, "define", "many.toml", "--store", "many.db")
    queueing = jobstore(folder, "queue", "--config", "queue.toml")
    with (
        server("-c", BARE, cwd=folder) as (bare, _),
        server(*queueing, cwd=folder) as (queue, _),
        server(*jobstore(folder, "cycle"), cwd=folder) as (plain, _),
        server(*jobstore(folder, "account"), cwd=folder) as (account, _),
        server(*jobstore(folder, "many"), cwd=folder) as (many, _),
    ):
        # With its one slot taken for good, this server only takes jobs in.
        blocker = message("GET", "/_admin/sleep?duration=86400", headers="x-arango-async: true\r\n")
        drive(Load(queue, "once", blocker, seconds=0.0001))
        basic = f"Authorization: Basic {b64encode(f'bench:{PASSWORD}'.encode()).decode()}\r\n"
        bearer = f"Authorization: Bearer {token}\r\n"
        yield [
            Row("bare 202", Load(bare, "once", message("POST", "/echo", BODY)), "bare 202"),
            Row("durable submit", Load(queue, "once", submit()), "bare 202"),
            Row("full cycle", Load(plain, "cycle", submit()), "bare 202"),
            Row("in Kinetica's dialect", Load(plain, "kinetica", create()), "full cycle"),
            Row("with a password", Load(account, "cycle", submit(basic), basic), "full cycle"),
            Row("with a token", Load(account, "cycle", submit(bearer), bearer), "full cycle"),
            Row(f"beside {definitions} definitions", Load(many, "cycle", submit()), "full cycle"),
        ]


def submit(headers: str = "") -> bytes:
    """Write the request that submits a job in ArangoDB's dialect."""
    return message("POST", "/echo", BODY, f"x-arango-async: store\r\n{headers}")


def create() -> bytes:
    """Write the request that submits the same in Kinetica's."""
    record = {"endpoint": "/echo", "request_encoding": "json", "data_str": BODY.decode()}
    return message("POST", "/create/job", json.dumps(record).encode(), JSON_TYPE)


def rates(
    seconds: float, rounds: int, connections: list[int], definitions: int
) -> Iterator[dict[str, object]]:
    """Measure the rows that are rates, interleaved."""
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        servers(Path(name), definitions) as rows,
    ):
        for count in connections:
            runs: dict[str, list[tuple[float, list[float]]]] = {row.name: [] for row in rows}
            for _ in range(rounds + 1):
                for row in rows:
                    load = replace(row.load, connections=count, seconds=seconds)
                    runs[row.name].append(pool.submit(drive, load).result())
            yield from summary(count, rows, {name: run[1:] for name, run in runs.items()})


def summary(
    connections: int, rows: list[Row], runs: dict[str, list[tuple[float, list[float]]]]
) -> Iterator[dict[str, object]]:
    """Condense the rounds of each row, in relation to those of another row in the same round."""
    for row in rows:
        pairs = zip(runs[row.name], runs[row.to], strict=True)
        ratios = [rate / base for (rate, _), (base, _) in pairs]
        latencies = sorted(latency for _, run in runs[row.name] for latency in run)
        yield {
            "row": row.name,
            "connections": connections,
            "per_second": round(statistics.median(rate for rate, _ in runs[row.name])),
            "ratio": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "ratio_to": row.to,
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
    while (await connection.ask(message("GET", path)))[0].startswith(b"HTTP/1.1 204"):
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
    parser.add_argument("--definitions", type=int, default=10_000)
    parser.add_argument("--body-mib", type=int, default=256, help="0 leaves that row out")
    parser.add_argument("--json", type=Path, default=Path("bench-latest.json"))
    options = parser.parse_args()
    rows = []
    for row in rates(options.seconds, options.rounds, options.connections, options.definitions):
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
