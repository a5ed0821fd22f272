"""What jobs came to is told alike, whether they were counted already, in part, or not at all."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.periods import (
    DAY,
    HOUR,
    QUARTER,
    Dimension,
    Durations,
    end_of,
    start_of,
    stretches,
)
from jobstore.store import period_rows
from jobstore.store.budget import Budget
from jobstore.store.expressions import Statement
from jobstore.store.history import History
from jobstore.store.overview import LATE, Overview, OverviewQuery, by_kinds, overview
from jobstore.store.reading import Searcher
from tests.stock import Stock, stocking
from tests.store.test_searching import spent
from tests.stores import START, copy_job, execute

# A day that begins with a span of each length.
MORNING: Final = start_of(DAY, START) + 5 * DAY * SECOND


@pytest.fixture
async def stock(store_path: Path) -> AsyncIterator[Stock]:
    """Give a store that its server owns."""
    async with stocking(store_path, now=MORNING) as stock:
        yield stock


async def seen(
    stock: Stock,
    kind: Dimension = Dimension.ROUTE,
    *,
    since: int = MORNING,
    seconds: int = HOUR,
    budget: Budget | None = None,
    scope: int | None = None,
) -> Overview:
    """Tell what came of the jobs up to now."""
    until = end_of(QUARTER, stock.clock.now + 1)
    asked = OverviewQuery(kind, since, until, seconds, scope)
    return await overview(stock.store.history, asked, 10, budget or Budget(seconds=3600.0))


def figures(found: Overview) -> dict[str, tuple[object, ...]]:
    return {
        name: (
            *(work.done, work.failed, work.cancelled, work.errors),
            *(work.took_at_most(50), work.took_at_most(95), work.longest),
            {at: (span.count, span.errors) for at, span in sorted(found.spans[name].items())},
        )
        for name, work in found.works.items()
    }


async def two_days(stock: Stock) -> None:
    """Let jobs run in two days, each longer than the one before."""
    for number in range(1, 60):
        claim = await stock.running(f"/odd/{number}" if number % 2 else "/even")
        stock.clock.move(number)
        await stock.finish(claim, status=500 if number % 10 == 0 else 200)
        stock.clock.move(40 * 60)


async def test_it_is_the_same_before_and_after_it_was_counted(stock: Stock) -> None:
    await two_days(stock)
    for seconds in (QUARTER, HOUR, DAY):
        before = await seen(stock, seconds=seconds)
        assert before.complete
        assert {name: work.count for name, work in before.works.items()} == {
            "GET /odd/{}": 30,
            "GET /even": 29,
        }
        expected = figures(before)
        await stock.store.upkeep.count()
        assert figures(await seen(stock, seconds=seconds)) == expected
        for since in (MORNING + HOUR * SECOND, MORNING + 3 * QUARTER * SECOND):
            part = await seen(stock, seconds=seconds, since=since)
            assert sum(work.count for work in part.works.values()) < 59


class Noting:
    """A searcher that notes which statements it executes."""

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        self.executed: list[Statement] = []

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Give all rows."""
        self.executed.append(statement)
        return await self._searcher.rows(statement, **values)

    async def row(self, statement: Statement, **values: object) -> Any:
        """Give the first row."""
        self.executed.append(statement)
        return await self._searcher.row(statement, **values)

    async def within(
        self, seconds: float | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Give all rows, unless it takes too long."""
        self.executed.append(statement)
        return await self._searcher.within(seconds, statement, **values)

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Give the rows of several."""
        self.executed += statements
        return await self._searcher.together(statements, **values)


async def test_several_kinds_are_told_from_one_reading_of_what_was_not_counted(
    stock: Stock,
) -> None:
    await two_days(stock)
    claim = await stock.running("/slow")
    await stock.store.upkeep.count()
    await stock.finish(claim)
    await stock.done("/a", status=404)
    until = end_of(QUARTER, stock.clock.now + 1)
    asked, readings = OverviewQuery(Dimension.ALL, MORNING, until, HOUR), []
    for kinds in ((Dimension.ALL,), (Dimension.ALL, Dimension.ROUTE, Dimension.TARGET)):
        searcher = Noting(stock.store.history.searcher)
        history = History(searcher, searcher)
        found = await by_kinds(history, asked, dict.fromkeys(kinds, 10), Budget(seconds=3600.0))
        for kind in kinds:
            assert figures(found[kind]) == figures(await seen(stock, kind))
        assert sum(work.count for work in found[Dimension.ALL].works.values()) == 61
        readings.append([each for each in searcher.executed if "job.path" in each.sql])
    assert LATE in readings[0]
    assert readings[0] == readings[1]


class Counting(Noting):
    """A searcher beside which the janitor counts jobs, once, in no time left."""

    def __init__(self, stock: Stock) -> None:
        super().__init__(stock.store.history.searcher)
        self._stock = stock
        self.now = 0.0

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Give all rows, and then let the jobs be counted."""
        found = await super().rows(statement, **values)
        if statement is LATE and self.executed.count(LATE) == 1:
            self.now += 3600.0
            await self._stock.store.upkeep.count()
        return found


async def test_jobs_that_are_counted_meanwhile_are_read_again_with_as_much_time(
    stock: Stock,
) -> None:
    await two_days(stock)
    expected = figures(await seen(stock))
    await stock.done("/late")
    until = end_of(QUARTER, stock.clock.now + 1)
    asked = OverviewQuery(Dimension.ROUTE, MORNING, until, HOUR)
    searcher = Counting(stock)
    found = await overview(
        History(searcher, searcher), asked, 10, Budget(0.25, lambda: searcher.now)
    )
    assert searcher.executed.count(LATE) == 2
    assert found.complete
    assert figures(found).pop("GET /late")[0] == 1
    assert figures(found).items() > expected.items()


async def test_what_came_since_is_added_to_what_was_counted(stock: Stock) -> None:
    await stock.done("/a")
    stock.clock.move(61)
    await stock.store.upkeep.count()
    await stock.done("/a", status=404)
    await stock.failed("/b")
    await stock.queued("/waits")
    found = await seen(stock)
    assert {name: (w.count, w.errors) for name, w in found.works.items()} == {
        "GET /a": (2, 1),
        "GET /b": (1, 1),
    }
    assert found.spans["GET /a"][MORNING].count == 2


async def test_a_job_that_ends_after_its_time_was_counted_is_told_at_once(stock: Stock) -> None:
    claim = await stock.running("/slow")
    await stock.queued("/waits")
    stock.clock.move(61)
    await stock.store.upkeep.count()
    assert not (await seen(stock)).works
    await stock.finish(claim, status=500)
    for _ in range(2):
        found = await seen(stock)
        assert {name: (w.count, w.errors) for name, w in found.works.items()} == {
            "GET /slow": (1, 1)
        }
        assert found.spans["GET /slow"][MORNING].errors == 1
        await stock.store.upkeep.count()


async def test_a_budget_that_does_not_last_leaves_the_oldest_out_and_says_so(
    stock: Stock, store_path: Path
) -> None:
    copy_job(store_path, await stock.done("/a"), 999)
    stock.clock.move(1)
    found = await seen(stock, budget=spent())
    assert not found.complete
    assert 0 < found.works["GET /a"].count < 1000
    assert (await seen(stock)).works["GET /a"].count == 1000


async def test_who_sees_one_account_is_told_of_its_jobs_only(stock: Stock) -> None:
    await stock.done("/a", account=7)
    await stock.done("/a", account=8)
    stock.clock.move(61)
    await stock.store.upkeep.count()
    found = await seen(stock, scope=7)
    assert (found.works["GET /a"].count, found.complete) == (1, True)


async def test_what_was_too_much_to_be_told_apart_is_no_name(
    stock: Stock, store_path: Path
) -> None:
    await stock.done(owner="alice")
    stock.clock.move(61)
    await stock.store.upkeep.count()
    execute(store_path, "UPDATE period SET name = ? WHERE kind = 'owner'", period_rows.REST)
    await stock.done(owner="bob")
    found = await seen(stock, Dimension.OWNER)
    assert found.most(10) == ["bob"]
    assert found.works[period_rows.REST].count == 1


@pytest.mark.file
def test_a_time_is_covered_by_the_longest_spans_that_fit() -> None:
    quarter = QUARTER * SECOND
    since, until = MORNING + 3 * quarter, MORNING + DAY * SECOND * 2 + 5 * quarter
    built = {HOUR: until, DAY: until}
    found = [(each.seconds, each.since, each.until) for each in stretches(since, until, built)]
    hour, day = MORNING + HOUR * SECOND, MORNING + DAY * SECOND
    assert found == [
        (QUARTER, since, hour),
        (HOUR, hour, day),
        (DAY, day, MORNING + DAY * SECOND * 2),
        (HOUR, MORNING + DAY * SECOND * 2, until - quarter),
        (QUARTER, until - quarter, until),
    ]
    assert list(stretches(since, since, built)) == []
    lengths = [each.seconds for each in stretches(since, until, built, HOUR)]
    assert lengths == [QUARTER, HOUR, QUARTER]
    (last,) = (each for each in stretches(since, until, {HOUR: day, DAY: 0}) if each.until > day)
    assert (last.seconds, last.since) == (QUARTER, day)


@pytest.mark.file
@pytest.mark.parametrize("took", [1, 999, 20_000, 3_600_000_000, 2**50])
def test_a_duration_is_known_to_within_a_tenth(took: int) -> None:
    durations, read = Durations(), Durations()
    for each in (took, took, took, 0):
        durations.add(each)
    read.read(f"{durations.written()},{durations.written()}")
    assert read.counts.total() == 8
    assert read.at_most(1) == 0
    assert read.at_most(95) == pytest.approx(took, rel=0.1)
    assert Durations().at_most(95) is None
