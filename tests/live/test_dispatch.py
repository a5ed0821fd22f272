import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Limits, Store
from jobstore.model.errors import QueueFull
from jobstore.model.job import Cancellation, Claim, Order
from tests.stores import (
    begun,
    finish,
    held_up,
    kept_counters,
    next_claim,
    opened,
    orders_of,
    rows,
    states,
    stopped,
    submission,
)

UNSTORABLE: Final = "\udcff"  # SQLite's texts are UTF-8


def running(path: Path) -> int:
    return kept_counters(path).get(("job", "running"), 0)


async def claims(orders: AsyncIterator[Order], count: int) -> list[Claim]:
    return [await next_claim(orders) for _ in range(count)]


async def run_all(store: Store, orders: AsyncIterator[Order], count: int) -> list[int]:
    """Run so many jobs, one after another, and return their ids in the order of their claims."""
    ran = []
    for _ in range(count):
        claim = await next_claim(orders)
        ran.append(claim.job_id)
        await finish(store, claim)
    return ran


# --- which job is next --------------------------------------------------------------------------


async def test_jobs_run_in_the_order_of_their_submission(store_path: Path) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission()) for _ in range(10)]
        assert await run_all(store, orders_of(store, {"/": 1}), 10) == ids


async def test_jobs_of_a_lower_priority_number_run_first_and_equal_ones_in_order(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        for priority in (5, 0, 5, -3, 0):
            await store.submit(submission(priority=priority))
        assert await run_all(store, orders_of(store, {"/": 1}), 5) == [4, 2, 5, 1, 3]


async def test_jobs_that_are_claimed_together_start_in_order_as_well(store_path: Path) -> None:
    async with opened(store_path) as store:
        for priority in (5, 0, 5, -3, 0):
            await store.submit(submission(priority=priority))
        claimed = await claims(orders_of(store, {"/": 5}), 5)
    assert [claim.job_id for claim in claimed] == [4, 2, 5, 1, 3]


async def test_what_comes_in_while_others_wait_does_not_overtake_them(store_path: Path) -> None:
    async with opened(store_path) as store:
        waiting = [await store.submit(submission()) for _ in range(3)]
        orders = orders_of(store, {"/": 1})
        first = await next_claim(orders)
        async with held_up(store_path):
            ending = await begun(finish(store, first))
            submitting = await begun(store.submit(submission()))
        await ending
        last = await submitting
        assert [first.job_id, *await run_all(store, orders, 3)] == [*waiting, last]


# --- how many run at once -----------------------------------------------------------------------


@pytest.mark.parametrize("capacity", [1, 2, 7])
async def test_never_more_jobs_run_than_their_target_has_slots(
    store_path: Path, capacity: int
) -> None:
    order = random.Random(capacity)
    async with opened(store_path) as store:
        for _ in range(20):
            await store.submit(submission())
        orders = orders_of(store, {"/": capacity})
        going = await claims(orders, capacity)
        for _ in range(40):
            assert running(store_path) <= capacity
            if order.random() < 0.5:
                await store.submit(submission())
            else:
                await finish(store, going.pop(order.randrange(capacity)))
                going.append(await next_claim(orders))
        assert running(store_path) == capacity


async def test_every_slot_is_used_as_long_as_jobs_wait(store_path: Path) -> None:
    async with opened(store_path) as store:
        for _ in range(10):
            await store.submit(submission())
        orders = orders_of(store, {"/": 3})
        going = await claims(orders, 3)
        for _ in range(7):
            await finish(store, going.pop(0))
            going.append(await next_claim(orders))
            assert running(store_path) == 3


async def test_a_burst_of_submissions_fills_the_free_slots_and_queues_the_rest(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        await store.submit(submission())
        orders = orders_of(store, {"/": 5})
        await next_claim(orders)
        await asyncio.gather(*(store.submit(submission()) for _ in range(10)))
        assert running(store_path) == 5
        await claims(orders, 4)


async def test_each_target_has_slots_of_its_own(store_path: Path) -> None:
    async with opened(store_path) as store:
        for target in ("/slow", "/slow", "/fast", "/slow"):
            await store.submit(submission(target=target))
        orders = orders_of(store, {"/slow": 1, "/fast": 1})
        both = await claims(orders, 2)
        assert {claim.job_id for claim in both} == {1, 3}
        fast = next(claim for claim in both if claim.target == "/fast")
        await finish(store, fast)
        await store.submit(submission(target="/fast"))
        assert (await next_claim(orders)).job_id == 5


async def test_a_slot_is_free_again_however_its_job_ends(store_path: Path) -> None:
    async with opened(store_path) as store:
        for _ in range(5):
            await store.submit(submission())
        orders = orders_of(store, {"/": 1})
        await finish(store, await next_claim(orders))
        await stopped(store, await next_claim(orders), "stopped")
        abandoned = await next_claim(orders)
        store.attempts.abandon(abandoned)
        deleted = await next_claim(orders)
        await store.results.delete(deleted.job_id)
        await finish(store, deleted)
        assert (await next_claim(orders)).job_id == 5


async def test_a_slot_is_free_again_if_its_job_could_not_be_stored(store_path: Path) -> None:
    async with opened(store_path) as store:
        await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        await next_claim(orders)
        for _ in range(3):
            with pytest.raises(UnicodeEncodeError):
                await store.submit(submission(UNSTORABLE))
        job_id = await store.submit(submission())
        assert (await next_claim(orders)).job_id == job_id


async def test_jobs_that_waited_before_a_start_are_claimed_at_the_start(store_path: Path) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission()) for _ in range(3)]
    async with opened(store_path) as store:
        assert await run_all(store, orders_of(store, {"/": 1}), 3) == ids


async def test_jobs_that_another_target_takes_over_are_claimed_by_it(store_path: Path) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission(target="/gone")) for _ in range(3)]
        orders = orders_of(store, {"/": 1})
        idle = await begun(next_claim(orders))
        await store.submit(submission(target="/elsewhere"))
        assert not idle.done()
        assert await store.upkeep.reroute("/gone", "/") == 3
        assert (await idle).job_id == ids[0]


async def test_jobs_that_are_recovered_are_claimed_again(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        await next_claim(orders_of(store, {"/": 1}))
    async with opened(store_path) as store:
        idle = await begun(next_claim(orders_of(store, {"/": 1})))
        assert [orphan.job_id for orphan in await store.upkeep.orphans()] == [job_id]
        await store.upkeep.recover([job_id], "killed")
        assert (await idle).attempt == 2


# --- cancel and the queue -----------------------------------------------------------------------


async def test_a_cancelled_job_is_not_claimed(store_path: Path) -> None:
    async with opened(store_path) as store:
        first, second = [await store.submit(submission()) for _ in range(2)]
        await store.cancel(first)
        assert (await next_claim(orders_of(store, {"/": 1}))).job_id == second


async def test_a_cancel_that_meets_the_claim_follows_it(store_path: Path) -> None:
    async with opened(store_path) as store:
        first, second = [await store.submit(submission()) for _ in range(2)]
        orders = orders_of(store, {"/": 1})
        claim = await next_claim(orders)
        async with held_up(store_path):
            ending = await begun(finish(store, claim))
            cancelling = await begun(store.cancel(second))
        await asyncio.gather(ending, cancelling)
        assert (await next_claim(orders)).job_id == second
        assert await anext(orders) == Cancellation(second)
    assert states(store_path)[first] == ("done", "held")


# --- how many may wait --------------------------------------------------------------------------


async def test_exactly_as_many_jobs_may_wait_as_the_limit_says(store_path: Path) -> None:
    async with opened(store_path, Limits(queue=3)) as store:
        for _ in range(3):
            await store.submit(submission())
        with pytest.raises(QueueFull) as told:
            await store.submit(submission())
        assert told.value.limit == 3
    assert len(states(store_path)) == 3


async def test_of_a_burst_exactly_as_many_are_taken_in_as_may_wait(store_path: Path) -> None:
    async with opened(store_path, Limits(queue=3)) as store:
        burst = [store.submit(submission()) for _ in range(10)]
        taken_in = await asyncio.gather(*burst, return_exceptions=True)
        assert sum(isinstance(item, QueueFull) for item in taken_in) == 7
    assert len(states(store_path)) == 3


async def test_jobs_that_run_do_not_wait(store_path: Path) -> None:
    async with opened(store_path, Limits(queue=2)) as store:
        for _ in range(2):
            await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        await claims(orders, 2)
        for _ in range(2):
            await store.submit(submission())
        with pytest.raises(QueueFull):
            await store.submit(submission())


async def test_a_job_that_leaves_the_queue_makes_room_for_one(store_path: Path) -> None:
    async with opened(store_path, Limits(queue=2)) as store:
        for _ in range(2):
            await store.submit(submission())
        await store.cancel(1)
        await store.submit(submission())
        with pytest.raises(QueueFull):
            await store.submit(submission())
        await next_claim(orders_of(store, {"/": 1}))
        await store.submit(submission())
        with pytest.raises(QueueFull):
            await store.submit(submission())


async def test_what_could_not_be_stored_does_not_wait(store_path: Path) -> None:
    async with opened(store_path, Limits(queue=1)) as store:
        for _ in range(3):
            with pytest.raises(UnicodeEncodeError):
                await store.submit(submission(UNSTORABLE))
        await store.submit(submission())


async def test_what_waited_before_a_start_counts_after_it(store_path: Path) -> None:
    async with opened(store_path) as store:
        for _ in range(3):
            await store.submit(submission())
    async with opened(store_path, Limits(queue=3)) as store:
        with pytest.raises(QueueFull):
            await store.submit(submission())


async def test_what_is_recovered_waits_again_even_beyond_the_limit(store_path: Path) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission()) for _ in range(3)]
        await claims(orders_of(store, {"/": 3}), 3)
    async with opened(store_path, Limits(queue=2)) as store:
        await store.upkeep.recover(ids, "killed")
        with pytest.raises(QueueFull):
            await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        await claims(orders, 2)
        await store.submit(submission())
    assert rows(store_path, "SELECT count(*) FROM job WHERE state = 'queued'") == [(2,)]
