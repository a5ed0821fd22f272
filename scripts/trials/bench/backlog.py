"""What jobstore does with jobs that wait in its file: work them off, and start beside them."""

import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

from trials import process
from trials.bench import loads, stock
from trials.bench.figures import Case, Row, Sample, interleaved, row
from trials.bench.plan import Plan, Yard
from trials.bench.questions import ask, await_true
from trials.bench.rates import bare
from trials.serving import Server

KEYS: Final = ("drain", "restart")
_BACKLOG: Final = 100_000
_QUEUED: Final = 1_000_000
_RUNNING: Final = 100_000
_BOUNDLESS: Final = 10**9
_MIB: Final = 1 << 20
_DONE: Final = "SELECT count FROM counter WHERE machine = 'job' AND state = 'done'"
_RECOVERED: Final = """
    SELECT NOT EXISTS (
        SELECT 1 FROM job WHERE state = 'running' AND boot < (SELECT max(id) FROM boot)
    )
"""


def rows(plan: Plan) -> Iterator[Row]:
    """Measure what is wanted."""
    if plan.wants("drain"):
        with plan.yard() as yard:
            yield from _drain(plan, yard)
    if plan.wants("restart"):
        with plan.yard() as yard:
            yield from _restart(plan, yard)


# --- drain --------------------------------------------------------------------------------------


def _drain(plan: Plan, yard: Yard) -> Iterator[Row]:
    backlog = plan.many(_BACKLOG)
    stock.waiting(plan, yard, "drain", backlog, 0)
    base = bare(plan, yard.bare(), plan.most)
    drain = _Drain(plan, yard, yard.jobstore("drain", executor__queue_limit=_BOUNDLESS))
    drain.rest()
    name = f"drain of {backlog:,} jobs, while {plan.most} clients submit"
    _, drained = interleaved([base, Case("drain", name, "/s", drain.measure).to(base)], plan.rounds)
    yield drained


@dataclass(frozen=True, slots=True)
class _Drain:
    """A server that works off a backlog, and that stands still while others are measured."""

    plan: Plan
    yard: Yard
    server: Server

    def rest(self) -> None:
        """Let the server stand still."""
        self.server.process.send_signal(signal.SIGSTOP)

    def measure(self) -> Sample:
        """Let it work for a round, while clients submit."""
        load = loads.submit().on(self.server.port).by(self.plan.most).lasting(self.plan.seconds)
        done, cpu, start = self._done(), self._cpu(), time.perf_counter()
        self.server.process.send_signal(signal.SIGCONT)
        submitted = self.plan.drive(load)
        self.rest()
        done, seconds = self._done() - done, time.perf_counter() - start
        return Sample(
            done / seconds,
            (self._cpu() - cpu) / max(1, done) * 1e6,
            submitted.p50,
            submitted.p99,
            {"submitted_per_second": submitted.per_second},
        )

    def _done(self) -> float:
        return ask(self.yard.file("drain"), _DONE)

    def _cpu(self) -> float:
        return process.cpu_seconds(self.server.pid)


# --- restart ------------------------------------------------------------------------------------


def _restart(plan: Plan, yard: Yard) -> Iterator[Row]:
    queued, running = plan.many(_QUEUED), plan.many(_RUNNING)
    stock.waiting(plan, yard, "restart", queued, running)
    what = f"{queued:,} queued, {running:,} running"
    empty = Case("restart", "start to first job, empty file", "s", partial(_first, plan, yard))
    again = Case("restart", f"start to first job, {what}", "s", partial(_again, yard)).to(empty)
    yield from interleaved([empty, again], plan.rounds)
    whole = Case("restart", f"memory after a start, {what}", "MiB", partial(_whole, yard))
    yield row(whole, [whole.measure()])


def _first(plan: Plan, yard: Yard) -> Sample:
    """Start on a file without jobs that wait, and submit one."""
    start = time.perf_counter()
    with yard.serving("empty") as server:
        plan.drive(loads.waiting_cycle().on(server.port))
        return Sample(time.perf_counter() - start)


def _again(yard: Yard) -> Sample:
    """Start on the file as the round before has left it, and kill the server at the first job."""
    path = yard.file("restart")
    done, start = ask(path, _DONE), time.perf_counter()
    with yard.serving("restart", executor__queue_limit=_BOUNDLESS):
        return Sample(await_true(path, f"SELECT ({_DONE}) > {done}") - start)


def _whole(yard: Yard) -> Sample:
    """Start once more, and let the recovery come to its end."""
    start = time.perf_counter()
    with yard.serving("restart", executor__queue_limit=_BOUNDLESS) as server:
        seconds = await_true(yard.file("restart"), _RECOVERED) - start
        size = process.peak_memory(server.pid) / _MIB
        return Sample(size, more={"recovered_after_seconds": seconds})
