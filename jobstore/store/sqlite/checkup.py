"""Check a file: what SQLite can find, and what only jobstore knows."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import text

from jobstore.model.errors import StoreError
from jobstore.store.checks import LOGICAL, LOOSE, MOST, Check, CheckReport, jobs_in
from jobstore.store.counters import COUNTERS
from jobstore.store.expressions import Statement
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.lock import held
from jobstore.store.sqlite.translation import translated

# More rows than any statement here has to give, or than are told.
_ENOUGH: Final = 20


_CHECKS: Final = (
    Check("integrity", Statement(text(f"PRAGMA integrity_check({MOST + 1})")), "{}"),
    Check(
        "references",
        Statement(text("PRAGMA foreign_key_check")),
        "row {1} of {0} refers to nothing in {2}",
    ),
    *LOGICAL,
)
_SIZE: Final = """
    SELECT page_count * page_size, freelist_count * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""


async def check(path: Path, progress: Callable[[str, int, int], object]) -> CheckReport:
    """Check a store completely, beside its server or without one.

    The whole file is read. What the server commits meanwhile stays in the WAL until a check is
    done, and nobody has to wait.

    Args:
        path: an existing store of this schema version.
        progress: called with the name of the next check, how many are done, and how many there are.

    Raises:
        StoreError: it is missing, foreign, or of another version.
    """
    with held(path):
        sqlite.require(path)
        return await _checked(path, progress)


async def _checked(path: Path, progress: Callable[[str, int, int], object]) -> CheckReport:
    problems: list[str] = []
    async with sqlite.reader(path) as reader:
        for done, each in enumerate(_CHECKS):
            progress(each.name, done, len(_CHECKS))
            problems += await _problems(reader, each)
        if problems:
            return CheckReport(problems=tuple(problems), schema_version=sqlite.SCHEMA_VERSION)
        with translated(path):
            return await _sound(reader)


async def _problems(reader: Connection, check: Check) -> list[str]:
    try:
        rows = await _rows(reader, check.statement.sql)
    except StoreError as error:
        return [f"cannot check the {check.name}: {error.__cause__ or error}"]
    return check.problems([row for row in rows if row != ("ok",)])


async def _sound(reader: Connection) -> CheckReport:
    ((size, free),) = await _rows(reader, _SIZE)
    stiff = not await reader.call(pages.gives_back)
    ((loose,),) = await _rows(reader, LOOSE.sql)
    counters = await _rows(reader, COUNTERS.sql)
    return CheckReport(
        size=size,
        free=free,
        stiff=stiff,
        loose=loose,
        jobs=jobs_in(counters),
        schema_version=sqlite.SCHEMA_VERSION,
    )


async def _rows(reader: Connection, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement that may take minutes, and stop it when the caller is cancelled."""

    def read(connection: sqlite3.Connection) -> list[tuple[Any, ...]]:
        cursor = connection.execute(statement)
        rows = cursor.fetchmany(_ENOUGH)
        cursor.close()
        return rows

    try:
        return await reader.call(read)
    except asyncio.CancelledError:
        await reader.interrupt()
        raise
