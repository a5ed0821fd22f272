"""What stands in a store, and what its jobs' targets have seen: all that is held against a ledger.

It is read by plain SQL, as any stranger may read it, so that jobstore is not its own witness.
"""

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

_TRACEBACK: Final = re.compile(r"^Traceback .*\n(?:[ ].*\n)+(.*)", re.MULTILINE)


class Job(NamedTuple):
    """A job's row; times are in microseconds since 1970."""

    id: int
    state: str
    result: str
    method: str
    path: str
    attempt: int
    status: int | None
    failure: str | None
    submitted_at: int
    started_at: int | None
    finished_at: int | None
    fetched_at: int | None


class Attempt(NamedTuple):
    """An attempt that was not the last one of its job."""

    job_id: int
    number: int
    started_at: int
    ended_at: int


class Event(NamedTuple):
    """Something out of the ordinary; ids are in the order of happening."""

    id: int
    job_id: int
    at: int
    event: str


class Execution(NamedTuple):
    """What a target was asked to work for."""

    method: str
    job_id: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Evidence:
    """A store, once all is quiet.

    Args:
        jobs: each job by its id.
        attempts: of all jobs, in order.
        events: of all jobs, in order.
        counted: how many jobs are in each state of each machine.
        kept: what the store's own counters say, without those at zero.
        problems: what SQLite finds wrong with the file, and references to nothing.
        leftovers: how many rows of payloads there are after a purge, by table.
        executions: how often each target was asked for each attempt.
        tracebacks: what the servers' log says of errors that nobody had thought of.
    """

    jobs: Mapping[int, Job]
    attempts: Sequence[Attempt] = ()
    events: Sequence[Event] = ()
    counted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    kept: Mapping[tuple[str, str], int] = field(default_factory=dict)
    problems: Sequence[str] = ()
    leftovers: Mapping[str, int] = field(default_factory=dict)
    executions: Mapping[Execution, int] = field(default_factory=dict)
    tracebacks: Sequence[str] = ()


_COUNTED: Final = (
    "SELECT 'job', state, count(*) FROM job GROUP BY state"
    " UNION ALL SELECT 'result', result, count(*) FROM job GROUP BY result"
)
_KEPT: Final = "SELECT machine, state, count FROM counter WHERE count <> 0"
# Payloads are kept for jobs whose results somebody may ask for; all others go with a purge.
_LEFTOVERS: Final = {
    table: f"SELECT count(*) FROM {table}" for table in ("request", "response", "body", "chunk")
}


def rows(path: Path, statement: str) -> list[tuple[Any, ...]]:
    """Read from a store, beside its server or without one."""
    with closing(sqlite3.connect(path, timeout=30.0)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return connection.execute(statement).fetchall()


def unfinished(path: Path) -> int:
    """Count the jobs that have not ended."""
    ((count,),) = rows(path, "SELECT count(*) FROM job WHERE state IN ('queued', 'running')")
    return int(count)


def leftovers(path: Path) -> dict[str, int]:
    """Count the rows of payloads, by table: none is needed once each result was read or let go."""
    return {table: rows(path, statement)[0][0] for table, statement in _LEFTOVERS.items()}


def gathered(
    path: Path, executions: Mapping[Execution, int], tracebacks: Sequence[str] = ()
) -> Evidence:
    """Read a store; of one that cannot be read, no more is known than that.

    Args:
        executions: what its targets have seen.
        tracebacks: see `logged_tracebacks`.
    """
    try:
        return _gathered(path, executions, tracebacks)
    except sqlite3.DatabaseError as error:
        return Evidence(jobs={}, problems=[str(error)], tracebacks=tracebacks)


def logged_tracebacks(log: Path) -> list[str]:
    """Return the last line of each traceback in a log."""
    return _TRACEBACK.findall(log.read_text(errors="replace")) if log.exists() else []


def _gathered(
    path: Path, executions: Mapping[Execution, int], tracebacks: Sequence[str]
) -> Evidence:
    return Evidence(
        jobs={row[0]: Job(*row) for row in _all(path, "job", Job._fields)},
        attempts=[Attempt(*row) for row in _all(path, "attempt", Attempt._fields)],
        events=[Event(*row) for row in _all(path, "event", Event._fields)],
        counted={(machine, state): count for machine, state, count in rows(path, _COUNTED)},
        kept={(machine, state): count for machine, state, count in rows(path, _KEPT)},
        problems=_problems(path),
        leftovers=leftovers(path),
        executions=executions,
        tracebacks=tracebacks,
    )


def recorded(path: Path) -> Counter[Execution]:
    """Read what `worker` has put down."""
    lines = path.read_text().splitlines() if path.exists() else []
    words = (line.split() for line in lines)
    return Counter(Execution(method, int(job), int(attempt)) for method, job, attempt in words)


def _all(path: Path, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    names = ", ".join(columns)
    return rows(path, f"SELECT {names} FROM {table} ORDER BY 1, 2")


def _problems(path: Path) -> list[str]:
    found = [text for (text,) in rows(path, "PRAGMA integrity_check") if text != "ok"]
    strays = rows(path, "PRAGMA foreign_key_check")
    return found + [f"row {row[1]} of {row[0]} refers to nothing in {row[2]}" for row in strays]
