"""What jobs came to is counted once for each, whatever becomes of them and whoever counts."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from jobstore.live.janitor import Janitor, Retention
from jobstore.model.clock import SECOND
from jobstore.model.periods import DAY, HOUR, KEPT, QUARTER
from jobstore.store import period_rows, periods
from tests.commands import said
from tests.stock import Stock, stocked, stocking
from tests.stores import START, beside, copy_job, execute, rows

# Longer than nodes leave a job alone.
LATER: Final = 61
FORGETFUL: Final = Retention(unfetched=0, fetched=0, history=0, interval=60)


@pytest.fixture
async def stock(store_path: Path) -> AsyncIterator[Stock]:
    """Give a store that its server owns."""
    async with stocking(store_path) as stock:
        yield stock


async def count(stock: Stock) -> None:
    """Let all be counted that is there."""
    stock.clock.move(LATER)
    await stock.store.upkeep.count()


def counted(path: Path, kind: str = "all", seconds: int = QUARTER) -> dict[str, tuple[int, ...]]:
    """Tell how many jobs were done, failed and cancelled, and how many errors that was."""
    found = rows(
        path,
        "SELECT name, sum(done), sum(failed), sum(cancelled), sum(errors) FROM period"
        " WHERE kind = ? AND seconds = ? GROUP BY name",
        kind,
        seconds,
    )
    return {name: tuple(map(int, numbers)) for name, *numbers in found}


async def various(stock: Stock) -> None:
    """Let five jobs end in various ways."""
    await stock.done("/thumbs/1", owner="alice")
    await stock.done("/thumbs/2?size=3", status=404, owner="alice")
    await stock.failed("/thumbs/3", owner="bob")
    await stock.cancelled("/other", method="POST", owner="bob")
    claim = await stock.running("/thumbs/4", owner="alice")
    stock.clock.move(10)
    await stock.finish(claim)


async def test_jobs_are_told_apart_in_quarters_hours_and_days(
    stock: Stock, store_path: Path
) -> None:
    await various(stock)
    await count(stock)
    assert counted(store_path, "all", HOUR) == {}, "it is not over"
    stock.clock.move(2 * DAY)
    await count(stock)
    for seconds in (QUARTER, HOUR, DAY):
        assert counted(store_path, "all", seconds) == {"": (3, 1, 1, 2)}
        assert counted(store_path, "owner", seconds) == {
            "alice": (3, 0, 0, 1),
            "bob": (0, 1, 1, 1),
        }
        assert counted(store_path, "route", seconds) == {
            "GET /thumbs/{}": (3, 1, 0, 2),
            "POST /other": (0, 0, 1, 0),
        }
        assert counted(store_path, "target", seconds) == {
            "/": (3, 1, 0, 2),
            "nowhere": (0, 0, 1, 0),
        }
        assert counted(store_path, "definition", seconds) == {}
    starts = dict(rows(store_path, "SELECT seconds, start FROM period WHERE kind = 'all'"))
    assert starts == {s: START - START % (s * SECOND) for s in (QUARTER, HOUR, DAY)}
    ((longest,),) = rows(
        store_path, "SELECT longest_us FROM period WHERE kind = 'all' AND seconds = 900"
    )
    assert longest == 10 * SECOND


async def test_each_job_is_counted_once_and_when_it_has_ended(
    stock: Stock, store_path: Path
) -> None:
    claim = await stock.running("/slow")
    await stock.queued("/waits")
    await stock.done("/quick")
    for _ in range(2):
        await count(stock)
        assert counted(store_path) == {"": (1, 0, 0, 0)}
    stock.clock.move(7 * HOUR)
    await stock.finish(claim)
    await stock.done("/quick")
    for _ in range(2):
        await count(stock)
        assert counted(store_path) == {"": (3, 0, 0, 0)}
    # In the quarter, and the hour, in which it was submitted.
    hours = rows(store_path, "SELECT done FROM period WHERE kind = 'all' AND seconds = 3600")
    assert hours == [(2,)]
    assert rows(store_path, "SELECT done FROM period WHERE kind = 'all' AND seconds = 900"
                " ORDER BY start") == [(2,), (1,)]  # fmt: skip
    assert rows(store_path, "SELECT job_id FROM uncounted") == [(2,)]


async def test_what_is_forgotten_was_counted_before(stock: Stock, store_path: Path) -> None:
    janitor = Janitor(stock.store, FORGETFUL, stock.clock)
    claim = await stock.running("/slow")
    await various(stock)
    stock.clock.move(LATER)
    await janitor.run_once()
    await stock.finish(claim)
    stock.clock.move(LATER)
    await janitor.run_once()
    assert rows(store_path, "SELECT count(*) FROM job") == [(0,)]
    assert rows(store_path, "SELECT count(*) FROM uncounted") == [(0,)]
    assert counted(store_path) == {"": (4, 1, 1, 2)}


async def test_a_long_stop_is_caught_up_in_many_steps(stock: Stock, store_path: Path) -> None:
    copy_job(store_path, await stock.done("/a"), 2999)
    await count(stock)
    assert counted(store_path) == {"": (3000, 0, 0, 0)}
    assert rows(store_path, "SELECT number FROM revision WHERE of = 'counted'") == [(3000,)]


async def test_a_step_writes_about_as_many_rows_as_it_is_told(
    stock: Stock, store_path: Path
) -> None:
    copy_job(store_path, await stock.done("/a"), 999)
    execute(store_path, "UPDATE job SET owner = 'owner ' || id")
    stock.clock.move(LATER)
    now, reader = stock.clock.now, stock.store.history.searcher
    for most in (4, 64, 256):
        found = await periods.gather(reader, now, stock.clock, most)
        assert found is not None
        assert most <= found.rows < most + 20
        assert found.last + 3 == found.rows, "each has an owner of its own, and all share the rest"


async def test_two_who_count_at_once_count_nothing_twice(stock: Stock, store_path: Path) -> None:
    copy_job(store_path, await stock.done("/a"), 999)
    stock.clock.move(LATER)
    async with beside(store_path, clock=stock.clock) as other:
        await asyncio.gather(stock.store.upkeep.count(), other.upkeep.count())
    assert counted(store_path) == {"": (1000, 0, 0, 0)}


async def test_a_round_ends_though_jobs_come_all_the_time(stock: Stock, store_path: Path) -> None:
    async def come() -> None:
        for _ in range(50):
            stock.clock.move(0.001)
            await stock.queued("/next")

    await stock.done("/before")
    stock.clock.move(LATER)
    coming = asyncio.create_task(come())
    await stock.store.upkeep.count()
    await coming
    assert counted(store_path) == {"": (1, 0, 0, 0)}
    assert rows(store_path, "SELECT count(*) FROM uncounted") == [(0,)]


async def test_a_span_tells_so_many_names_apart_and_has_the_others_together(
    stock: Stock, store_path: Path
) -> None:
    await stock.done(owner="first")
    await count(stock)
    execute(
        store_path,
        "WITH RECURSIVE n(i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
        " INSERT INTO period SELECT seconds, kind, start, 'owner ' || i, done, failed, cancelled,"
        " errors, waits, runs, longest_us FROM period, n WHERE name = 'first' AND seconds = 900",
    )
    for owner in ("first", "late", "later"):
        await stock.done(owner=owner)
    await count(stock)
    found = counted(store_path, "owner")
    assert len(found) == period_rows.NAMES + 1
    assert found["first"] == found[period_rows.REST] == (2, 0, 0, 0)
    stock.clock.move(2 * DAY)
    await count(stock)
    assert counted(store_path, "owner", DAY) == counted(store_path, "owner", HOUR) == found


async def test_short_spans_go_one_day_and_long_ones_stay(stock: Stock, store_path: Path) -> None:
    await stock.done()
    await count(stock)
    stock.clock.move(KEPT[QUARTER] / SECOND + QUARTER)
    await stock.store.upkeep.count()
    lengths = "SELECT DISTINCT seconds FROM period ORDER BY seconds"
    assert rows(store_path, lengths) == [(HOUR,), (DAY,)]
    stock.clock.move(KEPT[HOUR] / SECOND + HOUR)
    await stock.store.upkeep.count()
    assert rows(store_path, lengths) == [(DAY,)]


async def three(stock: Stock) -> None:
    for _ in range(3):
        await stock.done("/there")


async def three_forgotten(stock: Stock) -> None:
    for _ in range(3):
        await stock.done("/here", wanted=False)
    stock.clock.move(LATER)
    await Janitor(stock.store, FORGETFUL, stock.clock).run_once()
    await stock.done("/here")
    await count(stock)


def test_jobs_that_are_imported_below_those_that_were_counted_are_counted_as_well(
    store_path: Path, tmp_path: Path
) -> None:
    other = stocked(tmp_path / "other.db", three, START - SECOND)
    said("export", "--store", other, tmp_path / "jobs.jsonl")
    stocked(store_path, three_forgotten)
    said("import", "--store", store_path, tmp_path / "jobs.jsonl")
    stocked(store_path, count, START + SECOND)
    stocked(store_path, count, START + DAY * SECOND)
    assert counted(store_path, "route") == {
        "GET /here": (4, 0, 0, 0),
        "GET /there": (3, 0, 0, 0),
    }
