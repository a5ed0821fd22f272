"""Whatever operations there are, done to a store, and what always holds then.

An operation has no effect but on its transaction, so it may be run twice: see `transaction`. The
numbers that are kept of the jobs are right after each batch: see `tally`.
"""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.live import Limits, Store
from jobstore.model.account import Role
from jobstore.model.definition import Draft
from jobstore.model.errors import JobNotFound, QueueFull, TagTaken
from jobstore.model.handle import JobHandle
from jobstore.model.job import Cancellation, Failure, Report
from jobstore.model.message import Body, Request, Response
from jobstore.model.retry import AttemptEnded
from jobstore.model.schedule import Schedule
from jobstore.store import schema
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.sqlite.committing import Committer
from jobstore.store.sqlite.engine import begin
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.transaction import FileTransaction, connection_of
from jobstore.store.transaction import Batch, Operation, Transaction
from tests import tables
from tests.store.test_plans import statements
from tests.stores import (
    MISCOUNTED,
    StandingClock,
    content,
    fail,
    finish,
    next_claim,
    opened,
    orders_of,
    rows,
    stopped,
    submission,
    taken,
    writer_of,
)

LARGE: Final = Response(status=200, body=b"x" * (3 * CHUNK_SIZE))
TABLES: Final = tuple(
    table.name
    for table in tables.TABLES
    if table not in {schema.BOOT, schema.DEFINITION}  # a process, and a random UUID
)
# What changes the numbers that are kept; and what of that changes nothing here, with the reasons.
COUNTED: Final = r"INSERT INTO job |DELETE FROM job |UPDATE job SET (.*, )?(state|result|stored)="
UNTRIED: Final = {
    "importing._PUT_JOB": "an import has a transaction of its own, see test_transfer",
    "recovery.CANCEL_ORPHANS queued": "an orphan runs, see test_lifecycle",
    "holding.HOLD": "see test_lifecycle, which holds jobs as well",
    "holding.HOLD_AFTER": "likewise",
    "holding.GIVE_UP": "likewise",
}
HOURLY: Final = Schedule(cron="0 * * * *", time_zone="UTC")


class Twice(Committer):
    """Run each batch a first time, undo that, and run it again."""

    def execute(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        changes: Changes,
    ) -> Batch:
        """Leave what the second run does."""
        super().execute(connection, operations, now, changes.copy())
        connection.execute("ROLLBACK")
        assert begin(connection)
        return super().execute(connection, operations, now, changes)


class Noting(FileTransaction):
    """A part of another transaction which notes the statements that change anything."""

    __slots__ = ("_effective", "_last")

    def __init__(self, tx: Transaction, effective: set[str]) -> None:
        super().__init__(connection_of(tx), tx.now, tx.changes)
        self.tally = tx.tally
        self._effective = effective
        self._last = "", 0

    def execute(self, statement: Statement, **values: object) -> sqlite3.Cursor:
        """Execute a statement, after which `note` has to follow once its rows have been read."""
        self.note()
        self._last = statement.sql, self.connection.total_changes
        return super().execute(statement, **values)

    def note(self) -> None:
        """Note the last statement, if it has changed anything."""
        text, before = self._last
        if self.connection.total_changes > before:
            self._effective.add(text)


class Watched(Committer):
    """Note what is executed, and hold what is kept of the jobs against them after each batch."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.effective: set[str] = set()
        self.miscounted: list[object] = []

    def execute(
        self,
        connection: sqlite3.Connection,
        operations: Sequence[Operation[Any]],
        now: int,
        changes: Changes,
    ) -> Batch:
        """Leave what it does as it is."""
        noted = [self._noted(operation) for operation in operations]
        batch = super().execute(connection, noted, now, changes)
        self.miscounted += [row for text in MISCOUNTED["file"] for row in connection.execute(text)]
        return batch

    def _noted(self, operation: Operation[Any]) -> Operation[Any]:
        def noted(tx: Transaction) -> Any:
            noting = Noting(tx, self.effective)
            try:
                return operation(noting)
            finally:
                noting.note()

        return noted


@asynccontextmanager
async def store_with(
    path: Path, committer: Callable[[Path], Committer], clock: StandingClock
) -> AsyncIterator[Store]:
    async with opened(path, Limits(queue=4), clock) as store:
        writer = writer_of(store)  # no other code may choose it
        assert isinstance(writer, FileWriter)
        writer._committer = committer(path)  # noqa: SLF001
        yield store


async def everything(path: Path, committer: Callable[[Path], Committer]) -> list[object]:
    """Do with a store whatever operations there are; tell what came of each."""
    clock = StandingClock()
    async with store_with(path, committer, clock) as store:
        orders = orders_of(store, {"/": 2})
        done: list[object] = []
        ran = [
            await store.submit(replace(submission(body=b"asked"), key="once", tag="tagged"))
            for _ in range(2)
        ]
        done.append(ran)
        first = await next_claim(orders)
        with pytest.raises(TagTaken):
            await store.submit(replace(submission(), tag="tagged"))
        handle = JobHandle(first.job_id, first.attempt, store.attempts)
        handle.report(12)
        handle.count("records", 3)
        handle.warn("careful")
        await store.attempts.report(Report(job_id=first.job_id, attempt=1, progress=50))
        done.append(await store.submissions.submit_chain([submission(), submission()]))
        second = await next_claim(orders)
        waiting = [await store.submit(submission(priority=number)) for number in range(3)]
        with pytest.raises(QueueFull):
            await store.submit(submission())
        done += [waiting, await store.cancel(waiting[0]), await store.cancel(second.job_id)]
        stop = await anext(orders)
        assert isinstance(stop, Cancellation)
        await stopped(store, second, "stopped")
        third = await next_claim(orders)
        done.append(await store.attempts.retry(third, 0, AttemptEnded(status=503, detail="later")))
        await finish(store, first, LARGE)
        done += [third.job_id, [(await next_claim(orders)).job_id for _ in range(1)]]
        done += [await results(store), await accounts_and_definitions(store)]
        clock.move(3600)
        fired = await store.schedules.fire(lambda _, __: "/", clock(), (-1, 0))
        await store.definitions.delete(fired[0].definition.id)
        done += [[each.jobs for each in fired], await store.upkeep.purge(2**60)]
    async with store_with(path, committer, clock) as store:
        done += [await orphans(store), await turns(store)]
    async with store_with(path, committer, clock) as store:
        return [*done, await leftovers(store), await store.upkeep.forget(2**60)]


async def results(store: Store) -> list[object]:
    done: list[object] = [len((await taken(store, 1))[1])]
    with pytest.raises(JobNotFound):
        await taken(store, 1)
    await store.results.restore(1)
    for part in (b"", LARGE.body):
        with pytest.raises(KeyError):
            await broken_off_after(store, part)
    await store.results.delete(1)
    return [*done, await store.results.expire(2**60), await store.results.delete_all()]


async def broken_off_after(store: Store, part: Body) -> None:
    """Read a part of the first job's result, until the connection breaks."""
    async with store.results.take(1) as delivery:
        assert delivery is not None
        assert delivery.response is not None
        if part:
            assert await content(delivery.response.body) == part
        raise KeyError("the connection broke")


async def orphans(store: Store) -> list[object]:
    """Let jobs of an earlier start go on, fail, or be cancelled, and leave some behind."""
    found = [orphan.job_id for orphan in await store.upkeep.orphans()]
    await store.upkeep.fail_orphans(found[:1], "the server was killed")
    await store.upkeep.recover(found[1:], "the server was killed")
    claim = await next_claim(orders_of(store, {"/": 1}))
    await fail(store, claim, Failure.TIMEOUT, "too slow")
    await store.results.discard(claim.job_id)
    return [found, claim.job_id]


async def turns(store: Store) -> list[object]:
    """Submit jobs of several accounts, which are claimed by turns."""
    whose = [replace(submission("POST"), account=account) for account in (1, 2)]
    ids = [await store.submit(each) for each in whose * 2]
    claims = [(await next_claim(orders_of(store, {"/": 1}))).job_id for _ in range(1)]
    return [ids, claims]


async def leftovers(store: Store) -> list[object]:
    """End what is left, in whatever way it can be."""
    found = [orphan.job_id for orphan in await store.upkeep.orphans()]
    await store.upkeep.cancel_orphans(found, "the server was killed")
    return [found, await store.results.delete_all()]


async def accounts_and_definitions(store: Store) -> list[object]:
    await store.accounts.add("alice", Role.USER, "hash")
    request = Request(method="GET", path="/report")
    draft = Draft(name="hourly", path="/hourly", request=request, schedule=HOURLY)
    made = await store.definitions.create(draft, "alice")
    changed = await store.definitions.change(made, replace(draft, name="every hour"))
    return [made.id, changed.fires_at]


async def test_whatever_is_done_twice_in_one_transaction_is_done_once(tmp_path: Path) -> None:
    kept = {}
    for name, committer in (("once", Committer), ("twice", Twice)):
        path = tmp_path / f"{name}.db"
        told = await everything(path, committer)
        kept[name] = told, {table: rows(path, f"SELECT * FROM {table}") for table in TABLES}
        kept[name][1]["counter"] = rows(path, "SELECT * FROM counter WHERE machine <> 'mark'")
    assert kept["once"] == kept["twice"]


async def test_the_numbers_are_right_after_each_batch_whatever_its_statements_do_to_jobs(
    tmp_path: Path,
) -> None:
    committers: list[Watched] = []

    def watched(path: Path) -> Committer:
        committers.append(Watched(path))
        return committers[-1]

    await everything(tmp_path / "jobs.db", watched)
    assert [row for committer in committers for row in committer.miscounted] == []
    effective = {text for committer in committers for text in committer.effective}
    counted = {name: one.sql for name, one in statements().items() if re.match(COUNTED, one.sql)}
    assert {name for name, text in counted.items() if text not in effective} == set(UNTRIED)
