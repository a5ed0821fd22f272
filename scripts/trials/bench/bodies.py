"""How large bodies come in and go out."""

import http.client
import os
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Final

from trials import process
from trials.bench.figures import Case, Row, Sample, interleaved
from trials.bench.plan import Plan, Yard
from trials.bench.scripts import WrongAnswerError
from trials.serving import Server

KEYS: Final = ("body",)
_MIB: Final = 1 << 20
_LARGE: Final = 256 * _MIB


def rows(plan: Plan) -> Iterator[Row]:
    """Measure the way of a large body through a job, beside a plain file."""
    if plan.wants(*KEYS):
        size = plan.many(_LARGE)
        with plan.yard() as yard:
            write = partial(_write, yard.folder / "plain", size)
            plain = Case("body", f"plain file of {_written(size)}, synced", "MiB/s", write)
            echo = partial(_echoed, yard, size)
            body = Case("body", f"body of {_written(size)}", "MiB/s", echo).to(plain)
            yield from interleaved([plain, body], plan.rounds)


def _written(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB" if size >= _MIB else f"{size:,} bytes"


def _pieces(size: int) -> Iterator[bytes]:
    piece = os.urandom(_MIB)
    for begin in range(0, size, _MIB):
        yield piece[: size - begin]


def _write(path: Path, size: int) -> Sample:
    start = time.perf_counter()
    with path.open("wb") as file:
        file.writelines(_pieces(size))
        file.flush()
        os.fsync(file.fileno())
    return Sample(size / _MIB / (time.perf_counter() - start))


def _echoed(yard: Yard, size: int) -> Sample:
    for old in yard.folder.glob("body.db*"):
        old.unlink()
    with yard.serving("body") as server:
        before = process.peak_memory(server.pid)
        taken_in, given_out = _way(server, size)
        more = {
            "memory_on_top_mib": (process.peak_memory(server.pid) - before) / _MIB,
            "out_mib_per_second": size / _MIB / given_out,
        }
    return Sample(size / _MIB / taken_in, more=more)


def _way(server: Server, size: int) -> tuple[float, float]:
    """Send a body, wait for the end of its job and fetch it; return how long both ways took."""
    with closing(http.client.HTTPConnection("127.0.0.1", server.port)) as client:
        start = time.perf_counter()
        headers = {"x-arango-async": "store", "Content-Length": str(size)}
        client.request("POST", "/echo", _pieces(size), headers)
        job = _read(client, 202, 0)["x-arango-async-id"]
        taken_in = time.perf_counter() - start
        client.request("GET", f"/_jobs/{job}", headers={"Prefer": "wait=100"})
        _read(client, 200)
        start = time.perf_counter()
        client.request("PUT", f"/_api/job/{job}")
        _read(client, 200, size)
        return taken_in, time.perf_counter() - start


def _read(
    client: http.client.HTTPConnection, status: int, size: int | None = None
) -> http.client.HTTPMessage:
    """Read an answer to its end, and return its headers."""
    answer = client.getresponse()
    read = sum(map(len, iter(partial(answer.read, _MIB), b"")))
    if answer.status != status or size not in {None, read}:
        raise WrongAnswerError(f"{answer.status} with {read} bytes")
    return answer.headers
