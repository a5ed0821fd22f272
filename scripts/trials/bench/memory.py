"""How long a server takes to start, and how much memory it has."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final, TypeAlias

from trials import process
from trials.bench import loads
from trials.bench.figures import Case, Row, Sample, interleaved
from trials.bench.plan import Plan, Yard
from trials.bench.scripts import Load
from trials.serving import Server

_Kind: TypeAlias = Callable[[Yard], Server]

KEYS: Final = ("start", "memory")
_MIB: Final = 1 << 20


def rows(plan: Plan) -> Iterator[Row]:
    """Measure what is wanted."""
    for key, cases in (("start", _starts), ("memory", _sizes)):
        if plan.wants(key):
            with plan.yard() as yard:
                yield from interleaved([*cases(plan, yard)], plan.rounds)


def _starts(_: Plan, yard: Yard) -> Iterator[Case]:
    base = Case("start", "start of the bare server", "s", partial(_start, yard, Yard.bare))
    yield base
    yield Case("start", "start of jobstore", "s", partial(_start, yard, _jobstore)).to(base)


def _jobstore(yard: Yard) -> Server:
    return yard.jobstore("jobs")


def _start(yard: Yard, kind: _Kind) -> Sample:
    start = time.perf_counter()
    server = kind(yard)
    seconds = time.perf_counter() - start
    server.kill()
    return Sample(seconds)


def _sizes(plan: Plan, yard: Yard) -> Iterator[Case]:
    for when, asked, worked in (
        ("at rest", None, None),
        (f"under load, {plan.most} connections", loads.bare(), loads.cycle()),
    ):
        size = partial(_size, plan, yard, Yard.bare, asked)
        base = Case("memory", f"memory of the bare server {when}", "MiB", size)
        yield base
        size = partial(_size, plan, yard, _jobstore, worked)
        yield Case("memory", f"memory of jobstore {when}", "MiB", size).to(base)


def _size(plan: Plan, yard: Yard, kind: _Kind, load: Load | None) -> Sample:
    server = kind(yard)
    if load:
        plan.drive(load.on(server.port).by(plan.most).lasting(plan.seconds))
    size = process.peak_memory(server.pid)
    server.kill()
    return Sample(size / _MIB)
