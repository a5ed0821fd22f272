"""Find out what is wrong with a store: what SQLite can tell, and what only jobstore knows."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Integer, Select, and_, case, func, literal_column, or_, select, union_all

from jobstore.model.errors import StoreError
from jobstore.model.lifecycle import Result, State
from jobstore.store import claiming, guards, schema
from jobstore.store.expressions import Statement, constant
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.lock import held

# How many problems of one kind are told.
MOST: Final = 10
# More rows than any statement here has to give, or than are told.
_ENOUGH: Final = 20

_usage = schema.ACCOUNT_USAGE.c
_job, _body, _chunk, _counter = schema.JOB.c, schema.BODY.c, schema.CHUNK.c, schema.COUNTER.c


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a look at a store has found; if it has problems, nothing else is told.

    Args:
        problems: what is wrong, a sentence each.
        size: the file's length in bytes.
        free: how much of that is free, in bytes.
        stiff: whether the file stays as long as it is until it is written anew.
        loose: how many bodies belong to no job: they are just being received, or will be swept.
        jobs: how many jobs are in each state.
        schema_version: the version of the file's schema.
    """

    problems: tuple[str, ...] = ()
    size: int = 0
    free: int = 0
    stiff: bool = False
    loose: int = 0
    jobs: Mapping[State, int] = field(default_factory=dict)
    schema_version: int = sqlite.SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class _Check:
    """One kind of problem.

    Args:
        name: what is looked at.
        sql: finds it, in one statement, so that a server that writes meanwhile does no harm.
        sentence: tells it, with a place for each column.
    """

    name: str
    sql: str
    sentence: str


def _without_request() -> Select[Any]:
    return (
        select(_job.id, _job.state)
        .select_from(schema.JOB)
        .outerjoin(schema.REQUEST, schema.REQUEST.c.job_id == _job.id)
        .where(guards.in_state(State.QUEUED, State.RUNNING), schema.REQUEST.c.job_id.is_(None))
    )


def _without_response() -> Select[Any]:
    return (
        select(_job.id)
        .select_from(schema.JOB)
        .outerjoin(schema.RESPONSE, schema.RESPONSE.c.job_id == _job.id)
        .where(
            guards.with_result(Result.HELD),
            guards.in_state(State.DONE),
            schema.RESPONSE.c.job_id.is_(None),
        )
    )


def _without_content(table: Any, side: str) -> Select[Any]:
    of_this = and_(_body.job_id == table.c.job_id, _body.side == constant(side))
    return (
        select(table.c.job_id)
        .select_from(table)
        .outerjoin(schema.BODY, of_this)
        .where(table.c.content.is_(None), _body.id.is_(None))
    )


def _incomplete_bodies() -> Select[Any]:
    found = func.coalesce(func.sum(func.length(_chunk.data)), literal_column("0", Integer))
    chunks = func.coalesce(func.max(_chunk.seq) + literal_column("1"), literal_column("0"))
    return (
        select(_body.side, _body.job_id, found, _body.size)
        .select_from(schema.BODY)
        .outerjoin(schema.CHUNK, _chunk.body_id == _body.id)
        .where(_body.job_id.is_not(None))
        .group_by(_body.id)
        .having(or_(found != _body.size, chunks != func.count(_chunk.seq)))
    )


def _miscounted() -> Select[Any]:
    counted = union_all(
        *(
            select(
                constant(column.name if column is _job.result else "job").label("machine"),
                column.label("state"),
                func.count(_job.id).label("n"),
            ).group_by(column)
            for column in (_job.state, _job.result)
        )
    ).subquery()
    same = and_(counted.c.machine == _counter.machine, counted.c.state == _counter.state)
    number = func.coalesce(counted.c.n, literal_column("0", Integer))
    return (
        select(_counter.machine, _counter.state, _counter.count, number)
        .select_from(schema.COUNTER)
        .outerjoin(counted, same)
        .where(_counter.count != number)
    )


def _misused() -> Select[Any]:
    queued = case((guards.in_state(State.QUEUED), guards.ONE), else_=guards.ZERO)
    nothing = guards.ZERO
    each = union_all(
        select(
            _usage.account,
            _usage.queued.label("said_queued"),
            _usage.stored.label("said_stored"),
            nothing.label("queued"),
            nothing.label("stored"),
        ),
        select(_job.account, nothing, nothing, queued, _job.stored),
    ).subquery()
    sums = [func.sum(each.c[name]) for name in ("said_queued", "said_stored", "queued", "stored")]
    return (
        select(each.c.account, *sums)
        .group_by(each.c.account)
        .having(or_(sums[0] != sums[2], sums[1] != sums[3]))
    )


_CHECKS: Final = (
    _Check("integrity", f"PRAGMA integrity_check({MOST + 1})", "{}"),
    _Check("references", "PRAGMA foreign_key_check", "row {1} of {0} refers to nothing in {2}"),
    _Check(
        "requests", Statement(_without_request()).sql, "job {} is {}, but its request is missing"
    ),
    _Check(
        "responses", Statement(_without_response()).sql, "job {} is done, but its answer is missing"
    ),
    *(
        _Check(
            f"{side} bodies",
            Statement(_without_content(table, side)).sql,
            f"the body of the {side} of job {{}} is missing",
        )
        for side, table in (("request", schema.REQUEST), ("response", schema.RESPONSE))
    ),
    _Check(
        "chunks",
        Statement(_incomplete_bodies()).sql,
        "the body of the {} of job {} has {} bytes in its chunks, expected {}",
    ),
    _Check(
        "counters",
        Statement(_miscounted()).sql,
        "the counter of the state {1} of the {0}s is {2}, but there are {3}",
    ),
    _Check(
        "usage",
        Statement(_misused()).sql,
        "account {} is said to have {} queued jobs and {} bytes, but it has {} and {}",
    ),
)
_SIZE: Final = """
    SELECT page_count * page_size, freelist_count * page_size
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""
_LOOSE: Final = Statement(select(func.count(_body.id)).where(_body.job_id.is_(None))).sql


async def check(path: Path, progress: Callable[[str, int, int], object]) -> CheckReport:
    """Look for everything that can be wrong with a store, beside its server or without one.

    The whole file is read. What the server commits meanwhile stays in the WAL until one check is
    done, and nobody has to wait.

    Args:
        path: an existing store of this schema version.
        progress: told the name of the next check, how many are done, and how many there are.

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
            return CheckReport(problems=tuple(problems))
        with sqlite.translated(path):
            return await _sound(reader)


async def _problems(reader: Connection, check: _Check) -> list[str]:
    try:
        rows = await _rows(reader, check.sql)
    except StoreError as error:
        return [f"cannot check the {check.name}: {error.__cause__ or error}"]
    found = [check.sentence.format(*row) for row in rows if row != ("ok",)]
    return [*found[:MOST], f"and more {check.name} like this"] if found[MOST:] else found


async def _sound(reader: Connection) -> CheckReport:
    ((size, free),) = await _rows(reader, _SIZE)
    stiff = not await reader.call(pages.gives_back)
    ((loose,),) = await _rows(reader, _LOOSE)
    counters = await _rows(reader, claiming.COUNTERS.sql)
    jobs = {State(state): n for machine, state, n in counters if machine == "job"}
    return CheckReport(size=size, free=free, stiff=stiff, loose=loose, jobs=jobs)


async def _rows(reader: Connection, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement that may take minutes, and stop it when nobody waits for it any more."""

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
