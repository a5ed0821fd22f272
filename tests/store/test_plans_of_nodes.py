"""How PostgreSQL finds the rows of a statement, by a plan that was made when there were few jobs.

Such a plan is kept until somebody analyses the table, however large that has become by then.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final

import psycopg
import pytest
from sqlalchemy.exc import InvalidRequestError

from jobstore.live.joining import BY_INDEX
from jobstore.store.expressions import Statement
from jobstore.store.postgresql.many import many
from tests.databases import SCHEMA
from tests.engines import Place, named
from tests.store.test_plans import statements
from tests.stores import prepare

Session = psycopg.Connection[tuple[Any, ...]]

# What does not grow with the jobs: it has a row for each word, account, token, node, target or day.
SMALL: Final = frozenset(
    {
        "account",
        "account_usage_slot",
        "boot",
        "counter_slot",
        "day_slot",
        "meta",
        "revision",
        "served",
        "session",
        "target_state",
        "token",
    }
)
# As many as there are when PostgreSQL analyses a table first by itself.
FEW: Final = """
    INSERT INTO job (state, result, dialect, owner, target, method, path, priority, attempt,
        submitted_at, warnings)
    SELECT 'queued', 'none', 'arango', '', '/', 'GET', '/', 0, 0, 0, 0 FROM generate_series(1, 60)
"""
# What PostgreSQL has no words for, since no node ever executes it.
OF_FILES: Final = re.compile(r"sqlite_sequence|OnConflict")
# A look for a job whose id is bound, or stands in the table of values.
FINDS_BY_ID: Final = re.compile(r"\bjob\.id = (?:\$|anon_1\.)")


@pytest.fixture(scope="module")
def session(postgresql: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Give a session, as a node has it, in a store that was analysed when it was small."""
    del postgresql  # which only has to be there
    with named(tmp_path_factory.mktemp("plans") / "jobs.db", "postgresql") as place:
        assert isinstance(place, Place)
        prepare(place)
        with psycopg.connect(place.url, autocommit=True) as link:
            settings = {"search_path": SCHEMA, "plan_cache_mode": "force_generic_plan", **BY_INDEX}
            for name, value in settings.items():
                link.execute(f"SET {name} TO {value}")
            link.execute(FEW)
            link.execute("ANALYZE")
            yield link


def executed() -> dict[str, str]:
    """Name the text of every statement, and for many of those that find a job by its id."""
    found: dict[str, str] = {}
    for name, one in statements().items():
        text = words(one)
        if text is None or name.startswith("sqlite."):
            continue
        found[name] = text
        with suppress(InvalidRequestError):  # of those of which no operation is made abreast
            for_many = many(one)
            if for_many is not None and FINDS_BY_ID.search(for_many.statement.pg_sql):
                found[f"{name} of many"] = for_many.statement.pg_sql
    return found


def words(one: Statement) -> str | None:
    try:
        text = one.pg_sql
    except AttributeError:  # of a construct that is SQLite's own
        return None
    return None if OF_FILES.search(text) else text


def plan(session: Session, text: str) -> str:
    """Say how PostgreSQL would execute a statement again and again."""
    session.execute(f"PREPARE one AS {text}")
    try:
        count = max([0, *map(int, re.findall(r"\$(\d+)", text))])
        values = f"({', '.join(['NULL'] * count)})" if count else ""
        rows = session.execute(f"EXPLAIN EXECUTE one{values}").fetchall()
    finally:
        session.execute("DEALLOCATE one")
    return "\n".join(row[0] for row in rows)


@pytest.mark.parametrize("name", executed())
def test_no_statement_of_a_node_reads_a_whole_table_that_grows(session: Session, name: str) -> None:
    read = set(re.findall(r"Seq Scan on (?!\w+_seq\b)(\w+)", plan(session, executed()[name])))
    assert read <= SMALL


BY_ID: Final = [name for name, text in executed().items() if FINDS_BY_ID.search(text)]


@pytest.mark.parametrize("name", BY_ID)
def test_a_job_is_found_by_its_id(session: Session, name: str) -> None:
    found = plan(session, executed()[name])
    assert re.search(r"Scan using job_pkey on job\b.*\n\s*Index Cond: \(id = ", found), found
