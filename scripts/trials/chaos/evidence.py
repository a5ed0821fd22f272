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
from typing import Any, Final, NamedTuple, TypeAlias

import psycopg

_TRACEBACK: Final = re.compile(
    r"^Traceback .*\n(?:[ ].*\n)+(?P<one>.*)|^  \+ .*Traceback .*\n(?:  \|  .*\n)+(?P<many>.*)",
    re.MULTILINE,
)


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
    detail: str | None = None


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
        counted: how many jobs are in each state of each machine, what each account uses, and what
            was done on each day.
        kept: what the store's own counters say of that, without those at zero.
        problems: what SQLite finds wrong with the file, and references to nothing; PostgreSQL lets
            nobody write these.
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


ON_DAY: Final = " on day"
_DAY: Final = 24 * 3600 * 10**6
_RAN: Final = "state IN ('done', 'failed') AND started_at < finished_at"


@dataclass(frozen=True, slots=True)
class Shared:
    """A store that nodes share: a PostgreSQL database, and the schema in it."""

    url: str
    schema: str = "jobstore"


Place: TypeAlias = Path | Shared


def _count(what: str, each: str, number: str, which: str = "true") -> str:
    """Make a number for each of something of the jobs."""
    found = f"SELECT '{what}', CAST({each} AS TEXT), CAST({number} AS BIGINT) FROM job"
    return f"{found} WHERE {which} GROUP BY 1, 2"


def _daily(name: str, number: str, which: str) -> str:
    return _count(name + ON_DAY, f"finished_at / {_DAY}", number, f"finished_at > 0 AND {which}")


def _kept(what: str, each: str, number: str, table: str) -> str:
    """Read a number that is kept of each of something."""
    found = f"SELECT '{what}', CAST({each} AS TEXT), {number} FROM {table}"
    return f"{found} WHERE {number} <> 0"


_COUNTED: Final = " UNION ALL ".join(
    (
        _count("job", "state", "count(*)"),
        _count("result", "result", "count(*)"),
        _count("queued of account", "account", "count(*)", "state = 'queued'"),
        _count("bytes of account", "account", "sum(stored)", "stored <> 0"),
        _count("submitted" + ON_DAY, f"submitted_at / {_DAY}", "count(*)"),
        *(
            _daily(state, "count(*)", f"state = '{state}'")
            for state in ("done", "failed", "cancelled")
        ),
        _daily("errors", "count(*)", "(state = 'failed' OR (state = 'done' AND status >= 400))"),
        _daily("run_us", "sum(finished_at - started_at)", _RAN),
        _daily("longest_us", "max(finished_at - started_at)", _RAN),
    )
)
_KEPT: Final = " UNION ALL ".join(
    (
        "SELECT machine, state, count FROM counter WHERE count <> 0",
        _kept("queued of account", "account", "queued", "account_usage"),
        _kept("bytes of account", "account", "stored", "account_usage"),
        *(
            _kept(name + ON_DAY, "day", name, "day")
            for name in (
                *("submitted", "done", "failed", "cancelled", "errors"),
                *("run_us", "longest_us"),
            )
        ),
    )
)
# Payloads are kept for jobs whose results somebody may ask for; all others go with a purge.
_LEFTOVERS: Final = {
    table: f"SELECT count(*) FROM {table}" for table in ("request", "response", "body", "chunk")
}


def rows(place: Place, statement: str) -> list[tuple[Any, ...]]:
    """Read from a store, beside its servers or without one."""
    if isinstance(place, Shared):
        with psycopg.connect(place.url, autocommit=True) as shared:
            shared.execute(f"SET search_path TO {place.schema}")
            return shared.execute(statement.encode()).fetchall()
    with closing(sqlite3.connect(place, timeout=30.0)) as connection:
        connection.execute("PRAGMA query_only = ON")
        return connection.execute(statement).fetchall()


def unfinished(place: Place) -> int:
    """Count the jobs that have not ended."""
    ((count,),) = rows(place, "SELECT count(*) FROM job WHERE state IN ('queued', 'running')")
    return int(count)


def leftovers(place: Place) -> dict[str, int]:
    """Count the rows of payloads, by table: none is needed once each result was read or let go."""
    return {table: rows(place, statement)[0][0] for table, statement in _LEFTOVERS.items()}


def gathered(
    place: Place, executions: Mapping[Execution, int], tracebacks: Sequence[str] = ()
) -> Evidence:
    """Read a store; of one that cannot be read, no more is known than that.

    Args:
        executions: what its targets have seen.
        tracebacks: see `logged_tracebacks`.
    """
    try:
        return _gathered(place, executions, tracebacks)
    except (sqlite3.DatabaseError, psycopg.Error) as error:
        return Evidence(jobs={}, problems=[str(error)], tracebacks=tracebacks)


def logged_tracebacks(*logs: Path) -> list[str]:
    """Return the last line of each traceback in logs."""
    said = [log.read_text(errors="replace") for log in logs if log.exists()]
    found = (each for one in said for each in _TRACEBACK.finditer(one))
    return [each["one"] or each["many"] for each in found]


def _gathered(
    place: Place, executions: Mapping[Execution, int], tracebacks: Sequence[str]
) -> Evidence:
    return Evidence(
        jobs={row[0]: Job(*row) for row in _all(place, "job", Job._fields)},
        attempts=[Attempt(*row) for row in _all(place, "attempt", Attempt._fields)],
        events=[Event(*row) for row in _all(place, "event", Event._fields)],
        counted={(machine, state): count for machine, state, count in rows(place, _COUNTED)},
        kept={(machine, state): count for machine, state, count in rows(place, _KEPT)},
        problems=[] if isinstance(place, Shared) else _problems(place),
        leftovers=leftovers(place),
        executions=executions,
        tracebacks=tracebacks,
    )


def recorded(path: Path) -> Counter[Execution]:
    """Read what `worker` has put down."""
    lines = path.read_text().splitlines() if path.exists() else []
    words = (line.split() for line in lines)
    return Counter(Execution(method, int(job), int(attempt)) for method, job, attempt in words)


def _all(place: Place, table: str, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    names = ", ".join(columns)
    return rows(place, f"SELECT {names} FROM {table} ORDER BY 1, 2")


def _problems(path: Path) -> list[str]:
    found = [text for (text,) in rows(path, "PRAGMA integrity_check") if text != "ok"]
    strays = rows(path, "PRAGMA foreign_key_check")
    return found + [f"row {row[1]} of {row[0]} refers to nothing in {row[2]}" for row in strays]
