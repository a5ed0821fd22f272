import importlib
import pkgutil
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Final

import pytest

from jobstore import store
from jobstore.store.expressions import Statement
from jobstore.store.sqlite import engine as sqlite
from tests.stores import prepare

# The statements whose rows are found by an index that holds only the jobs in question.
INDEXED: Final = {
    "CLAIM": "job_ready",
    "NEXT_OF_ACCOUNT": "job_ready",
    "NEXT_WAITING_ACCOUNT": "job_ready",
    "REROUTE": "job_ready",
    "NEXT_QUEUED_TARGET": "job_ready",
    "ORPHANS": "job_running",
    "DUE": "job_due",
    "NEXT_DUE": "job_due",
    "MOVE_DELAYED": "job_due",
    "SHORTEN_DELAYED": "job_due",
    "RELEASE": "job_following",
    "CANCEL_FOLLOWERS": "job_following",
    "OWN_TAGGED": "job_tag_of_owner",
    "ANY_TAGGED": "job_tag",
    "PENDING_IDS": "job_pending",
    "HELD_IDS": "job_held",
    "DELETE_STEPS none": "job_pending",
    "DELETE_STEPS held": "job_held",
    "EXPIRE_STEP": "job_unfetched",
    "PURGEABLE": "job_purgeable",
    "REDATE 0": "job_unfetched",
    "REDATE 1": "job_purgeable",
    "FIND_BODY": "body_of_job",
    "DROP_BODIES": "body_of_job",
    "DROP_RESPONSE_BODIES": "body_of_job",
    "LOOSE_CHUNKS": "body_orphan",
    "NEWEST_RUN": "job_of_definition",
    "NEWEST_WRONG": "job_bad",
    "UNFINISHED": "operation_running",
    "END_SURPLUS": "session_of_account",
    "FORGET": "operation_over",
}

# Where statements are that no file ever hears.
AMONG_NODES: Final = ("postgresql", "elsewhere", "rates")

# What does not grow with the jobs: it has a row for each word, account, token, session, table or
# target, or for what an operator did.
SMALL: Final = frozenset(
    {"counter", "revision", "account", "token", "session", "sqlite_sequence"}
    | {"target_state", "served", "audit"}
)

# The statements that go along a whole index of a table that grows, each with the reason.
_AS_MANY_AS_ASKED_FOR = "ends after as many as were asked for"
ALONG: Final = {
    "jobs.PENDING_IDS": _AS_MANY_AS_ASKED_FOR,
    "jobs.HELD_IDS": _AS_MANY_AS_ASKED_FOR,
    "history.NEWEST_AWAITED none": _AS_MANY_AS_ASKED_FOR,
    "history.NEWEST_AWAITED held": _AS_MANY_AS_ASKED_FOR,
    "history.ACTIVE 0": "no more jobs run than there are slots",
    "history.ACTIVE 1": _AS_MANY_AS_ASKED_FOR,
    "target_states.WAITING": "counts what waits, for people who look",
    "target_states.RUNNING": "no more jobs run than there are slots",
    "checks.LOOSE": "counts all of what a check is asked for",
    "bodies.LOOSE_CHUNKS": "all of what is found there goes away, and a step has a bound",
    "bulk.UNFINISHED": "has the operations that are not over, each of which somebody made",
    "definitions.DROP": "has the deleted definitions only, each of which people made",
}

# The statements that sort, each with the reason.
SORTING: Final = {
    "job_records.TIMELINE": "has the few events of a single job",
    "overview.SUMS": "adds up names, of which each span has a bounded number",
    "target_states.RUNNING": "no more jobs run than there are slots",
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Give a connection, as the writer has it, to an empty store."""
    path = tmp_path_factory.mktemp("plans") / "jobs.db"
    prepare(path)
    with closing(sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)) as connection:
        yield connection


def statements() -> dict[str, Statement]:
    """Name every statement of the store; those that come in groups have a key as well."""
    found: dict[Statement, str] = {}
    for info in pkgutil.walk_packages(store.__path__, f"{store.__name__}."):
        module = importlib.import_module(info.name)
        room = info.name.removeprefix(f"{store.__name__}.")
        if room.startswith(AMONG_NODES):
            continue
        for name, value in vars(module).items():
            for key, one in members(value):
                if isinstance(one, Statement):
                    found.setdefault(one, f"{room}.{name}{key}")  # where it is made, not imported
    return {name: one for one, name in found.items()}


def members(value: object) -> list[tuple[str, object]]:
    match value:
        case tuple():
            return [(f" {number}", one) for number, one in enumerate(value)]
        case Mapping():
            return [(f" {key}", one) for key, one in value.items()]
    return [("", value)]


def named(name: str) -> Statement:
    """Find a statement by its own name."""
    (found,) = (one for key, one in statements().items() if key.partition(".")[2] == name)
    return found


def plan(file: sqlite3.Connection, text: str) -> str:
    """Say how SQLite would execute a statement."""
    values = [None] * text.count("?")
    return "\n".join(step[3] for step in file.execute(f"EXPLAIN QUERY PLAN {text}", values))


@pytest.mark.parametrize(("name", "index"), INDEXED.items())
def test_a_statement_finds_its_rows_by_the_index_made_for_it(
    file: sqlite3.Connection, name: str, index: str
) -> None:
    assert re.search(rf"USING (COVERING )?INDEX {index}\b", plan(file, named(name).sql))


def test_every_index_serves_a_statement(file: sqlite3.Connection) -> None:
    made = file.execute("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    plans = "\n".join(plan(file, statement.sql) for statement in statements().values())
    plans += plan(file, "SELECT * FROM timeline WHERE job_id = ?")
    assert [name for (name,) in made if f"INDEX {name}" not in plans] == []


@pytest.mark.parametrize("name", statements())
def test_no_statement_reads_a_whole_table_that_grows(file: sqlite3.Connection, name: str) -> None:
    scans = re.findall(r"SCAN (?:.+\.)?(\w+)(?! VIRTUAL)\b(.*)", plan(file, statements()[name].sql))
    grown = [(table, how) for table, how in scans if table in tables(file) - SMALL]
    assert all("INDEX" in how for _, how in grown)
    assert bool(grown) == (name in ALONG), ALONG.get(name)


def tables(file: sqlite3.Connection) -> set[str]:
    return {name for (name,) in file.execute("SELECT name FROM pragma_table_list")}


@pytest.mark.parametrize("name", statements())
def test_no_statement_sorts_what_an_index_has_in_order(file: sqlite3.Connection, name: str) -> None:
    sorts = "TEMP B-TREE" in plan(file, statements()[name].sql)
    assert sorts == (name in SORTING), SORTING.get(name)


def test_the_timeline_of_a_job_is_found_by_indexes(file: sqlite3.Connection) -> None:
    steps = plan(file, "SELECT * FROM timeline WHERE job_id = ? ORDER BY at").splitlines()
    searches = [step for step in steps if re.match(r"(SEARCH|SCAN) (job|event)\b", step)]
    by_id = "SEARCH job USING INTEGER PRIMARY KEY (rowid=?)"
    assert searches == [by_id] * 4 + ["SEARCH event USING INDEX event_of_job (job_id=?)"]
