"""A whole store is moved from a file into a database, and back."""

import asyncio
import json
import signal
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.model import clock
from jobstore.model.clock import SECOND
from jobstore.store.moving import LEFT, TABLES
from jobstore.store.schema import columns
from jobstore.store.sequences import COUNTED
from tests import engines, stores, tables
from tests.accounts import PASSWORD
from tests.client import Client
from tests.commands import jobstore, refused, said, start
from tests.conftest import Start, started
from tests.engines import Place
from tests.stock import Stock, stocked
from trials.nursery import ForkedServer

START: Final = 1_700_000_000 * SECOND
LARGE: Final = bytes(range(256)) * 4096  # one MiB, in several chunks
SECRET: Final = (("Authorization", "Bearer of-the-target"),)
# What is counted; a file says so of what there is none of, and has its token there.
WHAT_COUNTS: Final = "WHERE machine <> 'mark' AND count <> 0"
# What people and their tools read.
VIEWS: Final = ("history", "timeline", "attempts", "daily")
# A table that the move comes to late, which nobody looks at before.
LATE: Final = "account_usage_slot"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# One that somebody has stopped, with what was left of it.
OPERATION = (
    "INSERT INTO operation"
    " VALUES (1, 'retry', '{}', 'a', 0, NULL, 0, 'stopped', 5, 6, 'b', 3, 1, 0, '{}', NULL, 0, 1)"
)


async def everything(stock: Stock) -> None:
    """Put jobs in that stand everywhere a job can stand."""
    await stock.done("/held?a=%C3%A4", headers=SECRET, body=LARGE, answer={"body": LARGE[::-1]})
    await stock.fetch(await stock.done("/taken", status=404, answer={"body": b"\0\xff text"}))
    await stock.failed("/down", method="POST", owner="alice")
    await stock.store.cancel(await stock.queued("/stop"), by="alice")
    stock.clock.now += SECOND
    claim = await stock.running("/left-over", headers=SECRET, body=b"\0" * 10)
    stock.handle(claim).report(40)
    stock.handle(claim).count("RECORDS", 1200)
    stock.handle(claim).warn("a row was odd: \N{SNOWMAN}")
    first = await stock.queued("/later", tag="mine", priority=3, key="once-only")
    await stock.queued("/after", follows=first)
    await stock.queued("/delayed", delay=3600 * SECOND)
    await stock.queued("/at", not_before=stock.clock.now + 7200 * SECOND)
    await stock.done("/unwanted", wanted=False)


def full(path: Path, now: int = START) -> Path:
    """Make a store with everything in it that can be there."""
    stocked(path, everything, now)
    where = ("--store", path)
    request = ("--target", "/import?records=10", "--header", "X-Key: geheim", "--body", "größer")
    daily = ("--name", "daily", "--path", "/daily", "--cron", "0 3 * * *", "--timeout", "1.5s")
    said("define", *daily, *request, *where)
    said("define", "--name", "gone", "--path", "/gone", "--target", "/", *where)
    said("undefine", "/gone", *where)
    said("run", "/daily", *where)
    jobstore("user", "add", "a", "--role", "admin", "--password-stdin", *where, input=PASSWORD)
    said("user", "token", "a", "--json", *where)
    said("user", "token", "a", "--json", *where)
    said("user", "revoke", 2, *where)
    for statement in (
        "INSERT INTO attempt VALUES (3, 1, 5, 7, 503, 'unreachable', 'refused')",
        "INSERT INTO boot (started_at, pid, version) VALUES (7, 4711, '0.0.9')",  # killed
        "INSERT INTO body (side, size) VALUES ('request', 0)",  # its client has gone away
        "INSERT INTO chunk SELECT max(id), 0, x'0001ff' FROM body",
        "INSERT INTO idempotency VALUES (0, 'alice', 'a key', 'print', 3, 17)",
        "INSERT INTO target_state VALUES ('/elsewhere', 7, 'ada', 'a migration', 2, 8)",
        "INSERT INTO served VALUES (1, '/', 32, 9, 'refused')",
        "INSERT INTO audit (at, who, what, subject, detail) VALUES (7, 'ada', 'pause', '/', 'why')",
        OPERATION,
        "INSERT INTO operation_part VALUES (1, 0, '[1, 2, 3]')",
        "INSERT INTO period VALUES (900, 'route', 0, 'GET /', 1, 0, 0, 0, '3,1', '9,1', 5000)",
        "INSERT INTO uncounted VALUES (6)",
        "UPDATE sqlite_sequence SET seq = 50 WHERE name = 'job'",
        "UPDATE job SET timeout = 2.5, replay = 'always', retries = 3, depth = 1 WHERE id = 6",
    ):
        stores.execute(path, statement)
    return path


def contents(store: Path) -> dict[str, list[Any]]:
    """Read all tables, as far as they are the same whatever the engine; and all views."""
    found = {}
    for table in TABLES:
        names = [column.name for column in columns(table)]
        if isinstance(store, Place) and table.name == "boot":
            names[names.index("ended_at")] = "CASE WHEN died = 1 THEN NULL ELSE ended_at END"
        which = WHAT_COUNTS if table.name == "counter" else ""
        rows = stores.rows(store, f"SELECT {', '.join(names)} FROM {table.name} {which}")
        found[table.name] = sorted(rows, key=repr)
    for view in VIEWS:
        found[view] = sorted(stores.rows(store, f"SELECT * FROM {view}"), key=repr)
    return found


def given(path: Path) -> dict[str, int]:
    """Tell the last ids that a file has given."""
    return dict(stores.rows(path, "SELECT name, seq FROM sqlite_sequence"))


def test_everything_goes_into_a_database_and_back(store_path: Path, database: Place) -> None:
    before = contents(full(store_path))
    assert all(before[table.name] for table in TABLES)
    said("move", store_path, database)
    assert contents(store_path) == before, "the source stays as it is"
    assert contents(database) == before
    assert json.loads(said("check", "--json", "--store", database))["ok"]
    said("move", database, "back.db")
    assert contents(Path("back.db")) == before
    assert given(Path("back.db")) == given(store_path)
    assert json.loads(said("check", "--json", "--store", "back.db"))["ok"]
    assert contents(database) == before, "the source stays as it is"


def test_no_table_and_no_sequence_is_forgotten(store_path: Path, database: Place) -> None:
    assert {*TABLES, *LEFT} == {*tables.TABLES}
    stores.prepare(store_path)
    counted = stores.rows(store_path, "SELECT name FROM sqlite_schema WHERE sql LIKE '%AUTOINC%'")
    assert {name for (name,) in counted} == {*COUNTED}
    sequences = stores.rows(database, "SELECT relname FROM pg_class WHERE relkind = 'S'")
    assert {name for (name,) in sequences} == {f"{table}_id_seq" for table in COUNTED}


def test_it_is_told_what_was_moved_and_what_to_write_down(
    store_path: Path, database: Place
) -> None:
    stocked(store_path, everything, START)
    Path("jobs.toml").write_text('[store]\npath = "jobs.db"\nmax_size = "1GiB"\n')
    told = said("move", "--config", "jobs.toml", store_path, database)
    assert "10 jobs, 2 answers, 0 definitions, 0 accounts, everything in" in told
    assert '[store]\nurl = "postgresql://' in told
    told = said("move", database, "back.db", "--json")
    assert json.loads(told)["rows"]["job"] == 10
    told = said("move", database, "third.db")
    assert told.endswith('[store]\npath = "third.db"\n')


async def test_the_new_place_goes_on_where_the_old_one_ended(
    store_path: Path, database: Place, http: ClientSession
) -> None:
    await asyncio.to_thread(full, store_path, clock.now())
    await asyncio.to_thread(jobstore, "user", "remove", "a", "--store", store_path)
    await asyncio.to_thread(said, "move", store_path, database)
    told = await asyncio.to_thread(said, "restore", 2, "--store", database)
    assert told == "The result of job 2 can be fetched again.\n"
    async with started(engines.process(ForkedServer, database)) as begin:
        client = Client(http, (await begin("--open", "--app", "tests.webapp:create_app")).url)
        answer = await client("PUT", "/_api/job/1")
        assert (answer.status, answer.body) == (200, LARGE[::-1])
        assert (await client("PUT", "/_api/job/1")).status == 404
        assert (await client("PUT", "/_api/job/2")).body == b"\0\xff text"
        await client.ended(5)  # it was interrupted, and runs again
        assert await client.submit("/_api/version") > 50


# What is refused


async def test_nobody_may_use_the_source_meanwhile(
    store_path: Path, database: Place, real_server: Start
) -> None:
    server = await real_server()
    told = await asyncio.to_thread(refused, "move", store_path, database)
    assert f"the server with process id {server.process.pid} is using this store" in told
    async with started(engines.process(ForkedServer, database)) as begin:
        node = await begin()
        told = await asyncio.to_thread(refused, "move", database, "new.db")
        assert f"(process id {node.process.pid} on " in told
        assert told.endswith(" is alive; stop all nodes first\n")
        await server.terminate()
        told = await asyncio.to_thread(refused, "move", store_path, database)
        assert "is alive; stop all nodes first" in told


def test_the_destination_has_to_be_empty(store_path: Path, database: Place) -> None:
    stocked(store_path, everything, START)
    said("move", store_path, database)
    held = contents(database)
    told = refused("move", store_path, database)
    assert "this store is not empty (it has rows in boot, job, request" in told
    assert contents(database) == held
    told = refused("move", database, store_path)
    assert told.startswith(f"jobstore: {store_path}: this store is not empty (it has rows in boot")


@pytest.mark.parametrize(
    ("source", "destination", "sentence"),
    [
        ("a.db", "b.db", "expected a file and a database"),
        ("postgresql://a/b", "postgresql://c/d", "expected a file and a database"),
    ],
)
def test_a_store_is_not_moved_within_an_engine(
    source: str, destination: str, sentence: str
) -> None:
    assert sentence in refused("move", source, destination, code=2)


def test_a_source_that_is_not_there_makes_no_destination(database: Place) -> None:
    assert "none.db: no such store" in refused("move", "none.db", database)
    absent = {"JOBSTORE_STORE__SCHEMA": "absent"}
    assert "schema absent: no such store" in refused("move", database, "new.db", env=absent)
    assert not Path("new.db").exists()


def test_a_file_of_something_else_is_left_alone(database: Place) -> None:
    Path("letter.txt").write_text("Dear diary")
    assert "this is not a jobstore file" in refused("move", "letter.txt", database)
    assert "this is not a jobstore file" in refused("move", database, "letter.txt")
    assert Path("letter.txt").read_text() == "Dear diary"
    assert "its folder does not exist" in refused("move", database, "no/such/jobs.db")


# What breaks off in the middle


def broken_off(source: Path, destination: Path, database: Place, number: int) -> int:
    """Move a store, and send the process a signal when most of it is written."""
    with (
        closing(engines.connected(database)) as link,
        closing(engines.connected(database)) as other,
    ):
        link.execute("BEGIN")
        link.execute(f"LOCK TABLE {LATE} IN ACCESS EXCLUSIVE MODE".encode())
        process = start("move", source, destination)
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        while not other.execute(waiting, [LATE]).fetchall():
            assert process.poll() is None, process.communicate()
        process.send_signal(number)
        code = process.wait() if number == signal.SIGKILL else None
        link.execute("ROLLBACK")
        out, _ = process.communicate()
        assert out == b""
        return process.returncode if code is None else code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_move_that_is_broken_off_leaves_an_empty_database(
    store_path: Path, database: Place, number: int
) -> None:
    before = contents(stocked(store_path, everything, START))
    assert broken_off(store_path, database, database, number) != 0
    while stores.rows(
        database, "SELECT 1 FROM pg_locks WHERE relation = 'boot'::regclass AND granted"
    ):
        pass  # the server notices in a moment that nobody is there any more
    assert said("history", "--store", database) == "No jobs in the store.\n"
    assert contents(store_path) == before
    said("move", store_path, database)
    assert contents(database) == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_move_that_is_broken_off_leaves_an_empty_file(database: Place, number: int) -> None:
    before = contents(stocked(database, everything, START))
    assert broken_off(database, Path("new.db"), database, number) != 0
    assert said("history", "--store", "new.db") == "No jobs in the store.\n"
    said("move", database, "new.db")
    assert contents(Path("new.db")) == before
