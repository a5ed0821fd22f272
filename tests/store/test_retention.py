import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Store
from jobstore.live.janitor import Janitor, Retention
from jobstore.model.clock import SECOND
from jobstore.model.errors import JobNotFound, StoreAtLimit
from jobstore.model.message import Response
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.steps import AMONG_OTHERS
from jobstore.store.transaction import Transaction
from tests.stores import (
    START,
    CountingClock,
    StandingClock,
    begun,
    finish,
    finished,
    held_up,
    next_claim,
    opened,
    orders_of,
    rows,
    states,
    submission,
    taken,
    timeline,
    writer_of,
)

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
FOR_EVER: Final = Retention(unfetched=None, fetched=None, history=None, interval=MINUTE)


async def kept_by(
    retention: Retention, path: Path, *ages: float
) -> list[dict[int, tuple[str, str]]]:
    """Say what stands in a store at some ages of its jobs, after a round of the janitor at each.

    Job 1 ends and is never fetched, 2 is fetched, 3 deleted, 4 not wanted, 5 still queued.
    """
    clock, found = StandingClock(), []
    async with opened(path, clock=clock) as store:
        for wanted in (True, True, True, False):
            await finished(store, wanted=wanted)
        await taken(store, 2)
        await store.results.delete(3)
        await store.submit(submission(target="/nobody"))
        janitor = Janitor(store, retention, clock)
        for age in ages:
            clock.now = START + int(age * SECOND)
            await janitor.run_once()
            found.append(states(path))
    return found


ALL: Final = {
    1: ("done", "held"),
    2: ("done", "taken"),
    3: ("done", "deleted"),
    4: ("done", "unwanted"),
    5: ("queued", "none"),
}


async def test_what_is_to_be_kept_for_ever_is(store_path: Path) -> None:
    assert await kept_by(FOR_EVER, store_path, 1000 * DAY) == [ALL]
    assert rows(store_path, "SELECT job_id FROM request ORDER BY job_id") == [
        (1,),
        (2,),
        (3,),
        (4,),
        (5,),
    ]
    assert rows(store_path, "SELECT job_id FROM response ORDER BY job_id") == [(1,), (2,)]


async def test_a_result_that_nobody_fetches_expires_at_its_age_and_not_earlier(
    store_path: Path,
) -> None:
    retention = Retention(unfetched=30 * DAY, fetched=None, history=None, interval=MINUTE)
    found = await kept_by(retention, store_path, 30 * DAY, 30 * DAY + 1)
    assert found == [ALL, ALL | {1: ("done", "expired")}]
    assert timeline(store_path, 1)[-1] == "expired"
    assert rows(store_path, "SELECT job_id FROM response") == [(2,)]


async def test_the_payload_of_what_nobody_may_ask_for_goes_at_its_age_and_not_earlier(
    store_path: Path,
) -> None:
    retention = Retention(unfetched=None, fetched=DAY, history=None, interval=MINUTE)
    assert await kept_by(retention, store_path, DAY) == [ALL]
    assert rows(store_path, "SELECT job_id FROM response ORDER BY job_id") == [(1,), (2,)]
    async with opened(store_path) as store:
        await Janitor(store, retention, lambda: START + DAY * SECOND + 1).run_once()
    assert states(store_path) == ALL
    assert rows(store_path, "SELECT job_id FROM response") == [(1,)]
    assert rows(store_path, "SELECT job_id FROM request ORDER BY job_id") == [(1,), (5,)]


async def test_a_job_that_nobody_may_ask_for_leaves_the_history_at_its_age_and_not_earlier(
    store_path: Path,
) -> None:
    retention = Retention(unfetched=None, fetched=None, history=90 * DAY, interval=MINUTE)
    found = await kept_by(retention, store_path, 90 * DAY, 90 * DAY + 1)
    assert found == [ALL, {1: ("done", "held"), 5: ("queued", "none")}]
    assert rows(store_path, "SELECT DISTINCT job_id FROM timeline ORDER BY job_id") == [(1,), (5,)]


async def test_a_job_never_leaves_before_it_has_ended_or_while_its_result_is_held(
    store_path: Path,
) -> None:
    retention = Retention(unfetched=None, fetched=0, history=0, interval=MINUTE)
    found = await kept_by(retention, store_path, 1000 * DAY)
    assert found == [{1: ("done", "held"), 5: ("queued", "none")}]


async def test_a_fetched_result_can_be_restored_for_its_time_however_short_the_history_is(
    store_path: Path,
) -> None:
    clock = StandingClock()
    retention = Retention(unfetched=30 * DAY, fetched=DAY, history=7 * DAY, interval=MINUTE)
    async with opened(store_path, clock=clock) as store:
        janitor = Janitor(store, retention, clock)
        jobs = [await finished(store) for _ in range(2)]
        clock.move(20 * DAY)
        for job_id in jobs:
            await taken(store, job_id)
        await janitor.run_once()
        clock.move(DAY)
        await janitor.run_once()
        await store.results.restore(1)
        clock.move(1)
        await janitor.run_once()
    assert states(store_path) == {1: ("done", "held")}


async def test_a_round_returns_how_much_it_did_and_a_second_one_finds_nothing(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        await taken(store, await finished(store))
        await finished(store)
        retention = Retention(unfetched=DAY, fetched=DAY, history=10 * DAY, interval=MINUTE)
        janitor = Janitor(store, retention, clock)
        assert await janitor.run_once() == 0
        clock.move(2 * DAY)
        assert await janitor.run_once() == 2, "one expires, another is purged"
        assert await janitor.run_once() == 0
        clock.move(10 * DAY)
        assert await janitor.run_once() == 3, "what had expired is purged, and both are forgotten"
        assert await janitor.run_once() == 0
    assert states(store_path) == {}


@pytest.mark.file
async def test_a_round_leaves_nothing_in_the_wal_if_nothing_else_happens(store_path: Path) -> None:
    async with opened(store_path) as store:
        await finished(store)
        assert wal_of(store_path) > 0
        await Janitor(store, FOR_EVER, StandingClock()).run_once()
        assert wal_of(store_path) == 0


def wal_of(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


async def test_ids_are_never_used_again_not_even_when_the_history_is_gone(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        for _ in range(3):
            await taken(store, await finished(store))
        assert await store.upkeep.forget(START + 1) == 3
        assert await finished(store) == 4
        await taken(store, 4)
        await store.upkeep.forget(START + 1)
    async with opened(store_path) as store:
        assert states(store_path) == {}
        assert await store.submit(submission()) == 5


# --- expiry -------------------------------------------------------------------------------------


async def test_what_was_finished_before_a_time_expires_and_what_was_finished_then_does_not(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        first = await finished(store)
        clock.move(1)
        second = await finished(store)
        assert await store.results.expire(clock.now) == 1
        assert await store.results.expire(clock.now) == 0
        assert await store.results.held(10) == [second]
        with pytest.raises(JobNotFound):
            await taken(store, first)
        with pytest.raises(JobNotFound):
            await store.results.peek(first)


async def test_work_that_has_not_ended_never_expires(store_path: Path) -> None:
    async with opened(store_path) as store:
        for _ in range(2):
            await store.submit(submission())
        await next_claim(orders_of(store, {"/": 1}))
        assert await store.results.expire(2**62) == 0
        assert await store.results.pending(10) == [1, 2]


# --- in steps -----------------------------------------------------------------------------------

MANY: Final = 2 * AMONG_OTHERS.most + 100
LATE: Final = 2**62

Work = Callable[[Store], Awaitable[int]]


async def many_results(store: Store) -> None:
    """Take more jobs through to their ends than one step takes in, and leave as many waiting."""
    await asyncio.gather(*(store.submit(submission()) for _ in range(MANY)))
    orders = orders_of(store, {"/": MANY})
    await asyncio.gather(*[finish(store, await next_claim(orders)) for _ in range(MANY)])
    await asyncio.gather(*(store.submit(submission(target="/gone")) for _ in range(MANY)))


WORKS: Final[dict[str, Work]] = {
    "expire": lambda store: store.results.expire(LATE),
    "purge": lambda store: store.upkeep.purge(LATE),
    "forget": lambda store: store.upkeep.forget(LATE),
    "delete": lambda store: store.results.delete_all(),
    "reroute": lambda store: store.upkeep.reroute("/gone", "/other"),
}


@pytest.mark.parametrize("name", WORKS)
async def test_long_work_goes_in_bounded_steps_between_which_others_get_in(
    store_path: Path, name: str
) -> None:
    clock = CountingClock()
    async with opened(store_path, clock=clock) as store:
        await many_results(store)
        if name in {"purge", "forget"}:
            await store.results.expire(LATE)
        first = clock.looks + 1
        working = asyncio.ensure_future(WORKS[name](store))
        job_id = await store.submit(submission(target="/nobody"))
        done = await working
        last = clock.looks
    assert done >= MANY
    assert last - first >= done / AMONG_OTHERS.most, "each step is a transaction of its own"
    (submitted,) = rows(store_path, "SELECT submitted_at FROM job WHERE id = ?", job_id)[0]
    assert submitted - START < last, "and the submission did not wait for the last one"


@pytest.mark.parametrize(("name", "event"), [("expire", "expired"), ("delete", "deleted")])
async def test_a_step_of_long_work_touches_no_more_than_a_few_hundred_jobs(
    store_path: Path, name: str, event: str
) -> None:
    async with opened(store_path, clock=CountingClock()) as store:
        await many_results(store)
        await WORKS[name](store)
    found = rows(store_path, "SELECT count(*) FROM event WHERE event = ? GROUP BY at", event)
    steps = [count for (count,) in found]
    assert max(steps) <= AMONG_OTHERS.most
    assert sum(steps) >= MANY


async def test_a_large_body_is_swept_away_a_few_chunks_at_a_time(store_path: Path) -> None:
    clock = CountingClock()
    async with opened(store_path, clock=clock) as store:
        chunks = 48
        await finished(store, Response(status=200, body=b"x" * chunks * CHUNK_SIZE))
        await store.results.delete_all()
        before = clock.looks
        assert await store.upkeep.sweep() >= chunks
        assert clock.looks - before >= 3
    assert rows(store_path, "SELECT * FROM chunk") == []


async def test_what_comes_in_while_everything_is_deleted_is_spared(store_path: Path) -> None:
    async with opened(store_path) as store:
        await many_results(store)
        async with held_up(store_path):
            deleting = await begun(store.results.delete_all())
            await store.results.pending(1)  # so the id up to which all goes was read as well
            submitting = await begun(store.submit(submission(target="/nobody")))
        assert await deleting == 2 * MANY
        assert await store.results.pending(10) == [await submitting]


async def test_a_result_that_was_restored_waits_for_its_reader_anew(store_path: Path) -> None:
    clock, old = StandingClock(), 30 * DAY
    retention = Retention(unfetched=old, fetched=DAY, history=None, interval=MINUTE)
    async with opened(store_path, clock=clock) as store:
        janitor, job_id = Janitor(store, retention, clock), await finished(store)
        clock.move(old - HOUR)
        await taken(store, job_id)
        clock.move(2 * HOUR)
        await store.results.restore(job_id)
        for seconds, result in ((0, "held"), (old, "held"), (1, "expired")):
            clock.move(seconds)
            await janitor.run_once()
            assert states(store_path)[job_id] == ("done", result)


async def test_whoever_expires_results_by_hand_spares_none_of_them(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        await taken(store, job_id)
        await store.results.restore(job_id)
        assert await store.results.expire(START + 1) == 1


@pytest.mark.file  # which alone has a largest size
async def test_what_lacks_room_does_not_keep_a_round_from_making_some(store_path: Path) -> None:
    clock = StandingClock()
    retention = Retention(unfetched=DAY, fetched=HOUR, history=None, interval=MINUTE)
    async with opened(store_path, clock=clock) as store:
        for _ in range(200):
            await finished(store)
        large = await finished(store, Response(status=200, body=bytes(100_000)))
        await taken(store, large)
        clock.move(DAY + 1)
        janitor = Janitor(store, retention, clock)
        await writer_of(store).run(no_larger)  # as its configuration may say
        with pytest.raises(StoreAtLimit):
            await janitor.run_once()
        await janitor.run_once()
    assert {*states(store_path).values()} == {("done", "expired"), ("done", "taken")}


def no_larger(tx: Transaction) -> None:
    """Let a file grow no more."""
    file = connection_of(tx)
    ((pages,),) = file.execute("PRAGMA page_count").fetchall()
    file.execute(f"PRAGMA max_page_count = {pages}")
