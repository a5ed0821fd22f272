"""What stands in a store is the same on both engines, but for the few things that are named here.

The schemas are read by SQLAlchemy: https://docs.sqlalchemy.org/en/21/core/reflection.html
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import Inspector, create_engine, inspect

from jobstore.store.windows import WINDOW
from tests.databases import SCHEMA, Databases
from tests.engines import ENGINES, Place, named
from tests.stock import Stock, stocked
from tests.store.test_views import COLUMNS, START, various
from tests.stores import columns, prepare, rows

Stores = dict[str, Path]

# A node has a lease, targets of its own, and bodies and deliveries that are its own.
ONLY_OF_NODES: Final = {
    "boot": {"name", "host", "batch", "seen_at", "targets", "delivering", "died"},
    "body": {"boot"},
    "job": {"reader"},
    "operation": {"boot"},
}
# On PostgreSQL each batch writes the row that it would refer to.
ONLY_OF_FILES: Final = {"job": {("boot", "boot", "id", "NO ACTION")}}
# What a file has in its header, and what one process keeps in memory.
TABLES_OF_NODES: Final = {"meta", "rate"}
INDEXES_OF_NODES: Final = {"boot_alive", "job_cancelling"}
# Each node counts in rows of its own, of which a view gives the sums.
COUNTED: Final = {"counter", "account_usage", "day"}
KINDS: Final = {"INTEGER": "BIGINT", "REAL": "DOUBLE PRECISION", "BLOB": "BYTEA"}


@pytest.fixture
def stores(postgresql: Databases, tmp_path: Path) -> Iterator[Stores]:
    """Name a store on each engine."""
    del postgresql  # which only has to be there
    with named(tmp_path / "jobs.db", "postgresql") as place:
        yield dict(zip(ENGINES, (tmp_path / "file.db", place), strict=True))


@pytest.fixture
def schemas(stores: Stores) -> Iterator[dict[str, Inspector]]:
    """Give what tells about the schemas of both engines."""
    made = []
    for path in stores.values():
        prepare(path)
        url = f"sqlite:///{path}"
        if isinstance(path, Place):
            url = path.url.replace("postgresql://", "postgresql+psycopg://")
        made.append(create_engine(url))
    yield {name: inspect(engine) for name, engine in zip(stores, made, strict=True)}
    for engine in made:
        engine.dispose()


def where(engine: str) -> str | None:
    return SCHEMA if engine == "postgresql" else None


def tables(schemas: dict[str, Inspector]) -> tuple[set[str], set[str]]:
    file, database = (
        {*schema.get_table_names(schema=where(engine))} for engine, schema in schemas.items()
    )
    return file, database


def shared_tables(schemas: dict[str, Inspector]) -> list[str]:
    return sorted(set.intersection(*tables(schemas)) - {"alembic_version"})


def test_the_tables_are_the_same(schemas: dict[str, Inspector]) -> None:
    file, database = tables(schemas)
    assert file - database == COUNTED
    assert database - file == {f"{name}_slot" for name in COUNTED} | TABLES_OF_NODES


def test_the_columns_are_the_same(schemas: dict[str, Inspector]) -> None:
    for table in shared_tables(schemas):
        file, database = (
            described(
                schema.get_columns(table, schema=where(engine)), primary(schema, engine, table)
            )
            for engine, schema in schemas.items()
        )
        added = ONLY_OF_NODES.get(table, set())
        assert set(database) - set(file) == added
        assert {name: each for name, each in database.items() if name not in added} == file, table


def primary(schema: Inspector, engine: str, table: str) -> list[str]:
    return schema.get_pk_constraint(table, schema=where(engine))["constrained_columns"]


def described(found: Iterable[Any], primary: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Give the kind of each column, and whether it may be null; SQLite says that of ids as well."""
    described = {}
    for column in found:
        kind, name = str(column["type"]), column["name"]
        described[name] = (KINDS.get(kind, kind), column["nullable"] and name not in {*primary})
    return described


def test_what_nodes_count_apart_has_the_same_columns_in_sum(
    schemas: dict[str, Inspector], stores: Stores
) -> None:
    for table in COUNTED:
        kept = columns(stores["file"], table)
        assert columns(stores["postgresql"], table) == kept
        apart = [name for name in columns(stores["postgresql"], f"{table}_slot") if name != "slot"]
        assert apart == kept
        keys = [primary(schemas["file"], "file", table)]
        keys.append(primary(schemas["postgresql"], "postgresql", f"{table}_slot"))
        assert [*keys[0], "slot"] == keys[1]


def test_the_keys_and_the_rules_are_the_same(schemas: dict[str, Inspector]) -> None:
    for table in shared_tables(schemas):
        file, database = (keys(schema, engine, table) for engine, schema in schemas.items())
        assert file == database, table


def keys(schema: Inspector, engine: str, table: str) -> tuple[object, ...]:
    """Give the names of what makes rows unique, and of the rules for each."""
    unique = {
        tuple(each["column_names"])
        for each in schema.get_unique_constraints(table, schema=where(engine))
    }
    rules = {each["name"] for each in schema.get_check_constraints(table, schema=where(engine))}
    return primary(schema, engine, table), unique, rules


def test_what_refers_to_what_is_the_same(schemas: dict[str, Inspector], stores: Stores) -> None:
    for table in shared_tables(schemas):
        # SQLAlchemy does not see what becomes of rows in a file whose references are gone.
        found = rows(stores["file"], f"PRAGMA foreign_key_list({table})")
        references = {(own, other, key, act) for _, _, other, own, key, _, act, _ in found}
        assert references - ONLY_OF_FILES.get(table, set()) == {
            (
                *each["constrained_columns"],
                each["referred_table"],
                *each["referred_columns"],
                each["options"].get("ondelete", "NO ACTION"),
            )
            for each in schemas["postgresql"].get_foreign_keys(table, schema=SCHEMA)
        }


def test_the_indexes_are_the_same(schemas: dict[str, Inspector]) -> None:
    for table in shared_tables(schemas):
        file, database = (indexes(schema, engine, table) for engine, schema in schemas.items())
        kept = {name: each for name, each in database.items() if name not in INDEXES_OF_NODES}
        assert kept == file, table


def indexes(schema: Inspector, engine: str, table: str) -> dict[str, tuple[object, ...]]:
    """Give the columns of each index, whether it is unique, and which rows it has."""
    return {
        str(each["name"]): (
            each["column_names"],
            bool(each["unique"]),
            plain(each.get("dialect_options", {}).get(f"{schema.dialect.name}_where", "")),
        )
        for each in schema.get_indexes(table, schema=where(engine))
        if "duplicates_constraint" not in each
    }


def plain(condition: object) -> str:
    """Write a condition as both engines might."""
    return " ".join(re.sub(r"::text|[()]", "", str(condition)).split())


# --- the views ----------------------------------------------------------------------------------


async def many(stock: Stock) -> None:
    """Make some jobs of every kind, at times of all kinds."""
    for number in range(WINDOW // 100):
        stock.clock.move(7919.000_001 * number)
        path = f"/répertoire/{number}?n={number}%3F"
        await stock.done(path, status=200 + number * 50, owner="Ærø \N{SNOWMAN} 'quoted'")
        await stock.failed(f"/{number}", method="POST", tag=f"tag {number}")
        await stock.cancelled(f"/{number}", priority=number)
    await stock.fetch(await stock.done("/taken", answer={"body": bytes(range(256)) * 2000}))


def filled(path: Path) -> Path:
    """Fill a store by two starts of a server."""
    stocked(path, various, START)
    return stocked(path, many, START + 10**12)


def test_the_views_say_the_same_of_the_same_jobs(stores: Stores) -> None:
    file, database = (filled(path) for path in stores.values())
    for view in COLUMNS:
        there, here = (
            {repr(row) for row in rows(path, f"SELECT * FROM {view}")} for path in (file, database)
        )
        assert there == here
        assert len(here) > 3
