"""Files with many jobs: jobstore does one of each kind itself, and SQL makes copies of it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from trials.bench import loads
from trials.bench.plan import Plan, Yard
from trials.bench.questions import await_true
from trials.bench.scripts import Load

# The tables that have a row for each job, and which of their columns names it.
_TABLES: Final = {"job": "id", "request": "job_id", "response": "job_id"}
# Copies were made one after the other: so many within a microsecond.
_PACE: Final = 1000
# Whether a server has counted so many jobs for its figures.
_COUNTED: Final = "SELECT number >= {} FROM revision WHERE of = 'counted'"


def taken(plan: Plan, yard: Yard, name: str, count: int) -> None:
    """Make a file with jobs whose results were fetched."""
    _ended(plan, yard, name, loads.cycle(), count)


def held(plan: Plan, yard: Yard, name: str, count: int) -> None:
    """Make a file with jobs whose results wait for their readers."""
    _ended(plan, yard, name, loads.held(), count)


def _ended(plan: Plan, yard: Yard, name: str, load: Load, count: int) -> None:
    with yard.serving(name) as server:
        plan.drive(load.on(server.port))
    with copying(yard.file(name)) as connection:
        _copy(connection, 1, count - 1)
    with yard.serving(name):  # which counts them, as it would while it is measured
        await_true(yard.file(name), _COUNTED.format(count))
    _empty_wal(yard.file(name))


def waiting(plan: Plan, yard: Yard, name: str, queued: int, running: int) -> None:
    """Make a file as a server leaves it that was killed while jobs were queued and running.

    Half of those that ran may be run again.
    """
    with yard.serving(name, executor__concurrency=2) as server:
        for load in (loads.sleeper("POST"), loads.sleeper("PUT"), loads.submit()):
            plan.drive(load.on(server.port))
    with copying(yard.file(name)) as connection:
        connection.execute("UPDATE job SET path = '/echo'")
        for job, count in ((3, queued), (1, running // 2), (2, running // 2)):
            _copy(connection, job, count - 1)


@contextmanager
def copying(path: Path) -> Iterator[sqlite3.Connection]:
    """Open a file that no server owns, for writing much of it at once."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        yield connection
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    sync(path)


def _empty_wal(path: Path) -> None:
    """Have all in the file itself, so that it can be copied alone."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    sync(path)


def sync(path: Path) -> None:
    """Ensure that a file is on the disk, so that what is written later need not wait for it."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _copy(connection: sqlite3.Connection, job: int, count: int) -> None:
    """Copy a job with all that belongs to it, so that the copies have the next ids."""
    (last,) = connection.execute("SELECT max(id) FROM job").fetchone()
    given = {"job": job, "count": count, "last": last}
    for table, key in _TABLES.items():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
        names = ", ".join(f'"{column}"' for column in columns)
        copied = ", ".join(_copied(column, key) for column in columns)
        connection.execute(
            "WITH RECURSIVE number (n) AS"
            " (SELECT 1 WHERE :count > 0 UNION ALL SELECT n + 1 FROM number WHERE n < :count)"
            f" INSERT INTO {table} ({names}) SELECT {copied}"
            f" FROM number CROSS JOIN {table} AS copied WHERE copied.{key} = :job",
            given,
        )


def _copied(column: str, key: str) -> str:
    """Write what a copy has in a column: an id of its own, times that rise, and else the same."""
    if column == key:
        return ":last + n"
    if column.endswith("_at"):
        return f"{column} - (:count - n) / {_PACE}"
    return f'copied."{column}"'
