"""The four views are an interface: whoever wrote a query today can run it tomorrow."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.definition import Draft
from jobstore.model.job import Failure, Trigger
from jobstore.model.message import Request
from jobstore.model.retry import AttemptEnded
from tests.engines import engine
from tests.stock import Stock, stocked
from tests.stores import columns, rows, stopped

START = 1_700_000_000 * SECOND + 123_999  # 2023-11-14T22:13:20.123999Z

# The names of the columns in their order: new ones are added at the end, none ever goes.
COLUMNS = {
    "history": [
        "job_id", "state", "result", "dialect", "owner", "method", "path", "endpoint", "target",
        "definition", "trigger", "tag", "priority", "attempt", "retried", "status", "failure",
        "detail", "error", "submitted", "started", "finished", "fetched", "cancel_asked",
        "wait_ms", "run_ms", "progress", "counters", "warnings", "submitted_ms", "started_ms",
        "finished_ms",
    ],
    "timeline": ["job_id", "at", "event", "detail", "time"],
    "attempts": [
        "job_id", "number", "started", "ended", "run_ms", "status", "failure", "detail",
        "started_ms", "ended_ms",
    ],
    "daily": [
        "day", "submitted", "done", "failed", "cancelled", "errors", "mean_run_ms",
        "longest_run_ms",
    ],
}  # fmt: skip


@pytest.fixture
def stock_path(store_path: Path) -> Path:
    return stocked(store_path, various, START)


async def various(stock: Stock) -> None:
    """Make jobs 1 to 6, each of them different."""
    request = Request(method="GET", path="/report")
    made = await stock.store.definitions.create(
        Draft(name="nightly", path="/d/nightly", request=request), "root"
    )
    claim = await stock.running(
        "/report?year=2023", definition=made.id, trigger=Trigger.CLI, tag="mine", owner="alice"
    )
    handle = stock.handle(claim)
    handle.report(40)
    handle.count("ROWS", 7)
    stock.clock.move(1.5)
    await stock.finish(claim, 404)
    await stock.fetch(1)
    claim = await stock.running("/down")
    stock.clock.move(2)
    await stock.store.attempts.retry(
        claim, 60, AttemptEnded(failure=Failure.TIMEOUT, detail="too slow")
    )
    stock.clock.move(86_400)
    await stock.failed("/broken", method="POST")
    await stock.cancelled("/stop")
    claim = await stock.running("/stopped")
    await stock.running("/runs")
    await stock.store.cancel(claim.job_id, by="alice")
    stock.clock.move(100)
    await stopped(stock.store, claim, "stopped in time")


def found(path: Path, view: str, condition: str = "") -> list[dict[str, Any]]:
    names = columns(path, view)
    each = rows(path, f"SELECT * FROM {view} {condition}")
    return [dict(zip(names, row, strict=True)) for row in each]


@pytest.mark.parametrize("view", COLUMNS)
def test_a_view_has_the_columns_that_it_always_had(stock_path: Path, view: str) -> None:
    assert columns(stock_path, view) == COLUMNS[view]


def test_there_are_no_other_views(stock_path: Path) -> None:
    asked = {
        "file": "SELECT name FROM sqlite_schema WHERE type = 'view'",
        "postgresql": "SELECT viewname FROM pg_views WHERE schemaname = current_schema",
    }
    # What nodes count apart, each in rows of its own, stands there as if it were one table.
    sums = {"file": set(), "postgresql": {"counter", "account_usage", "day"}}
    views = rows(stock_path, asked[engine(stock_path)])
    assert {name for (name,) in views} - sums[engine(stock_path)] == set(COLUMNS)


def test_history_tells_all_there_is_to_know_of_a_job(stock_path: Path) -> None:
    (job,) = found(stock_path, "history", "WHERE job_id = 1")
    assert job == {
        "job_id": 1, "state": "done", "result": "taken", "dialect": "arango", "owner": "alice",
        "method": "GET", "path": "/report?year=2023", "endpoint": "/report", "target": "/",
        "definition": "nightly", "trigger": "CLI", "tag": "mine", "priority": 0, "attempt": 1,
        "retried": 0, "status": 404, "failure": None, "detail": None, "error": 1,
        "submitted": "2023-11-14T22:13:20.123Z", "started": "2023-11-14T22:13:20.123Z",
        "finished": "2023-11-14T22:13:21.623Z", "fetched": "2023-11-14T22:13:21.623Z",
        "cancel_asked": None, "wait_ms": 0.0, "run_ms": 1500.0, "progress": 40.0,
        "counters": '{"ROWS":7}', "warnings": 0, "submitted_ms": 1_700_000_000_123,
        "started_ms": 1_700_000_000_123, "finished_ms": 1_700_000_001_623,
    }  # fmt: skip


def test_history_has_every_job_whatever_became_of_it(stock_path: Path) -> None:
    jobs = found(stock_path, "history", "ORDER BY job_id")
    assert [(job["job_id"], job["state"], job["error"]) for job in jobs] == [
        (1, "done", 1),
        (2, "queued", 0),
        (3, "failed", 1),
        (4, "cancelled", 0),
        (5, "cancelled", 0),
        (6, "running", 0),
    ]
    (retried,) = found(stock_path, "history", "WHERE job_id = 2")
    assert (retried["retried"], retried["attempt"], retried["run_ms"]) == (1, 1, None)


def test_timeline_tells_what_happened_and_when_in_two_ways(stock_path: Path) -> None:
    events = found(stock_path, "timeline", "WHERE job_id = 5 ORDER BY at")
    assert Counter((each["event"], each["detail"]) for each in events) == {
        ("submitted", None): 1,
        ("started", "attempt 1"): 1,
        ("cancel asked", "by alice"): 1,
        ("cancelled", "stopped in time"): 1,
    }
    assert (events[-1]["at"], events[-1]["time"]) == (
        START + 86_503_500_000,
        "2023-11-15T22:15:03.623Z",
    )


def test_attempts_has_each_of_them_the_running_ones_too(stock_path: Path) -> None:
    attempts = found(stock_path, "attempts", "ORDER BY job_id, number")
    assert [(each["job_id"], each["number"], each["run_ms"]) for each in attempts] == [
        (1, 1, 1500.0),
        (2, 1, 2000.0),
        (3, 1, 0.0),
        (5, 1, 100_000.0),
        (6, 1, None),
    ]
    assert attempts[1] == {
        "job_id": 2, "number": 1, "started": "2023-11-14T22:13:21.623Z",
        "ended": "2023-11-14T22:13:23.623Z", "run_ms": 2000.0, "status": None,
        "failure": "timeout", "detail": "too slow", "started_ms": 1_700_000_001_623,
        "ended_ms": 1_700_000_003_623,
    }  # fmt: skip


def test_daily_counts_what_was_submitted_and_what_ended_on_each_day(stock_path: Path) -> None:
    assert found(stock_path, "daily", "ORDER BY day") == [
        {
            "day": "2023-11-14", "submitted": 2, "done": 1, "failed": 0, "cancelled": 0,
            "errors": 1, "mean_run_ms": 1500.0, "longest_run_ms": 1500.0,
        },
        {
            "day": "2023-11-15", "submitted": 4, "done": 0, "failed": 1, "cancelled": 2,
            "errors": 1, "mean_run_ms": 0.0, "longest_run_ms": 0.0,
        },
    ]  # fmt: skip


def test_daily_remembers_jobs_that_are_no_longer_in_the_history(store_path: Path) -> None:
    async def forgotten(stock: Stock) -> None:
        await stock.fetch(await stock.done())
        stock.clock.move(1)
        await stock.store.upkeep.forget(stock.clock.now)

    stocked(store_path, forgotten, START)
    assert found(store_path, "history") == []
    (day,) = found(store_path, "daily")
    assert (day["submitted"], day["done"]) == (1, 1)


@pytest.mark.file
def test_the_schema_says_what_the_columns_mean(stock_path: Path) -> None:
    ((text,),) = rows(stock_path, "SELECT sql FROM sqlite_schema WHERE name = 'history'")
    assert "AS endpoint,  -- without it" in text


@pytest.mark.file
@pytest.mark.parametrize("view", ["timeline", "history", "attempts"])
def test_what_a_view_says_of_one_job_is_found_without_reading_the_others(
    stock_path: Path, view: str
) -> None:
    plan = rows(stock_path, f"EXPLAIN QUERY PLAN SELECT * FROM {view} WHERE job_id = 1")
    steps = [step[3] for step in plan]
    assert [step for step in steps if step.startswith("SCAN")] == []
