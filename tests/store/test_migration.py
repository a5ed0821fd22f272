"""A store of an earlier version is brought up to date with all that is in it."""

import importlib.util
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.model.account import Identity, Role
from jobstore.model.errors import TagTaken
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.migrate import migrate, upgrade
from tests.commands import refused
from tests.stores import (
    START,
    check_sound,
    finish,
    next_claim,
    opened,
    orders_of,
    rows,
    states,
    submission,
    taken,
    timeline,
)

pytestmark = pytest.mark.file

VERSIONS: Final = Path(__file__).parents[2] / "migrations" / "versions"

JOBS: Final = (
    # id, state, result, boot, started_at, finished_at, status
    (1, "done", "held", 1, START, START + 1, 200),
    (2, "queued", "none", None, None, None, None),
    (3, "running", "none", 1, START, None, None),
    (4, "failed", "expired", 1, START, START + 1, 502),
)


def statements_of(name: str) -> list[str]:
    spec = importlib.util.spec_from_file_location("revision", VERSIONS / name)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.STATEMENTS)


@pytest.fixture
def old(store_path: Path) -> Path:
    """Give a store as the first version left it, with jobs in it."""
    with closing(sqlite.connect(store_path, "rwc", ["PRAGMA journal_mode = WAL"])) as file:
        file.execute("BEGIN")
        for statement in statements_of("0001_jobs.py"):
            file.execute(statement)
        file.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        file.execute("INSERT INTO alembic_version VALUES ('0001')")
        file.execute("INSERT INTO boot (started_at, pid, version) VALUES (?, 7, '0.1.0')", [START])
        for job in JOBS:
            put(file, *job)
        file.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        file.execute("PRAGMA user_version = 1")
        file.execute("COMMIT")
    return store_path


def put(file: sqlite3.Connection, job_id: int, state: str, result: str, *rest: int | None) -> None:
    file.execute(
        "INSERT INTO job (id, state, result, boot, started_at, finished_at, status, dialect, owner,"
        " target, method, path, priority, attempt, submitted_at, warnings)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, 'arango', 'root', '/', 'GET', '/work', 0, 1, ?, 0)",
        (job_id, state, result, *rest, START),
    )
    file.execute("INSERT INTO request VALUES (?, '[]', NULL, x'')", [job_id])
    if result == "held":
        file.execute("INSERT INTO response VALUES (?, NULL, '[]', x'6b657074')", [job_id])


@pytest.fixture
def owned(old: Path) -> Path:
    """Give a store as the third version left it, with an account, its token and its things."""
    with closing(sqlite.connect(old, "rw", ["PRAGMA foreign_keys = ON"])) as file:
        file.execute("BEGIN")
        for name in ("0002_definitions_and_accounts.py", "0003_retries_schedules_and_history.py"):
            for statement in statements_of(name):
                file.execute(statement)
        file.execute("UPDATE alembic_version SET version_num = '0003'")
        for name in ("bob", "root"):
            file.execute("INSERT INTO account VALUES (?, 'user', 'x', 1, 1)", [name])
        token = "INSERT INTO token (account, label, digest, created_at) VALUES ('root', '', ?, 1)"
        file.execute(token, ["first"])
        file.execute(token, ["second"])
        file.execute("DELETE FROM token WHERE digest = 'second'")
        file.execute("UPDATE job SET owner = 'gone' WHERE id = 4")
        for key, owner in (("a", "root"), ("b", "gone")):
            file.execute("INSERT INTO idempotency VALUES (?, ?, 'same', 1, 1)", [owner, key])
        file.execute(
            "INSERT INTO definition (file_id, uuid, name, path, owner, method, request_target,"
            " headers, content, created_at, changed_at)"
            " VALUES (1000001, 'u', 'daily', '/daily', 'root', 'GET', '/', '[]', x'', 1, 1)"
        )
        file.execute("PRAGMA user_version = 3")
        file.execute("COMMIT")
    return old


def schema_of(path: Path) -> list[Any]:
    schema = rows(path, "SELECT type, name, sql FROM sqlite_schema ORDER BY type, name")
    return [row for row in schema if "alembic" not in row[1]]


def dumped(path: Path) -> list[object]:
    """Give all that is in a store, and what its header says of it."""
    marks = ("application_id", "user_version", "auto_vacuum", "page_size", "journal_mode")
    with closing(sqlite.connect(path, "ro")) as file:
        header = [file.execute(f"PRAGMA {mark}").fetchone()[0] for mark in marks]
        return [*header, *file.iterdump()]


def test_a_new_one_is_what_the_migrations_make_of_an_empty_file(tmp_path: Path) -> None:
    migrate(tmp_path / "made.db")
    upgrade(tmp_path / "migrated.db")
    made, migrated = dumped(tmp_path / "made.db"), dumped(tmp_path / "migrated.db")
    assert made == migrated, "it is made by: PYTHONPATH=.:scripts .venv/bin/python -m pages"


def test_it_has_the_schema_of_a_new_one_afterwards(old: Path, tmp_path: Path) -> None:
    migrate(tmp_path / "new.db")
    assert migrate(old) == (1, sqlite.SCHEMA_VERSION)
    assert [row[:2] for row in schema_of(old)] == [
        row[:2] for row in schema_of(tmp_path / "new.db")
    ]


async def test_its_jobs_go_on_where_they_were(old: Path) -> None:
    async with opened(old) as store:
        assert await store.upkeep.orphans() != []
        await store.upkeep.recover([3], "the server was killed")
        orders = orders_of(store, {"/": 1})
        for job_id in (2, 3):
            claim = await next_claim(orders)
            assert (claim.job_id, claim.owner) == (job_id, "root")
            await finish(store, claim)
        assert await taken(store, 2) is not None
    assert states(old) == {
        1: ("done", "held"),
        2: ("done", "taken"),
        3: ("done", "held"),
        4: ("failed", "expired"),
    }
    assert "recovered" in timeline(old, 3)


async def test_a_tag_that_a_job_of_an_earlier_version_has_is_found_and_free_again(
    store_path: Path,
) -> None:
    names = sorted(path.name for path in VERSIONS.glob("000[123]_*.py"))
    with closing(sqlite.connect(store_path, "rwc", ["PRAGMA journal_mode = WAL"])) as file:
        file.execute("BEGIN")
        for statement in [each for name in names for each in statements_of(name)]:
            file.execute(statement)
        file.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        file.execute("INSERT INTO alembic_version VALUES ('0003')")
        file.execute("INSERT INTO boot (started_at, pid, version) VALUES (?, 7, '0.1.0')", [START])
        for job in JOBS[:2]:
            put(file, *job)
        file.execute("UPDATE job SET tag = 'nightly', owner = 'bob' WHERE id = 1")
        file.execute("UPDATE job SET tag = 'nightly', owner = 'alice' WHERE id = 2")
        file.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        file.execute("PRAGMA user_version = 3")
        file.execute("COMMIT")
    async with opened(store_path) as store:
        assert await store.results.tagged("nightly", Identity(name="bob")) == 1
        assert await store.results.tagged("nightly", Identity(name="alice")) == 2
        with pytest.raises(TagTaken):
            await store.submit(replace(submission(), tag="nightly", owner="alice"))
        again = await store.submit(replace(submission(), tag="nightly", owner="bob"))
        assert await store.results.tagged("nightly", Identity(name="bob")) == again


@pytest.fixture
def counting(store_path: Path) -> Path:
    """Give a store of a version in which triggers counted, with jobs in it that they have seen."""
    names = sorted(path.name for path in VERSIONS.glob("000[1234]_*.py"))
    with closing(sqlite.connect(store_path, "rwc", ["PRAGMA journal_mode = WAL"])) as file:
        file.execute("BEGIN")
        for statement in [each for name in names for each in statements_of(name)]:
            file.execute(statement)
        file.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        file.execute("INSERT INTO alembic_version VALUES ('0004')")
        file.execute("INSERT INTO boot (started_at, pid, version) VALUES (?, 7, '0.1.0')", [START])
        for job in JOBS:
            put(file, *job)
        file.execute("UPDATE job SET stored = 4 WHERE id = 1")
        file.execute(f"PRAGMA application_id = {sqlite.APPLICATION_ID}")
        file.execute("PRAGMA user_version = 4")
        file.execute("COMMIT")
    return store_path


async def test_what_triggers_have_counted_is_kept_and_operations_count_on(counting: Path) -> None:
    kept = [f"SELECT * FROM {table}" for table in ("counter", "account_usage", "day")]
    before = [rows(counting, text) for text in kept]
    assert migrate(counting) == (4, sqlite.SCHEMA_VERSION)
    assert [rows(counting, text) for text in kept] == before
    check_sound(counting)
    async with opened(counting) as store:  # which is found to be sound afterwards
        await store.upkeep.fail_orphans([3], "the server was killed")
        await finish(store, await next_claim(orders_of(store, {"/": 1})))
        await taken(store, 1)
    assert rows(counting, "SELECT submitted, done, failed FROM day") == [(4, 2, 2)]


async def test_its_results_are_still_there(old: Path) -> None:
    async with opened(old) as store:
        _, body = await taken(store, 1)
    assert body == b"kept"


def test_a_command_leaves_it_to_the_server_and_to_migrate(old: Path) -> None:
    assert "run `jobstore migrate`" in refused("restore", 1, "--store", old)


def test_what_was_an_owners_belongs_to_the_account_that_has_the_name(owned: Path) -> None:
    migrate(owned)
    accounts = dict(rows(owned, "SELECT name, id FROM account"))
    assert accounts == {"bob": 1, "root": 2}
    assert rows(owned, "SELECT id, account FROM job ORDER BY id") == [
        (1, 2),
        (2, 2),
        (3, 2),
        (4, 0),
    ]
    assert rows(owned, "SELECT account FROM definition") == [(2,)]
    assert rows(owned, "SELECT key, account FROM idempotency ORDER BY key") == [("a", 2), ("b", 0)]


async def test_accounts_and_tokens_outlive_a_migration_and_their_ids_are_not_given_out_again(
    owned: Path,
) -> None:
    async with opened(owned) as store:
        assert dict(store.accounts.snapshot().holders) == {"first": "root"}
        assert await store.accounts.add_token("bob", "", "third") == 3
        await store.accounts.remove("root")
        await store.accounts.add("root", Role.USER, "x")
        snapshot = store.accounts.snapshot()
        assert snapshot.accounts["root"].id == 3
        assert dict(snapshot.holders) == {"third": "bob"}


def test_the_pauses_of_what_is_tried_again_are_known_as_such_afterwards(old: Path) -> None:
    with closing(sqlite.connect(old, "rw", [])) as file:
        file.execute("BEGIN")
        for name in ("0002_definitions_and_accounts.py", "0003_retries_schedules_and_history.py"):
            for statement in statements_of(name):
                file.execute(statement)
        put(file, 5, "queued", "none", None, None, None, None)
        put(file, 6, "queued", "none", None, None, None, None)
        file.execute("UPDATE job SET not_before = ? WHERE id IN (5, 6)", [START + 70])
        file.execute("UPDATE job SET retried = 2 WHERE id = 5")
        file.executemany(
            "INSERT INTO attempt (job_id, number, started_at, ended_at) VALUES (5, ?, ?, ?)",
            [(1, START, START + 10), (2, START + 20, START + 30)],
        )
        file.execute("UPDATE alembic_version SET version_num = '0003'")
        file.execute("PRAGMA user_version = 3")
        file.execute("COMMIT")
    assert migrate(old) == (3, sqlite.SCHEMA_VERSION)
    assert rows(old, "SELECT job_id, length FROM delay") == [(5, 40)]
