"""An operation has no effect but on its transaction, so it may be run twice: see `transaction`."""

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
from jobstore.model.job import Cancellation, Report
from jobstore.model.message import Request, Response
from jobstore.model.retry import AttemptEnded
from jobstore.model.schedule import Schedule
from jobstore.store import schema
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.store.facts import Changes
from jobstore.store.sqlite.committing import Batch, Committer
from jobstore.store.sqlite.engine import begin
from jobstore.store.transaction import Operation
from tests.stores import (
    StandingClock,
    finish,
    next_claim,
    opened,
    orders_of,
    rows,
    submission,
    taken,
)

LARGE: Final = Response(status=200, body=b"x" * (3 * CHUNK_SIZE))
TABLES: Final = tuple(
    name
    for name in schema.METADATA.tables
    if name not in {"boot", "definition"}  # a process, and a random UUID
)
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


@asynccontextmanager
async def store_with(
    path: Path, committer: Callable[[Path], Committer], clock: StandingClock
) -> AsyncIterator[Store]:
    async with opened(path, Limits(queue=4), clock) as store:
        store._writer._committer = committer(path)  # noqa: SLF001 - no other code may choose it
        yield store


async def everything(path: Path, committer: Callable[[Path], Committer]) -> list[object]:
    """Do with a store whatever operations there are; tell what came of each."""
    clock = StandingClock()
    async with store_with(path, committer, clock) as store:
        orders = orders_of(store, {"/": 2})
        done: list[object] = []
        ran = [
            await store.submit(replace(submission(), key="once", tag="tagged")) for _ in range(2)
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
        await store.attempts.stopped(second, "stopped")
        third = await next_claim(orders)
        done.append(await store.attempts.retry(third, 0, AttemptEnded(status=503, detail="later")))
        await finish(store, first, LARGE)
        done += [third.job_id, [(await next_claim(orders)).job_id for _ in range(1)]]
        done += [await results(store), await accounts_and_definitions(store)]
        clock.move(3600)
        fired = await store.schedules.fire(lambda _, __: "/", clock(), (-1, 0))
        await store.definitions.delete(fired[0].definition.id)
        return [*done, [each.jobs for each in fired], await store.upkeep.purge(2**60)]


async def results(store: Store) -> list[object]:
    done: list[object] = [len((await taken(store, 1))[1])]
    with pytest.raises(JobNotFound):
        await taken(store, 1)
    await store.results.restore(1)
    with pytest.raises(KeyError):
        async with store.results.take(1):
            raise KeyError("the connection broke")
    await store.results.delete(1)
    return [*done, await store.results.delete_all(), await store.results.expire(2**60)]


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
