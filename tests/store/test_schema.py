import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import ColumnClause, Dialect
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects import sqlite as sqlite_dialect

from jobstore.model.clock import SECOND
from jobstore.model.lifecycle import Result, State
from jobstore.store import events, recovery, schema
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.migrate import migrate
from tests.engines import Place
from tests.job_rows import a_job, insert
from tests.model.test_lifecycle import STANDINGS
from tests.stores import START, prepare, rows
from tests.tables import TABLES


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Give a connection, as the writer has it, to a store with one start of a server."""
    path = tmp_path_factory.mktemp("schema") / "jobs.db"
    prepare(path)
    with closing(sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)) as connection:
        boot = {"now": START, "pid": 1, "version": "1"}
        connection.execute(recovery.BOOT.sql, recovery.BOOT.bound(boot))
        yield connection


@pytest.fixture
def file(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Give a connection to a store that holds no job; what a test does to it is undone."""
    connection.execute("BEGIN")
    yield connection
    connection.execute("ROLLBACK")


def pragma(file: sqlite3.Connection, name: str) -> object:
    (value,) = file.execute(f"PRAGMA {name}").fetchone()
    return value


# --- the file -----------------------------------------------------------------------------------


def seen(columns: Iterable[ColumnClause[Any]], dialect: Dialect) -> list[tuple[str, str]]:
    """Name columns as statements see them, each with its type."""
    return [(each.name, each.type.compile(dialect)) for each in columns]


def test_the_tables_that_statements_see_are_those_of_the_migrations(
    file: sqlite3.Connection,
) -> None:
    there = {
        name: file.execute("SELECT name, type FROM pragma_table_info(?)", (name,)).fetchall()
        for (name,) in file.execute(
            "SELECT name FROM pragma_table_list WHERE type = 'table' AND schema = 'main'"
            " AND name NOT LIKE 'sqlite%' AND name != 'alembic_version'"
        )
    }
    assert there == {
        table.name: seen(schema.columns(table), sqlite_dialect.dialect()) for table in TABLES
    }


def test_the_view_has_the_columns_that_statements_see(file: sqlite3.Connection) -> None:
    cursor = file.execute("SELECT * FROM timeline")
    names = [column[0] for column in cursor.description]
    assert names == [column.name for column in schema.TIMELINE.columns]


def test_the_tables_that_nodes_see_are_those_of_the_migrations(database: Place) -> None:
    prepare(database)
    dialect: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in TABLES:
        there = rows(
            database,
            "SELECT attname, upper(format_type(atttypid, atttypmod)) FROM pg_attribute"
            f" WHERE attrelid = '{table.name}'::regclass AND attnum > 0 AND NOT attisdropped",
        )
        assert {*there} == {*seen(table.columns, dialect)}, table.name


def test_every_table_is_strict(file: sqlite3.Connection) -> None:
    tables = file.execute("SELECT name, strict FROM pragma_table_list WHERE type = 'table'")
    loose = {name for name, strict in tables if not strict}
    assert loose - {"sqlite_schema", "sqlite_temp_schema", "sqlite_sequence"} == {"alembic_version"}


def test_a_store_is_recognised_as_jobstores_by_its_header(file: sqlite3.Connection) -> None:
    assert pragma(file, "application_id") == int.from_bytes(b"jobs")
    assert pragma(file, "user_version") == sqlite.SCHEMA_VERSION


def test_a_store_is_written_ahead_and_gives_back_what_it_no_longer_needs(
    file: sqlite3.Connection,
) -> None:
    assert pragma(file, "journal_mode") == "wal"
    assert pragma(file, "auto_vacuum") == 2, "incremental"


def test_the_writer_syncs_each_commit_and_minds_references(file: sqlite3.Connection) -> None:
    assert pragma(file, "synchronous") == 2, "full"
    assert pragma(file, "foreign_keys") == 1


def test_migrating_a_store_again_changes_nothing(store_path: Path) -> None:
    assert migrate(store_path) == (0, sqlite.SCHEMA_VERSION)
    before = store_path.read_bytes()
    assert migrate(store_path) == (sqlite.SCHEMA_VERSION, sqlite.SCHEMA_VERSION)
    assert store_path.read_bytes() == before


# --- the rules ----------------------------------------------------------------------------------


def allows(file: sqlite3.Connection, job: dict[str, Any]) -> bool:
    try:
        insert(file, job)
    except sqlite3.IntegrityError:
        return False
    return True


def test_the_database_allows_exactly_the_standings_that_the_tables_reach(
    file: sqlite3.Connection,
) -> None:
    allowed = [pair for pair in product(State, Result) if allows(file, a_job(*pair))]
    assert sorted(allowed) == STANDINGS


@pytest.mark.parametrize(
    ("job", "rule"),
    [
        (a_job("paused", "none"), "sound_state"),
        (a_job("done", "lost"), "sound_result"),
        (a_job("DONE", "held", finished_at=START), "sound_state"),
        (a_job("queued", "none", finished_at=START), "sound_state"),
        (a_job("running", "none", finished_at=START), "sound_state"),
        (a_job("done", "deleted", finished_at=None), "sound_state"),
        (a_job("failed", "deleted", finished_at=None), "sound_state"),
        (a_job("cancelled", "deleted", finished_at=None), "sound_state"),
        (a_job("running", "none", started_at=None), "sound_state"),
        (a_job("running", "none", boot=None), "sound_state"),
        (a_job("done", "none"), "sound_result"),
        (a_job("queued", "held"), "sound_result"),
        (a_job("running", "expired"), "sound_result"),
        (a_job("running", "taken"), "sound_result"),
        (a_job("done", "taken", fetched_at=None), "sound_result"),
        (a_job("done", "held", fetched_at=START), "sound_result"),
        (a_job("done", "deleted", fetched_at=START), "sound_result"),
        (a_job("queued", "none", boot=99), "FOREIGN KEY"),
        (a_job("queued", "none", submitted_at="today"), "cannot store TEXT value in INTEGER"),
        (a_job("queued", "none", path=None), "NOT NULL"),
    ],
)
def test_the_database_refuses_a_job_that_breaks_a_rule_whether_it_comes_or_changes(
    file: sqlite3.Connection, job: dict[str, Any], rule: str
) -> None:
    with pytest.raises(sqlite3.IntegrityError, match=rule):
        insert(file, job)
    job_id = insert(file, a_job("queued", "none"))
    changes = ", ".join(f"{name} = :{name}" for name in job)
    with pytest.raises(sqlite3.IntegrityError, match=rule):
        file.execute(f"UPDATE job SET {changes} WHERE id = :id", {**job, "id": job_id})


def test_a_job_has_one_body_of_each_side(file: sqlite3.Connection) -> None:
    job_id = insert(file, a_job("queued", "none"))
    put = "INSERT INTO body (job_id, side, size) VALUES (?, ?, 0)"
    file.execute(put, (job_id, "request"))
    file.execute(put, (job_id, "response"))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        file.execute(put, (job_id, "request"))
    with pytest.raises(sqlite3.IntegrityError, match="known_side"):
        file.execute(put, (job_id, "middle"))


def test_what_belongs_to_a_job_goes_with_it_but_large_bodies_wait_to_be_swept(
    file: sqlite3.Connection,
) -> None:
    job_id = insert(file, a_job("done", "deleted"))
    file.execute("INSERT INTO request (job_id, headers) VALUES (?, '[]')", (job_id,))
    file.execute("INSERT INTO response (job_id, headers) VALUES (?, '[]')", (job_id,))
    file.execute("INSERT INTO event (job_id, at, event) VALUES (?, 0, 'deleted')", (job_id,))
    file.execute("INSERT INTO body (job_id, side, size) VALUES (?, 'request', 0)", (job_id,))
    file.execute("DELETE FROM job")
    for table in ("request", "response", "event"):
        assert file.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    assert file.execute("SELECT job_id FROM body").fetchall() == [(None,)]


def test_every_state_and_result_is_counted_from_the_first_day(file: sqlite3.Connection) -> None:
    counters = file.execute("SELECT machine, state, count FROM counter").fetchall()
    words = [("job", state) for state in State] + [("result", result) for result in Result]
    assert sorted(counters) == sorted((*word, 0) for word in words)


# --- the timeline -------------------------------------------------------------------------------


def test_the_timeline_shows_a_jobs_own_times_and_its_events_as_one_history(
    file: sqlite3.Connection,
) -> None:
    times = {
        "submitted_at": START,
        "started_at": START + 2 * SECOND,
        "finished_at": START + 4 * SECOND,
        "fetched_at": START + 6 * SECOND,
        "status": 200,
    }
    job_id = insert(file, a_job("done", "taken", **times))
    note = {"job_id": job_id, "now": START + SECOND, "event": "recovered", "detail": "killed"}
    file.execute(events.NOTE.sql, events.NOTE.bound(note))
    found = file.execute("SELECT at, event, detail FROM timeline WHERE job_id = 1 ORDER BY at")
    assert found.fetchall() == [
        (START, "submitted", None),
        (START + SECOND, "recovered", "killed"),
        (START + 2 * SECOND, "started", "attempt 1"),
        (START + 4 * SECOND, "done", "status 200"),
        (START + 6 * SECOND, "fetched", None),
    ]
