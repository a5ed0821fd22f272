"""How long jobstore cleans up, and how long everybody else has to wait meanwhile."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from http.client import HTTPConnection
from statistics import median
from typing import Any, Final, TypeAlias

from trials.bench import loads, stock
from trials.bench.figures import Case, Row, Sample, row
from trials.bench.plan import Plan, Yard
from trials.bench.questions import ask, await_true
from trials.serving import Server

# Does the work; returns when it has begun and when it has ended.
_Work: TypeAlias = Callable[[], tuple[float, float]]

KEYS: Final = ("purge", "forget", "expire", "bulk")
_JOBS: Final = 100_000
# How long a server has for its start, in seconds.
_START: Final = 1.5
# How long one of the rounds is in which somebody writes during the work, at most, in seconds.
_WINDOW: Final = 0.2
# How often it is looked how far an operation is, in seconds.
_LOOK: Final = 0.2
# For what a server keeps it, and the question whether a job was worked on.
_CLEANINGS: Final = {
    "purge": ("fetched", "SELECT purgeable_at IS NULL FROM job WHERE id = {}"),
    "forget": ("history", "SELECT NOT EXISTS (SELECT 1 FROM job WHERE id = {})"),
}


def rows(plan: Plan) -> Iterator[Row]:
    """Measure what is wanted."""
    jobs = plan.many(_JOBS)
    for key, what, make, measure in (
        ("purge", "purge of {:,} payloads", stock.taken, partial(_cleaned, "purge", jobs)),
        ("forget", "removal of {:,} jobs", stock.taken, partial(_cleaned, "forget", jobs)),
        ("expire", "expiry of {:,} results", stock.held, _expired),
        ("bulk", "retry of {:,} jobs", stock.held, _retried),
    ):
        if plan.wants(key):
            with plan.yard() as yard:
                make(plan, yard, "stock", jobs)
                case = Case(key, what.format(jobs), "s", partial(measure, plan, yard))
                yield row(case, [case.measure() for _ in range(plan.rounds)])


def _cleaned(key: str, jobs: int, plan: Plan, yard: Yard) -> Sample:
    """Let a server clean up by itself, some time after its start."""
    ended = _fresh(yard)
    setting, question = _CLEANINGS[key]
    kept = time.time() - ended + _START + plan.seconds
    settings = {
        "retention__fetched": "never",  # what can be restored would stay in the history
        f"retention__{setting}": f"{kept:.3f}",
        "retention__interval": "0.1",
    }

    def work() -> tuple[float, float]:
        # The first job was copied: it is as old as the last of its copies.
        begun = await_true(yard.file("again"), question.format(min(jobs, 2)))
        return begun, await_true(yard.file("again"), question.format(jobs))

    with yard.serving("again", **settings) as server:
        return _beside(plan, server, work)


def _expired(plan: Plan, yard: Yard) -> Sample:
    """Ask a server to expire all results."""
    stamp = _fresh(yard) + 1e-6
    with yard.serving("again") as server:

        def work() -> tuple[float, float]:
            begun = time.perf_counter()
            with closing(HTTPConnection("127.0.0.1", server.port)) as client:
                client.request("DELETE", f"/_api/job/expired?stamp={stamp:f}")
                assert json.load(client.getresponse()) == {"result": True}
            return begun, time.perf_counter()

        return _beside(plan, server, work)


def _retried(plan: Plan, yard: Yard) -> Sample:
    """Ask a server to try all jobs again, which has one slot for them."""
    _fresh(yard)
    with yard.serving("again", executor__concurrency=1, executor__queue_limit=10**9) as server:

        def work() -> tuple[float, float]:
            begun = time.perf_counter()
            order = {"action": "retry", "filter": {"state": "done", "path": "/echo"}}
            said = _asked(server, "POST", "/_jobs/operations", order)
            while said["state"] == "running":
                time.sleep(_LOOK)
                said = _asked(server, "GET", f"/_jobs/operations/{said['id']}")
            assert said["done"] == said["count"], said
            return begun, time.perf_counter()

        return _beside(plan, server, work)


def _asked(server: Server, method: str, path: str, order: object = None) -> dict[str, Any]:
    with closing(HTTPConnection("127.0.0.1", server.port)) as client:
        client.request(method, path, json.dumps(order))
        said: dict[str, Any] = json.load(client.getresponse())
    return said


def _fresh(yard: Yard) -> float:
    """Take a copy of the file; return when the last of its jobs has ended, in UNIX time."""
    for old in yard.folder.glob("again.db*"):
        old.unlink()
    shutil.copy(yard.file("stock"), yard.file("again"))
    stock.sync(yard.file("again"))
    return ask(yard.file("again"), "SELECT max(coalesce(fetched_at, finished_at)) FROM job") / 1e6


def _beside(plan: Plan, server: Server, work: _Work) -> Sample:
    """Submit one job after the other, before the work, during it, and for as long after it.

    The longest wait of all is often that of another program for the disk, and the longer one looks,
    the longer it is. What is usual is the median of the longest waits in short rounds.
    """
    window = min(_WINDOW, plan.seconds)
    load = loads.submit().on(server.port).lasting(window)
    without = [plan.drive(load).worst for _ in range(round(plan.seconds / window))]
    stalls: list[tuple[float, float]] = []
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        over = False
        while not over:
            over = working.done()  # and then once more, so that the last one ends after the work
            outcome = plan.drive(load)
            stalls.append((time.perf_counter(), outcome.worst))
        begun, ended = working.result()
    during = [worst for at, worst in stalls if at > begun]
    without += [plan.drive(load).worst for _ in range(len(during) - len(without))]
    more = {
        "worst_stall_ms": max(during),
        "worst_without_ms": max(without),
        "usual_stall_ms": median(during),
        "usual_without_ms": median(without),
    }
    return Sample(ended - begun, more=more)
