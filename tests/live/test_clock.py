"""The clock is set: forward, back, by hand or by NTP, while a server runs and while it does not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.live import Store
from jobstore.live.janitor import Janitor, Retention
from jobstore.model.clock import SECOND, ClockWatch
from jobstore.model.retry import AttemptEnded
from jobstore.model.schedule import Schedule, next_fire, reconsidered
from tests.client import Client
from tests.live.test_schedules import changed, defined, fires_at, scheduler
from tests.stores import (
    START,
    SettableClock,
    finish,
    finished,
    next_claim,
    opened,
    orders_of,
    rows,
    states,
    submission,
    taken,
)
from trials.doomed import Clock
from trials.nursery import ForkedServer

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR


@pytest.fixture
def clock() -> SettableClock:
    """Give the clocks of store and scheduler; it is 2027-01-15 08:00:00 UTC."""
    return SettableClock()


@asynccontextmanager
async def kept(path: Path, clock: SettableClock) -> AsyncIterator[Store]:
    """Own a store with both clocks."""
    async with opened(path, clock=clock, steady=clock.steady) as store:
        yield store


def put(store: Store, clock: SettableClock, seconds: float) -> None:
    """Set the clock, and let that be noticed."""
    clock.set(seconds)
    store.timekeeping.check()


def since_start(at: int | None) -> float | None:
    """Give a time in seconds since the clock began."""
    return None if at is None else (at - START) / SECOND


def due_at(path: Path, job_id: int = 1) -> float | None:
    """Read when a job may run, in seconds since the clock began."""
    ((at,),) = rows(path, "SELECT not_before FROM job WHERE id = ?", job_id)
    return since_start(at)


# --- noticing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [-3600.0, -1.0, 1.0, 5 * 366 * DAY])
def test_a_clock_that_is_set_is_noticed_once(clock: SettableClock, seconds: float) -> None:
    watch = ClockWatch(clock, clock.steady)
    clock.move(100)
    clock.set(seconds)
    assert watch.set_by() == seconds * SECOND
    clock.move(100)
    assert watch.set_by() == 0


def test_a_clock_that_is_steered_is_not_one_that_was_set(clock: SettableClock) -> None:
    watch = ClockWatch(clock, clock.steady)
    for _ in range(1000):
        clock.move(1)
        clock.set(-0.08)
        assert watch.set_by() == 0


def test_a_look_at_two_clocks_that_is_interrupted_is_repeated(clock: SettableClock) -> None:
    looks = 0

    def steady() -> int:
        nonlocal looks
        looks += 1
        if looks in {4, 6, 8}:  # between the look at the one and the look at the other
            clock.move(7)
        return clock.steady()

    watch = ClockWatch(clock, steady)
    assert looks == 2
    assert watch.set_by() == 0
    assert looks == 10


async def test_that_a_clock_was_set_stands_in_the_log(
    store_path: Path, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept(store_path, clock) as store:
        put(store, clock, -5400)
        put(store, clock, 90)
    said = [record.getMessage() for record in caplog.records]
    assert said == ["the clock was set back by 5400.0 s", "the clock was set forward by 90.0 s"]


# --- schedules ----------------------------------------------------------------------------------


async def runs_each_minute(store: Store, clock: SettableClock, minutes: int = 5) -> None:
    """See that a schedule of every minute fires once in each."""
    watching = scheduler(store, clock)
    for _ in range(minutes):
        clock.move(30)
        assert await watching.run_once() == 0
        clock.move(30)
        assert await watching.run_once() == 1


async def run_with_a_wrong_clock(store: Store, clock: SettableClock, seconds: float) -> None:
    """Let a schedule fire once while the clock is ahead, and put that right unnoticed."""
    await defined(store, "* * * * *", overlap="allow")
    put(store, clock, seconds)
    assert await scheduler(store, clock).run_once() == 1
    clock.set(-seconds)


@pytest.mark.parametrize("hours", [2, 48, 24 * 366])
async def test_a_clock_that_was_ahead_for_one_run_silences_no_schedule(
    store_path: Path, clock: SettableClock, hours: int
) -> None:
    async with kept(store_path, clock) as store:
        await run_with_a_wrong_clock(store, clock, hours * HOUR)
        store.timekeeping.check()
        await runs_each_minute(store, clock)


async def test_a_clock_that_is_put_right_while_the_server_is_down_silences_no_schedule(
    store_path: Path, clock: SettableClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with kept(store_path, clock) as store:
        await run_with_a_wrong_clock(store, clock, 2 * HOUR)
    async with kept(store_path, clock) as store:
        await runs_each_minute(store, clock)
    moved = "now fires at 2027-01-15T08:01:00.000Z instead of 2027-01-15T10:01:00.000Z"
    assert f"definition 1 (number 0): {moved}, since the clock was set" in caplog.text


async def test_who_waits_for_a_schedule_is_woken_when_the_clock_is_set(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        waiting = asyncio.create_task(store.schedules.due(clock.now))
        put(store, clock, -HOUR)
        await waiting


async def test_a_run_that_has_only_just_been_is_not_repeated_by_a_second_that_is_taken_back(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await defined(store, "* * * * *", overlap="allow")
        watching = scheduler(store, clock)
        clock.move(60)
        assert await watching.run_once() == 1
        put(store, clock, -2)
        assert await watching.run_once() == 0
        clock.move(2)
        assert await watching.run_once() == 0
        clock.move(60)
        assert await watching.run_once() == 1


async def test_a_fixed_time_is_not_run_again_if_the_clock_goes_back_over_it_by_less_than_3_hours(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await defined(store, "0,20,40 9 * * *", overlap="allow", catch_up="all")
        watching = scheduler(store, clock)
        clock.move(2 * HOUR)
        assert await watching.run_once() == 3
        put(store, clock, -HOUR - 30 * MINUTE)
        clock.move(HOUR)
        assert await watching.run_once() == 0
    assert fires_at(store_path) == START + (DAY + HOUR) * SECOND


async def test_a_fixed_time_is_run_when_it_really_comes_if_the_clock_had_been_wrong_by_days(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await defined(store, "0 9 * * *", overlap="allow")
        watching = scheduler(store, clock)
        put(store, clock, 40 * DAY)
        assert await watching.run_once() == 1
        put(store, clock, -40 * DAY)
        assert await watching.run_once() == 0
        clock.move(HOUR)
        assert await watching.run_once() == 1


async def test_what_comes_after_a_clock_was_put_back_has_not_been_missed(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await defined(store, "* * * * *", overlap="allow", catch_up="none")
        watching = scheduler(store, clock)
        put(store, clock, -5 * HOUR)
        for _ in range(3):
            assert await watching.run_once() == 0
            clock.move(60)
            assert await watching.run_once() == 1


async def test_a_run_that_began_by_a_clock_that_was_ahead_is_in_the_way_of_the_next(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await defined(store, "* * * * *", overlap="skip")
        watching = scheduler(store, clock)
        put(store, clock, 5 * HOUR)
        assert await watching.run_once() == 1
        put(store, clock, -5 * HOUR)
        clock.move(60)
        assert await watching.run_once() == 0
        await finish(store, await next_claim(orders_of(store, {"/": 1})))
        clock.move(60)
        assert await watching.run_once() == 1


async def test_a_paused_schedule_is_not_woken_by_a_clock_that_is_set(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await changed(store, await defined(store), schedule={"paused": True})
        put(store, clock, -5 * HOUR)
        assert await scheduler(store, clock).run_once() == 0
    assert fires_at(store_path) is None


CRONS: Final = st.sampled_from(
    ["* * * * *", "*/15 * * * *", "0 * * * *", "0,20,40 9 * * *", "30 2 * * *", "0 0 1 1 *"]
)
TIMES: Final = st.integers(0, 3 * 366 * DAY).map(lambda seconds: START + seconds * SECOND)


@settings(deadline=None)  # how long it takes is not the question
@given(CRONS, TIMES, st.integers(-400 * DAY, 400 * DAY), st.integers(0, 2 * HOUR))
def test_no_schedule_waits_longer_than_the_clock_says_and_what_is_said_once_is_kept_to(
    cron: str, before: int, seconds: int, later: int
) -> None:
    schedule = Schedule(cron=cron, time_zone="Europe/Berlin")
    written = next_fire(schedule, before)
    now = before + seconds * SECOND
    first = next_fire(schedule, now)
    assert written is not None
    assert first is not None
    found = reconsidered(schedule, written, now)
    if written <= first:
        assert found == written, "what is due or was made up for stays so"
    else:
        second = next_fire(schedule, now + 3 * HOUR * SECOND)
        assert second is not None
        assert first <= found <= max(second, next_fire(schedule, first) or 0)
    if found > now + later * SECOND:
        moment = now + later * SECOND
        if (next_fire(schedule, moment) or 0) == first:
            assert reconsidered(schedule, found, moment) == found


# --- jobs that wait -----------------------------------------------------------------------------


async def delayed(store: Store, **members: Any) -> int:
    """Put a job in that waits."""
    return await store.submit(replace(submission(), **members))


@pytest.mark.parametrize("seconds", [-HOUR, HOUR, -400 * DAY, 400 * DAY])
async def test_a_wait_stays_as_long_as_it_is_and_a_time_that_was_named_stays_that_time(
    store_path: Path, clock: SettableClock, seconds: int
) -> None:
    async with kept(store_path, clock) as store:
        await delayed(store, delay=3 * SECOND)
        await delayed(store, delay=7200 * SECOND)
        await delayed(store, not_before=START + 7200 * SECOND)
        clock.move(1)
        put(store, clock, seconds)
        await delayed(store, delay=5 * SECOND)
    assert due_at(store_path, 1) == 3 + seconds
    assert due_at(store_path, 2) == 7200 + seconds
    assert due_at(store_path, 3) == 7200
    assert due_at(store_path, 4) == 1 + seconds + 5


async def test_a_job_that_waits_runs_although_the_clock_is_put_back(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        orders = orders_of(store, {"/": 1})
        job_id = await delayed(store, delay=3 * SECOND)
        clock.set(-HOUR)
        clock.move(3)
        coming_due = asyncio.create_task(store.come_due())
        assert (await next_claim(orders)).job_id == job_id
        coming_due.cancel()


async def test_a_job_that_waits_does_not_run_early_since_the_clock_is_put_forward(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await delayed(store, delay=3 * SECOND)
        clock.set(HOUR)
        await delayed(store, delay=0)
        coming_due = asyncio.create_task(store.come_due())
        assert (await next_claim(orders_of(store, {"/": 1}))).job_id == 2
        coming_due.cancel()
    assert due_at(store_path, 1) == HOUR + 3


async def test_the_pause_before_another_attempt_stays_as_long_as_it_is(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        clock.set(-HOUR)
        assert await store.attempts.retry(claim, 10, AttemptEnded(status=503, detail="status 503"))
        assert due_at(store_path) == 10 - HOUR
        put(store, clock, -HOUR)
    assert due_at(store_path) == 10 - 2 * HOUR


async def test_a_clock_that_is_put_back_while_the_server_is_down_makes_no_wait_longer_than_it_was(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await delayed(store, delay=3 * SECOND)
        await delayed(store, not_before=START + 3 * SECOND)
        await delayed(store, delay=7200 * SECOND)
    clock.move(2)
    clock.set(-HOUR)
    async with kept(store_path, clock) as store:
        await store.timekeeping.begin()
    assert due_at(store_path, 1) == 2 - HOUR + 3
    assert due_at(store_path, 2) == 3
    assert due_at(store_path, 3) == 2 - HOUR + 7200
    clock.move(60)
    async with kept(store_path, clock) as store:
        await store.timekeeping.begin()
    assert due_at(store_path, 3) == 2 - HOUR + 7200, "which goes on where the clock goes on"


class Clocked(ForkedServer):
    """A real server whose clock can be set, for its process alone."""

    def __init__(self, store_path: Path, clock: Clock, *arguments: str) -> None:
        super().__init__(store_path, *arguments)
        self._clock = clock

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return {**super().environment, **self._clock.environment()}


@pytest.mark.usefixtures("nursery")
async def test_a_server_whose_clock_is_put_back_runs_what_waits_after_as_long_as_it_should(
    store_path: Path, tmp_path: Path, http: ClientSession
) -> None:
    clock = Clock(tmp_path / "clock")
    server = Clocked(store_path, clock, "--app", "tests.gates:create_app")
    await server.start()
    try:
        client = Client(http, server.url)
        answer = await client("POST", "/_jobs", json={"target": "/wait/late", "delay": "1s"})
        assert answer.status == 202
        clock.step_to(-3600)
        await client.when("late", "started")
        await client.let("late")
        await client.ended(1)
        assert await server.terminate() == 0
    finally:
        await server.kill()
    assert "the clock was set back by 3600.0 s" in "".join(server.output)


# --- what is kept -------------------------------------------------------------------------------

KEPT: Final = Retention(unfetched=DAY, fetched=HOUR, history=30 * DAY, interval=MINUTE)


async def test_no_result_gets_older_because_the_clock_is_put_forward(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        janitor = Janitor(store, KEPT, clock)
        await finished(store)
        await taken(store, await finished(store))
        clock.move(HOUR / 2)
        put(store, clock, 366 * DAY)
        await finished(store)
        assert await janitor.run_once() == 0
        clock.move(HOUR)
        assert await janitor.run_once() == 1, "the payload of the one that was fetched"
        clock.move(DAY - 2 * HOUR)
        assert await janitor.run_once() == 0
        clock.move(HOUR)
        assert await janitor.run_once() == 1
        assert states(store_path)[1] == ("done", "expired")
        clock.move(HOUR + 1)
        assert await janitor.run_once() == 2, "the payload of that one, and the third expires"


async def test_a_result_from_the_future_is_kept_no_longer_than_others(
    store_path: Path, clock: SettableClock
) -> None:
    clock.set(366 * DAY)
    async with kept(store_path, clock) as store:
        await finished(store)
        await taken(store, await finished(store))
    clock.set(-366 * DAY)
    async with kept(store_path, clock) as store:
        janitor = Janitor(store, KEPT, clock)
        assert await janitor.run_once() == 2, "their times are corrected"
        assert await janitor.run_once() == 0
        clock.move(2 * DAY)
        await janitor.run_once()
        assert states(store_path)[1] == ("done", "expired")
        assert rows(store_path, "SELECT job_id FROM response") == []
        clock.move(40 * DAY)
        await janitor.run_once()
        assert states(store_path) == {}


async def test_that_times_were_corrected_stands_in_the_history(
    store_path: Path, clock: SettableClock
) -> None:
    clock.set(2 * DAY)
    async with kept(store_path, clock) as store:
        await finished(store)
        clock.set(-2 * DAY)
        await Janitor(store, KEPT, clock).run_once()
    assert rows(store_path, "SELECT submitted_at, started_at, finished_at FROM job") == [
        (START, START, START)
    ]
    assert rows(store_path, "SELECT event, detail FROM event") == [
        (
            "redated",
            "it had ended by a clock that was more than a day ahead; its times were corrected",
        )
    ]


async def test_a_job_from_the_future_keeps_no_other_in_the_history(
    store_path: Path, clock: SettableClock
) -> None:
    async with kept(store_path, clock) as store:
        await finished(store, wanted=False)
        clock.set(100 * DAY)
        await store.submit(submission(target="/nobody"))
        clock.set(-100 * DAY)
        await finished(store, wanted=False)
        clock.move(40 * DAY)
        await Janitor(store, KEPT, clock).run_once()
    assert states(store_path) == {2: ("queued", "none")}
