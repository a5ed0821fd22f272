"""Definitions that run by themselves: what is due is submitted once, whatever happens."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.live import Limits, OwnerLimits, Store
from jobstore.live.scheduler import Scheduler
from jobstore.model.clock import SECOND, now
from jobstore.model.definition import Definition
from jobstore.model.definition_reader import change, parse
from jobstore.model.errors import NotAccepting
from jobstore.model.job import Claim, Dialect, Trigger
from jobstore.store.schedules import BEGINNING
from jobstore.targets.router import Router, TargetRoute
from tests.client import GATED, Client
from tests.conftest import Serve, Start, running
from tests.live.test_executor import Patient
from tests.stores import (
    START,
    StandingClock,
    begun,
    check_sound,
    execute,
    finish,
    next_claim,
    opened,
    orders_of,
    rows,
    submission,
)
from trials.clients import Answer

MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
# The clock of the tests stands at 2027-01-15 08:00:00 UTC.
assert START % HOUR == 0


@pytest.fixture
def clock() -> StandingClock:
    """Give the clock of store and scheduler."""
    return StandingClock()


def scheduler(store: Store, clock: StandingClock, target: str = "/") -> Scheduler:
    """Begin to watch the schedules of a store whose jobs go to one target."""
    return Scheduler(
        store, Router([TargetRoute(name=target, target=Patient(), concurrency=1)]), clock
    )


async def defined(store: Store, cron: str = "0 * * * *", **schedule: Any) -> Definition:
    """Keep a definition that runs by itself, every full hour unless said otherwise."""
    count = len(await store.definitions.page(0, 1000))
    written = {
        "name": f"number {count}",
        "path": f"/number {count}",
        "method": "POST",
        "target": "/work",
        "headers": {"Accept": "text/csv", "Authorization": "Bearer secret"},
        "body": "what to do",
        "schedule": {"cron": cron, **schedule},
    }
    return await store.definitions.create(parse(written), "keeper")


async def changed(store: Store, definition: Definition, **changes: Any) -> Definition:
    """Change a definition as a client does."""
    return await store.definitions.change(definition, change(definition.draft, changes))


def fires_at(path: Path, definition: int = 1) -> int | None:
    """Read when a definition fires next."""
    ((at,),) = rows(path, "SELECT fires_at FROM definition WHERE id = ?", definition)
    assert at is None or isinstance(at, int)
    return at


def runs(path: Path) -> list[int]:
    """Read when each run by schedule was submitted, in hours since the beginning."""
    found = rows(path, "SELECT submitted_at FROM job WHERE \"trigger\" = 'SCHEDULE' ORDER BY id")
    return [(at - START) // HOUR for (at,) in found]


def notes(path: Path, event: str) -> list[tuple[int, str]]:
    """Read the events of one kind, each with its job."""
    return rows(path, "SELECT job_id, detail FROM event WHERE event = ? ORDER BY id", event)


def set_back(path: Path, seconds: float) -> int:
    """Let all schedules of a store be due since so many seconds, as if nobody had been there."""
    due = now() - int(seconds * SECOND)
    execute(path, "UPDATE definition SET fires_at = ?, paused = 0", due)
    return due


# --- a fire time and its run --------------------------------------------------------------------


async def test_a_run_is_submitted_at_its_second_and_not_before(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        watching = scheduler(store, clock)
        clock.now = START + HOUR - 1
        assert await watching.run_once() == 0
        clock.now = START + HOUR
        assert await watching.run_once() == 1
        assert fires_at(store_path) == START + 2 * HOUR
        assert await watching.run_once() == 0
        assert rows(store_path, "SELECT submitted_at FROM job") == [(START + HOUR,)]


async def test_a_run_is_a_job_as_any_other_of_the_definitions_owner(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        clock.move(3600)
        await scheduler(store, clock).run_once()
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert (claim.request.method, claim.request.path) == ("POST", "/work")
        assert claim.request.headers == definition.draft.request.headers
        assert claim.request.body == b"what to do"
        job = await store.results.peek(claim.job_id)
        assert (job.owner, job.dialect, job.trigger) == ("keeper", "native", Trigger.SCHEDULE)
        assert job.definition == definition.id
        await finish(store, claim)
    secrets = rows(store_path, "SELECT secrets FROM request")
    assert secrets
    assert "Bearer secret" not in str(secrets)


async def test_a_thousand_schedules_that_are_due_at_once_are_submitted_at_once(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await asyncio.gather(*(put(store, number) for number in range(1000)))
        clock.move(3600)
        assert await scheduler(store, clock).run_once() == 1000
    assert rows(store_path, "SELECT DISTINCT submitted_at FROM job") == [(START + HOUR,)]
    assert rows(store_path, "SELECT count(DISTINCT definition) FROM job") == [(1000,)]


async def put(store: Store, number: int) -> None:
    schedule = {"cron": "0 * * * *"}
    written = {"name": "n", "path": f"/{number}", "target": "/work", "schedule": schedule}
    await store.definitions.create(parse(written), "")


async def test_two_who_watch_the_same_schedules_submit_each_run_once(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        for _ in range(30):
            await defined(store)
        clock.move(3600)
        watching = [scheduler(store, clock) for _ in range(4)]
        await asyncio.gather(*(each.run_once() for each in watching))
    assert rows(store_path, "SELECT count(*), count(DISTINCT definition) FROM job") == [(30, 30)]


async def test_a_schedule_whose_path_nobody_owns_goes_on_without_a_run(
    store_path: Path, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        clock.move(3600)
        assert await scheduler(store, clock, "/elsewhere").run_once() == 0
        assert fires_at(store_path) == START + 2 * HOUR
    assert "definition 1 (number 0): no target is configured for /work" in caplog.text


async def test_a_full_queue_delays_a_run_but_does_not_lose_it(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, Limits(queue=2), clock) as store:
        for _ in range(3):
            await defined(store)
        clock.move(3600)
        watching = scheduler(store, clock)
        with pytest.raises(NotAccepting):
            await watching.run_once()
        assert runs(store_path) == [1, 1]
        orders = orders_of(store, {"/": 1})
        await finish(store, await next_claim(orders))
        await finish(store, await next_claim(orders))
        assert await watching.run_once() == 1
        assert fires_at(store_path, 3) == START + 2 * HOUR
    assert rows(store_path, "SELECT count(DISTINCT definition) FROM job") == [(3,)]


async def test_a_server_that_drains_leaves_what_is_due_to_the_next_one(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        clock.move(3600)
        store.refuse()
        with pytest.raises(NotAccepting):
            await scheduler(store, clock).run_once()
        assert (runs(store_path), fires_at(store_path)) == ([], START + HOUR)
    async with opened(store_path, clock=clock) as store:
        assert await scheduler(store, clock).run_once() == 1


async def test_a_server_that_drains_does_not_complain_while_nothing_is_due(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        store.refuse()
        assert await scheduler(store, clock).run_once() == 0


async def test_a_commit_that_fails_leaves_the_fire_time_and_submits_nothing(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        clock.move(3600)

        def broken(_method: str, _path: str) -> str:
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await store.schedules.fire(broken, START, BEGINNING)
        assert (runs(store_path), fires_at(store_path)) == ([], START + HOUR)
        assert await scheduler(store, clock).run_once() == 1


# --- what was missed ----------------------------------------------------------------------------


@pytest.mark.parametrize(("catch_up", "expected"), [("one", [3]), ("none", []), ("all", [3, 3, 3])])
async def test_runs_missed_while_the_server_was_down_are_made_up_for_as_the_schedule_says(
    store_path: Path, clock: StandingClock, catch_up: str, expected: list[int]
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, catch_up=catch_up, overlap="allow")
    clock.move(3 * 3600 + 60)
    async with opened(store_path, clock=clock) as store:
        watching = scheduler(store, clock)
        await watching.run_once()
        assert runs(store_path) == expected
        assert await watching.run_once() == 0
        clock.move(3600)
        assert await watching.run_once() == 1
    assert fires_at(store_path) == START + 5 * HOUR


async def test_a_run_that_is_late_says_for_when_it_was(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        clock.move(3 * 3600 + 60)
        await scheduler(store, clock).run_once()
        assert notes(store_path, "late") == [(1, "it was due at 2027-01-15T11:00:00.000Z")]


async def test_more_missed_runs_than_one_step_submits_are_all_made_up_for(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        for _ in range(3):
            await defined(store, "* * * * *", catch_up="all", overlap="allow")
        clock.move(60 * 120)
        assert await scheduler(store, clock).run_once() == 3 * 120
    late = [detail for _, detail in notes(store_path, "late")]
    assert len(set(late)) == 119, "one for each minute but the last, which was not late"


async def test_runs_that_must_not_overlap_are_made_up_for_one_after_the_other(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, catch_up="all", overlap="skip")
    clock.move(3 * 3600 + 60)
    async with opened(store_path, clock=clock) as store:
        watching = scheduler(store, clock)
        orders = orders_of(store, {"/": 1})
        for number in range(1, 4):
            assert await watching.run_once() == 1
            assert len(runs(store_path)) == number
            clock.move(1)
            await finish(store, await next_claim(orders))
        assert await watching.run_once() == 0


async def test_too_many_missed_runs_are_made_up_for_by_the_latest_thousand(
    store_path: Path, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, "* * * * *", catch_up="all", overlap="allow")
        clock.move(60 * 1500)
        assert await scheduler(store, clock).run_once() == 1000
    assert "missed fire times, the first of them 2027-01-15T08:01:00.000Z" in caplog.text


async def test_a_clock_that_is_set_back_repeats_no_run(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        watching = scheduler(store, clock)
        clock.move(3600)
        assert await watching.run_once() == 1
        clock.move(-60)
        assert await watching.run_once() == 0
        clock.move(60)
        assert await watching.run_once() == 0


# --- schedules that cannot be computed ----------------------------------------------------------


def spoilt(path: Path, statement: str) -> None:
    """Change what stands in a store by hand."""
    execute(path, statement)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("SET time_zone = 'Europe/Atlantis'", "unknown time zone Europe/Atlantis"),
        ("SET cron = '0 3 L/2 * *'", "bad day-of-month; expected the five fields"),
        ("SET cron = '0 0 30 2 *'", "0 0 30 2 * never fires in UTC"),
    ],
)
async def test_a_schedule_that_cannot_be_computed_any_more_runs_once_and_is_paused(
    store_path: Path,
    clock: StandingClock,
    caplog: pytest.LogCaptureFixture,
    change: str,
    problem: str,
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        await defined(store)
    spoilt(store_path, f"UPDATE definition {change} WHERE id = 1")
    async with opened(store_path, clock=clock) as store:
        clock.move(3600)
        watching = scheduler(store, clock)
        assert await watching.run_once() == 2
        (paused, goes_on) = await store.definitions.page(0, 10)
        assert paused.draft.schedule is not None
        assert (paused.draft.schedule.paused, paused.fires_at) == (True, None)
        assert goes_on.fires_at == START + 2 * HOUR
    assert f"definition 1 (number 0): is paused: {problem}" in caplog.text
    ((job_id, detail),) = notes(store_path, "paused")
    assert job_id == 1
    assert detail.startswith(f"no further run: {problem}")


async def test_a_schedule_without_its_time_zone_is_paused_even_if_its_owner_may_submit_nothing(
    store_path: Path, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
    spoilt(store_path, "UPDATE definition SET time_zone = 'Europe/Atlantis'")
    async with opened(store_path, Limits(owner=OwnerLimits(queued=1)), clock) as store:
        await store.submit(submission())
        clock.move(3600)
        assert await scheduler(store, clock).run_once() == 0
        (paused,) = await store.definitions.page(0, 10)
        assert paused.draft.schedule is not None
        assert (paused.draft.schedule.paused, paused.fires_at) == (True, None)
    for problem in ("is paused: unknown time zone Europe/Atlantis", "its run is skipped: 1 of"):
        assert f"definition 1 (number 0): {problem}" in caplog.text


async def test_a_definition_whose_row_makes_no_sense_is_paused_and_the_others_go_on(
    store_path: Path, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path, clock=clock) as store:
        for _ in range(25):
            await defined(store)
    spoilt(store_path, "UPDATE definition SET catch_up = 'perhaps' WHERE id BETWEEN 2 AND 23")
    spoilt(store_path, "UPDATE definition SET cron = NULL WHERE id = 24")
    async with opened(store_path, clock=clock) as store:
        clock.move(3600)
        assert await scheduler(store, clock).run_once() == 2
        assert await scheduler(store, clock).run_once() == 0
    assert "definition 2 was paused: its stored schedule is invalid: 'perhaps'" in caplog.text
    assert rows(store_path, "SELECT id FROM definition WHERE fires_at IS NOT NULL ORDER BY id") == [
        (1,),
        (25,),
    ]


async def test_a_server_starts_with_a_schedule_that_it_cannot_compute(
    store_path: Path, http: ClientSession
) -> None:
    async with running(store_path, target=GATED) as server:
        client = Client(http, server.url)
        await create(client, "/wait/nightly", cron="0 3 * * *", time_zone="Europe/Berlin")
    set_back(store_path, 5000)
    spoilt(store_path, "UPDATE definition SET time_zone = 'Europe/Atlantis'")
    async with running(store_path, target=GATED) as server:
        client = Client(http, server.url)
        await client.when("nightly", "started")
        await client.let("nightly")
        await client.ended(1)
        shown = told(await client("GET", "/_jobs/definitions/1?fires=5"))
        assert (shown["schedule"]["paused"], shown["fires"]) == (True, [])
        mended = {"schedule": {"time_zone": "Europe/Berlin", "paused": False}}
        assert told(await client("PATCH", "/_jobs/definitions/1", json=mended))["fires_at"]


# --- runs that would overlap --------------------------------------------------------------------


async def begin_a_run(store: Store, clock: StandingClock, watching: Scheduler) -> Claim:
    """Let a definition run for the first time."""
    clock.move(3600)
    assert await watching.run_once() == 1
    return await next_claim(orders_of(store, {"/": 1}))


async def test_a_run_is_skipped_while_an_earlier_one_goes_on_and_that_one_says_so(
    store_path: Path, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        watching = scheduler(store, clock)
        claim = await begin_a_run(store, clock, watching)
        clock.move(3600)
        assert await watching.run_once() == 0
        assert fires_at(store_path) == START + 3 * HOUR
        await finish(store, claim)
        clock.move(3600)
        assert await watching.run_once() == 1
    skipped = "the run that was due at 2027-01-15T10:00:00.000Z was skipped"
    assert notes(store_path, "overlapped") == [(1, skipped)]
    assert "the run of 2027-01-15T10:00:00.000Z is skipped, since job 1 has not" in caplog.text


async def test_a_run_waits_for_the_end_of_an_earlier_one_and_no_more_than_one_does(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, overlap="queue")
        watching = scheduler(store, clock)
        claim = await begin_a_run(store, clock, watching)
        clock.move(2 * 3600)
        assert await watching.run_once() == 0
        await finish(store, claim)
        assert await watching.run_once() == 1
        assert await watching.run_once() == 0
    assert runs(store_path) == [1, 3]
    assert fires_at(store_path) == START + 4 * HOUR


async def test_what_has_to_wait_stops_nothing_else(store_path: Path, clock: StandingClock) -> None:
    async with opened(store_path, clock=clock) as store:
        for _ in range(45):
            await defined(store, overlap="queue")
        watching = scheduler(store, clock)
        clock.move(3600)
        assert await watching.run_once() == 45
        await defined(store, "30 * * * *")
        clock.move(3600)
        assert await watching.run_once() == 1


async def test_a_run_that_was_asked_for_by_hand_is_an_earlier_one_as_well(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        await store.submit(definition.run("/", Dialect.NATIVE, "somebody", Trigger.RESTAPI))
        clock.move(3600)
        assert await scheduler(store, clock).run_once() == 0
    assert [job for job, _ in notes(store_path, "overlapped")] == [1]


async def test_runs_that_may_overlap_do(store_path: Path, clock: StandingClock) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, overlap="allow")
        watching = scheduler(store, clock)
        await begin_a_run(store, clock, watching)
        clock.move(3600)
        assert await watching.run_once() == 1
    assert runs(store_path) == [1, 2]


# --- definitions that change --------------------------------------------------------------------


async def test_a_paused_schedule_does_not_fire_and_what_passes_is_not_made_up_for(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        definition = await changed(store, definition, schedule={"paused": True})
        assert definition.fires_at is None
        clock.move(3 * 3600 + 60)
        watching = scheduler(store, clock)
        assert await watching.run_once() == 0
        definition = await changed(store, definition, schedule={"paused": False})
        assert definition.fires_at == START + 4 * HOUR
        assert await watching.run_once() == 0


@pytest.mark.parametrize("changes", [{"name": "other"}, {"schedule": {"overlap": "queue"}}])
async def test_a_change_of_something_else_leaves_what_is_due_due(
    store_path: Path, clock: StandingClock, changes: dict[str, Any]
) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        clock.move(3600 + 60)
        await changed(store, definition, **changes)
        assert await scheduler(store, clock).run_once() == 1


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [({"cron": "30 9 * * *"}, 90), ({"time_zone": "Asia/Kolkata"}, 90), (None, None)],
)
async def test_a_new_schedule_counts_from_now_on(
    store_path: Path,
    clock: StandingClock,
    schedule: Mapping[str, str] | None,
    expected: int | None,
) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        clock.move(3600 + 60)
        await changed(store, definition, schedule=schedule)
        assert await scheduler(store, clock).run_once() == 0
    assert fires_at(store_path) == (expected and START + expected * MINUTE)


async def test_a_deleted_definition_does_not_fire(store_path: Path, clock: StandingClock) -> None:
    async with opened(store_path, clock=clock) as store:
        definition = await defined(store)
        await store.definitions.delete(definition.id)
        clock.move(3600)
        assert await scheduler(store, clock).run_once() == 0
    assert fires_at(store_path) is None


# --- waiting ------------------------------------------------------------------------------------


async def test_who_waits_is_woken_by_an_earlier_fire_time_by_the_end_of_a_run_and_by_others(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        waking = await begun(store.schedules.due(clock.now))
        assert not waking.done()
        clock.move(3600)
        await defined(store, "0 0 1 1 *")
        clock.move(366 * 24 * 3600)
        store.schedules.notice()  # which sees the change that was made here, too
        await waking


async def test_the_end_of_an_earlier_run_wakes_who_waits_for_it(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store, overlap="queue")
        watching = scheduler(store, clock)
        claim = await begin_a_run(store, clock, watching)
        clock.move(3600)
        assert await watching.run_once() == 0
        await store.schedules.due(clock.now, 0)  # which the definition's own making has left over
        waking = await begun(store.schedules.due(clock.now))
        assert not waking.done()
        await finish(store, claim)
        await waking
        assert await watching.run_once() == 1


async def test_what_comes_due_while_one_looks_is_not_slept_over(
    store_path: Path, clock: StandingClock
) -> None:
    async with opened(store_path, clock=clock) as store:
        await defined(store)
        watching = scheduler(store, clock)
        looked_at = clock.now
        await watching.run_once()
        clock.move(3600)
        await store.schedules.due(looked_at)
        assert await watching.run_once() == 1


# --- a real server ------------------------------------------------------------------------------


async def create(client: Client, target: str, **schedule: Any) -> Answer:
    """Keep a definition in a server."""
    written = {
        "name": "nightly",
        "path": "/nightly",
        "target": target,
        "schedule": schedule or None,
    }
    return await client("POST", "/_jobs/definitions", json=written)


async def test_a_server_runs_at_its_start_what_was_missed(
    store_path: Path, http: ClientSession
) -> None:
    async with running(store_path, target=GATED) as server:
        client = Client(http, server.url)
        answer = await create(client, "/wait/nightly", cron="0 3 * * *", time_zone="Europe/Berlin")
        assert answer.status == 201
    set_back(store_path, 5000)
    async with running(store_path, target=GATED) as server:
        client = Client(http, server.url)
        await client.when("nightly", "started")
        await client.let("nightly")
        assert (await client.fetched(1)).body == b"nightly is done"
    check_sound(store_path)
    assert rows(store_path, 'SELECT "trigger" FROM job') == [("SCHEDULE",)]


async def test_a_server_notices_that_another_process_has_changed_a_schedule(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    await create(client, "/wait/nightly", cron="0 3 * * *")
    set_back(store_path, 1)
    await client.when("nightly", "started")
    await client.let("nightly")
    await client.ended(1)
    assert rows(store_path, "SELECT count(*) FROM job") == [(1,)]


async def test_what_waits_in_a_server_runs_when_the_earlier_run_has_ended(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    await create(client, "/wait/nightly", cron="0 3 * * *", overlap="queue")
    by_hand = await client("POST", "/_jobs/definitions/1/run")
    assert by_hand.status == 202
    await client.when("nightly", "started")
    set_back(store_path, 0)
    await client.let("nightly")
    while (await client("GET", "/_api/job/2")).status == 404:
        pass
    assert rows(store_path, 'SELECT "trigger" FROM job') == [("RESTAPI",), ("SCHEDULE",)]


@pytest.mark.file  # a silent node may go on for as long as its lease
async def test_runs_wait_for_recovery_to_tell_whether_an_earlier_one_goes_on(
    server_process: Start, store_path: Path, http: ClientSession
) -> None:
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    written = {"name": "n", "path": "/n", "method": "POST", "target": "/wait/nightly"}
    schedule = {"cron": "0 3 * * *"}
    await client("POST", "/_jobs/definitions", json={**written, "schedule": schedule})
    await client("POST", "/_jobs/definitions/1/run")
    await client.when("nightly", "started")
    await server.kill()
    set_back(store_path, 0)
    await server.start()
    client = Client(http, server.url)
    await client.when("nightly", "started")
    assert rows(store_path, "SELECT state FROM job ORDER BY id") == [("failed",), ("running",)]


async def test_a_server_killed_at_any_moment_neither_loses_nor_doubles_a_run(
    server_process: Start, store_path: Path, http: ClientSession
) -> None:
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    schedule = {"cron": "* * * * *", "catch_up": "all", "overlap": "allow"}
    for number in range(8):
        written = {"name": "n", "path": f"/{number}", "target": "/wait/x", "schedule": schedule}
        await client("POST", "/_jobs/definitions", json=written)
    await server.kill()
    begin = set_back(store_path, 0) // MINUTE * MINUTE - 100 * MINUTE
    execute(store_path, "UPDATE definition SET fires_at = ?", begin)
    for submitted in (1, 150, 350, 500):
        await server.start()
        while rows(store_path, "SELECT count(*) FROM job")[0][0] < submitted:
            await Client(http, server.url)("GET", "/_jobs/definitions/1")
        await server.kill()
    await server.start()
    while rows(store_path, "SELECT min(fires_at) FROM definition")[0][0] < now():
        await Client(http, server.url)("GET", "/_jobs/definitions/1")
    await server.kill()
    check_sound(store_path)
    for definition, at in rows(store_path, "SELECT id, fires_at FROM definition"):
        ((count,),) = rows(store_path, "SELECT count(*) FROM job WHERE definition = ?", definition)
        assert begin + count * MINUTE == at, "one run for each minute up to the next fire time"


# --- over HTTP ----------------------------------------------------------------------------------


def told(answer: Answer) -> Any:
    """Read an answer's JSON."""
    return json.loads(answer.body)


async def test_a_definition_tells_when_it_fires(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    made = told(await create(client, "/wait/x", cron="0 3 * * *"))
    assert made["schedule"] == {
        "cron": "0 3 * * *",
        "time_zone": "UTC",
        "catch_up": "one",
        "overlap": "skip",
        "paused": False,
    }
    assert made["fires_at"].endswith("T03:00:00.000Z")
    shown = told(await client("GET", "/_jobs/definitions/1?fires=5"))
    assert len(shown["fires"]) == len(set(shown["fires"])) == 5
    assert shown["fires"][0] == shown["fires_at"] == made["fires_at"]
    assert {each[10:] for each in shown["fires"]} == {"T03:00:00.000Z"}
    assert "fires" not in told(await client("GET", "/_jobs/definitions/1"))


async def test_fire_times_are_those_of_the_zone(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    await create(client, "/wait/x", cron="0 3 * * *", time_zone="Asia/Kolkata")
    shown = told(await client("GET", "/_jobs/definitions/1?fires=1"))
    assert shown["fires"][0].endswith("T21:30:00.000Z")


@pytest.mark.parametrize(
    ("cron", "zone"),
    [
        ("*/15 3 * * *", "Pacific/Chatham"),
        ("* 3 4 4 *", "Pacific/Chatham"),
        ("*/15 2 4 4 *", "Australia/Lord_Howe"),
        ("0 0 29 2 */7", "Africa/Casablanca"),
    ],
)
async def test_fire_times_at_any_change_of_clocks_are_told_at_once(
    serve: Serve, http: ClientSession, cron: str, zone: str
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    assert (await create(client, "/wait/x", cron=cron, time_zone=zone)).status == 201
    shown = told(await client("GET", "/_jobs/definitions/1?fires=100"))
    assert shown["fires"] == sorted(set(shown["fires"]))
    assert shown["fires"][0] == shown["fires_at"]


async def test_a_schedule_is_paused_and_goes_on(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    made = told(await create(client, "/wait/x", cron="0 3 * * *", overlap="queue"))
    one = "/_jobs/definitions/1"
    paused = told(await client("PATCH", one, json={"schedule": {"paused": True}}))
    assert paused["schedule"] == {**made["schedule"], "paused": True}
    assert paused["fires_at"] is None
    assert told(await client("GET", f"{one}?fires=5"))["fires"] == []
    resumed = told(await client("PATCH", one, json={"schedule": {"paused": None}}))
    assert (resumed["schedule"], resumed["fires_at"]) == (made["schedule"], made["fires_at"])


async def test_a_schedule_comes_and_goes(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    one = "/_jobs/definitions/1"
    made = told(await create(client, "/wait/x"))
    assert made["schedule"] is made["fires_at"] is None
    assert told(await client("GET", f"{one}?fires=5"))["fires"] == []
    given = told(await client("PATCH", one, json={"schedule": {"cron": "0 3 * * *"}}))
    assert given["fires_at"] is not None
    taken = told(await client("PATCH", one, json={"schedule": None}))
    assert taken["schedule"] is taken["fires_at"] is None


@pytest.mark.parametrize(
    ("schedule", "problem"),
    [
        ({"cron": "0 0 30 2 *"}, "schedule.cron: 0 0 30 2 * never fires: no month has such a day"),
        (
            {"cron": "*/15 2 * 3 SUN#2", "time_zone": "America/New_York"},
            "schedule.cron: */15 2 * 3 SUN#2 never fires in America/New_York: no clock there",
        ),
        ({"cron": "often"}, "schedule.cron: expected the five fields minute, hour, day of month"),
        ({"cron": "0 25 * * *"}, "schedule.cron: bad hour; expected the five fields"),
        ({"cron": 5}, "schedule.cron: expected a cron expression such as 0 3 * * *"),
        ({"paused": True}, "schedule.cron: expected a cron expression such as 0 3 * * *"),
        (
            {"cron": "0 3 * * *", "time_zone": "Mars"},
            "schedule.time_zone: expected an IANA time zone such as UTC or Europe/Berlin",
        ),
        (
            {"cron": "0 3 * * *", "catch_up": "two"},
            'schedule.catch_up: expected "one", "none" or "all"',
        ),
        (
            {"cron": "0 3 * * *", "overlap": True},
            'schedule.overlap: expected "skip", "queue" or "allow"',
        ),
        ({"cron": "0 3 * * *", "paused": "no"}, "schedule.paused: expected true or false"),
        (
            {"cron": "0 3 * * *", "zone": "UTC"},
            "schedule.zone: no such member; did you mean time_zone?",
        ),
        ("0 3 * * *", 'schedule: expected an object such as {"cron": "0 3 * * *"'),
        ([], 'schedule: expected an object such as {"cron": "0 3 * * *"'),
    ],
)
@pytest.mark.file
async def test_what_is_no_schedule_is_refused_with_what_was_expected(
    serve: Serve, http: ClientSession, schedule: object, problem: str
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    written = {"name": "x", "path": "/x", "target": "/work", "schedule": schedule}
    answer = await client("POST", "/_jobs/definitions", json=written)
    assert (answer.status, told(answer)["status"]) == (400, 400)
    assert told(answer)["detail"].startswith(problem)


async def test_a_change_that_leaves_no_schedule_is_refused_and_changes_nothing(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    made = told(await create(client, "/wait/x", cron="0 3 * * *"))
    for schedule in ({"cron": None}, {"time_zone": "Mars"}, {"cron": "0 0 31 2 *"}, 7):
        answer = await client("PATCH", "/_jobs/definitions/1", json={"schedule": schedule})
        assert answer.status == 400
        assert told(answer)["detail"].startswith("schedule")
    assert told(await client("GET", "/_jobs/definitions/1")) == made


@pytest.mark.parametrize("fires", ["five", "-1", "", "1.5", "9" * 30])
@pytest.mark.file
async def test_a_number_of_fire_times_that_is_none_is_refused(
    serve: Serve, http: ClientSession, fires: str
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    await create(client, "/wait/x", cron="0 3 * * *")
    answer = await client("GET", f"/_jobs/definitions/1?fires={fires}")
    assert answer.status == 400
    assert told(answer)["detail"] == "fires: expected a whole number"


async def test_no_more_than_a_hundred_fire_times_are_shown(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    await create(client, "/wait/x", cron="* * * * *")
    shown = told(await client("GET", "/_jobs/definitions/1?fires=1000000"))
    assert len(shown["fires"]) == 100
