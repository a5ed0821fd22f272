from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.file_upkeep import fitting_pace
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.lock import owned
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.sqlite.wal import Wal
from jobstore.store.steps import IsOver, Pace, Steps
from jobstore.store.transaction import Transaction
from tests.stores import CountingClock, rows

pytestmark = pytest.mark.file

PACE: Final = Pace(seconds=3000, most=500)
ROWS: Final = 2000


@dataclass
class Work:
    """Work on a table of rows, each of which takes so many seconds on a clock of the work's own.

    Args:
        cost: how long a row takes; the rows from 1000 on may take another time.
        late_cost: that time.
    """

    cost: int
    late_cost: int = 0
    now: int = 0
    sizes: list[int] = field(default_factory=list)

    def timer(self) -> float:
        """Tell the time."""
        return self.now

    def step(self, tx: Transaction, limit: int) -> int:
        """Delete some rows."""
        late = self.late_cost and sum(self.sizes) >= 1000
        gone = "DELETE FROM row WHERE id IN (SELECT id FROM row ORDER BY id LIMIT ?)"
        done = connection_of(tx).execute(gone, (limit,)).rowcount
        self.now += done * (self.late_cost if late else self.cost)
        self.sizes += [done] if done else []
        return done


@pytest.fixture
async def writer(store_path: Path) -> AsyncIterator[FileWriter]:
    with sqlite.connect(store_path, "rwc") as file:
        file.execute("PRAGMA journal_mode = WAL")
        file.execute("CREATE TABLE row (id INTEGER PRIMARY KEY, data BLOB) STRICT")
        numbers = [(number,) for number in range(ROWS)]
        file.execute("BEGIN")
        file.executemany("INSERT INTO row VALUES (?, zeroblob(3000))", numbers)
        file.execute("COMMIT")
    async with sqlite.writer(store_path) as connection:
        writer = FileWriter(connection, store_path, CountingClock())
        yield writer
        await writer.drained()
    file.close()


@pytest.fixture
async def checkpoints(writer: FileWriter, store_path: Path) -> AsyncIterator[sqlite.Connection]:
    await writer.drained()  # so that there is a store
    async with sqlite.checkpointer(store_path) as connection:
        yield connection


async def sizes(writer: FileWriter, path: Path, pace: Pace, **work: Any) -> list[int]:
    """Tell how many rows each step of some work touched."""
    doing = Work(**work)
    assert await Steps(writer, pace, timer=doing.timer).all(doing.step) == ROWS
    assert rows(path, "SELECT * FROM row") == []
    return doing.sizes


async def test_a_step_takes_in_as_many_rows_as_fit_into_its_time(
    writer: FileWriter, store_path: Path
) -> None:
    assert await sizes(writer, store_path, PACE, cost=10) == [64, 128, 256, *[300] * 5, 52]


async def test_a_step_takes_in_no_more_than_so_many_rows_however_fast_they_are(
    writer: FileWriter, store_path: Path
) -> None:
    assert await sizes(writer, store_path, PACE, cost=0) == [64, 128, 256, 500, 500, 500, 52]


async def test_a_step_does_something_however_slow_it_is(
    writer: FileWriter, store_path: Path
) -> None:
    assert set((await sizes(writer, store_path, PACE, cost=10_000))[2:-1]) == {4}


async def test_after_a_step_that_took_too_long_the_next_one_is_as_much_smaller(
    writer: FileWriter, store_path: Path
) -> None:
    found = await sizes(writer, store_path, PACE, cost=10, late_cost=100)
    assert found[:6] == [64, 128, 256, 300, 300, 300]
    assert set(found[6:-1]) == {30}


@pytest.mark.parametrize(
    ("owner", "found"),
    [(owned, [64, 128, 256, 512, 512, 512, 16]), (nullcontext, [64, 128, 256, 512, 1024, 16])],
)
async def test_where_no_server_runs_nobody_waits_for_a_step_and_it_may_be_a_large_one(
    writer: FileWriter, store_path: Path, owner: Any, found: list[int]
) -> None:
    with owner(store_path):
        assert await sizes(writer, store_path, fitting_pace(store_path), cost=0) == found


async def test_a_step_that_looks_at_the_time_is_told_when_its_own_is_over(
    writer: FileWriter,
) -> None:
    doing = Work(cost=1000)

    def step(tx: Transaction, is_over: IsOver) -> int:
        done = doing.step(tx, 1)
        while not is_over():
            done += doing.step(tx, 1)
        return done

    steps = Steps(writer, PACE, timer=doing.timer)
    assert [await steps.within(step) for _ in range(3)] == [3, 3, 3]
    doing.cost = 10_000
    assert await steps.within(step) == 1


async def test_many_jobs_are_worked_on_some_at_a_time_and_each_of_them_once(
    writer: FileWriter,
) -> None:
    doing, told = Work(cost=10), list[int]()
    ids = range(1000)

    def step(tx: Transaction, some: Sequence[int]) -> Sequence[int]:
        return some[: doing.step(tx, len(some))]

    for done in await Steps(writer, PACE, timer=doing.timer).over(ids, step):
        told.extend(done)
    assert told == [*ids]
    assert doing.sizes == [64, 128, 256, 300, 252]


async def test_long_work_keeps_the_wal_short_and_leaves_none_of_it_to_the_writer(
    writer: FileWriter, checkpoints: sqlite.Connection, store_path: Path
) -> None:
    await writer.call(lambda file: file.execute("PRAGMA wal_autocheckpoint = 0").fetchall())
    await checkpoints.call(pages.settle)
    doing, longest = Work(cost=1), 0

    def fill(tx: Transaction, limit: int) -> int:
        change = "UPDATE row SET data = zeroblob(3001) WHERE id >= ? AND id < ?"
        done = connection_of(tx).execute(change, (doing.now, doing.now + limit)).rowcount
        doing.now += done
        return done

    wal = Wal(writer, store_path, checkpoints)
    async for _ in Steps(writer, PACE, wal.keep_short).each(fill):
        longest = max(longest, pages.wal_pages(store_path))
    assert 500 < longest < 1600 < ROWS, "each of which has a page of its own"


# --- the WAL ------------------------------------------------------------------------------------


async def test_the_pages_in_the_wal_are_counted_without_asking_the_writer(
    writer: FileWriter, store_path: Path
) -> None:
    def moved(file: Any) -> int:
        _, pages, _ = file.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return int(pages)

    def delete(tx: Transaction) -> None:
        connection_of(tx).execute("DELETE FROM row WHERE id = (SELECT min(id) FROM row)")

    full = pages.wal_pages(store_path)
    assert full == await writer.call(moved) > ROWS / 2
    await writer.run(delete)
    few = pages.wal_pages(store_path)
    assert few == await writer.call(moved) < 20, "it is written over from its beginning"
    await writer.call(pages.checkpoint)
    assert pages.wal_pages(store_path) == 0
    assert pages.wal_pages(store_path.with_name("none.db")) == 0


async def test_what_is_settled_is_in_the_file_and_the_wal_is_written_over_next(
    writer: FileWriter, checkpoints: sqlite.Connection, store_path: Path
) -> None:
    wal = store_path.with_name(store_path.name + "-wal")
    before = wal.stat().st_size
    await checkpoints.call(pages.settle)
    doing = Work(cost=0)
    await writer.run(lambda tx: doing.step(tx, 10))
    assert wal.stat().st_size == before
    assert 0 < pages.wal_pages(store_path) < 50
