"""Operations on many jobs, as the store does them."""

import asyncio
import json
from pathlib import Path

import pytest

from jobstore.live import Limits, Store, shared_store
from jobstore.live.again import submit_again
from jobstore.model.bulk import BulkAction, BulkOrder, BulkState
from jobstore.model.errors import NoTarget, OperationChanged, OperationNotFound
from jobstore.model.lifecycle import State
from jobstore.store import bulk
from jobstore.store.search import Search
from jobstore.store.steps import Pace
from tests.loop import turns
from tests.stock import Stock
from tests.stores import (
    START,
    StandingClock,
    beside,
    check_sound,
    opened,
    owned,
    rows,
    states,
    timeline,
)

DONE = Search(states=(State.DONE,))
RETRY = BulkOrder(action=BulkAction.RETRY, owner="alice")


def anywhere(_: str, __: str) -> str:
    return "/"


def nowhere(_: str, __: str) -> str:
    raise NoTarget


async def ended(store: Store, count: int, body: bytes = b"") -> list[int]:
    """Let jobs be submitted and answered."""
    stock = Stock(store, StandingClock())
    return [await stock.done("/work", body=body) for _ in range(count)]


async def make(store: Store, order: BulkOrder, search: Search = DONE) -> int:
    operations = store.operations
    return await operations.make(order, await operations.match(order.action, search))


async def test_two_servers_that_work_on_one_operation_do_nothing_twice(store_path: Path) -> None:
    async with owned(store_path) as one:
        await ended(one, 40)
        async with beside(store_path) as other:
            operation = await make(one, RETRY)
            tasks = [asyncio.create_task(each.operations.run(anywhere)) for each in (one, other)]
            while (await one.operations.get(operation)).state is BulkState.RUNNING:
                pass
            for task in tasks:
                task.cancel()
            found = await one.operations.get(operation)
    assert (found.done, found.skipped) == (40, 0)
    assert rows(store_path, "SELECT count(*) FROM job") == [(80,)]
    check_sound(store_path)


async def test_a_step_does_as_much_as_it_may_and_the_next_one_goes_on_there(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        ids = await ended(store, 10)
        operation = await make(store, BulkOrder(action=BulkAction.DELETE))
    async with opened(store_path) as store:
        found = await store.operations.get(operation)
        assert (found.state, found.done, found.total) == (BulkState.RUNNING, 0, 10)
        await store.operations.finish(operation, anywhere)
        found = await store.operations.get(operation)
        assert (found.state, found.done) == (BulkState.DONE, 10)
        assert found.finished_at == START
        assert {states(store_path)[job_id][1] for job_id in ids} == {"deleted"}
    assert rows(store_path, "SELECT count(*) FROM operation_part") == [(0,)]


CANCEL = BulkOrder(action=BulkAction.CANCEL, owner="alice")
QUEUED = Search(states=(State.QUEUED,))


@pytest.mark.file
async def test_what_an_operation_has_cancelled_is_known_and_nothing_that_it_skipped_or_left(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        stock = Stock(store, StandingClock())
        ids = [await stock.queued("/work") for _ in range(6)]
        operation = await make(store, CANCEL, QUEUED)
        await store.cancel(ids[-2])
    async with shared_store(store_path, pace=Pace(seconds=0, most=1)) as store:
        operations = store.operations
        for _ in range(3):
            await operations.run_once([operation], anywhere)
        await operations.stop(operation)
        for each in ids:
            await store.cancel(each)
        stopped = await operations.get(operation)
        assert (stopped.done, stopped.skipped) == (2, 1)
        found = await operations.match(BulkAction.RETRY, operations.cancelled_by(stopped))
        assert [json.loads(part) for part in found.parts] == [[ids[-3], ids[-1]]]


@pytest.mark.file
@pytest.mark.parametrize("action", [BulkAction.DELETE, BulkAction.RETRY])
async def test_where_a_single_job_takes_all_the_time_a_step_does_one_and_says_so(
    store_path: Path, action: BulkAction
) -> None:
    async with opened(store_path) as store:
        await ended(store, 3)
        operation = await make(store, BulkOrder(action=action))
    async with shared_store(store_path, pace=Pace(seconds=0, most=1)) as store:
        for done in (1, 2):
            assert await store.operations.run_once([operation], anywhere) == 1
            found = await store.operations.get(operation)
            assert (found.state, found.done) == (BulkState.RUNNING, done)
        await store.operations.stop(operation, by="bob")
        assert await store.operations.run_once([operation], anywhere) == 0
        found = await store.operations.get(operation)
        assert (found.state, found.done, found.stopped_by) == (BulkState.STOPPED, 2, "bob")
    check_sound(store_path)


async def test_ids_may_be_far_apart_and_are_acted_on_in_order(store_path: Path) -> None:
    named = bulk.named([5000, 1, 2, 2, 900_000])
    assert (named.parts, named.count) == (["[1, 2, 5000, 900000]"], 4)
    assert [len(part.split(",")) for part in bulk.named([*range(1, 3000)]).parts] == [
        bulk.PART, bulk.PART, 2999 - 2 * bulk.PART,
    ]  # fmt: skip
    async with opened(store_path) as store:
        first, second = await ended(store, 2)
        operation = await store.operations.make(RETRY, bulk.named([second, 900_000, first]))
        await store.operations.finish(operation, anywhere)
        found = await store.operations.get(operation)
        assert (found.done, dict(found.reasons)) == (2, {bulk.NO_SUCH_JOB: 1})
    assert timeline(store_path, first)[-1] == "tried again"


async def test_what_no_target_answers_any_more_is_skipped(store_path: Path) -> None:
    async with opened(store_path) as store:
        await ended(store, 2)
        operation = await make(store, RETRY)
        await store.operations.finish(operation, nowhere)
        found = await store.operations.get(operation)
    assert dict(found.reasons) == {"no target is configured for its path": 2}


async def test_a_body_that_is_too_large_by_now_is_skipped(store_path: Path) -> None:
    async with opened(store_path, Limits(inline=10)) as store:
        await ended(store, 1, b"x" * 100)
    async with opened(store_path, Limits(inline=10, body=50)) as store:
        operation = await make(store, RETRY)
        await store.operations.finish(operation, anywhere)
        found = await store.operations.get(operation)
        assert (found.done, found.skipped) == (0, 1)
        assert await store.operations.match(BulkAction.RETRY, DONE)


@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_the_history_is_looked_through_in_parts_and_each_job_is_found_once(
    store_path: Path, size: int
) -> None:
    async with opened(store_path) as store:
        stock = Stock(store, StandingClock())
        ids = await ended(store, 3)
        await stock.queued("/work")
        await stock.failed("/work")
        ids += await ended(store, 3)
        statement = bulk.matching(BulkAction.RETRY, frozenset(DONE.values))
        found = bulk.matched(await store.history.all(statement, size=size, **DONE.values))
        assert (found.count, found.secret) == (6, 0)
        assert [sorted(json.loads(part)) for part in found.parts] == [ids]


async def test_nothing_is_made_for_another_number_of_jobs(store_path: Path) -> None:
    async with opened(store_path) as store:
        await ended(store, 2)
        matched = await store.operations.match(BulkAction.DELETE, DONE)
        with pytest.raises(OperationChanged):
            await store.operations.make(RETRY, matched, expect=3)
        assert await store.operations.page(10) == []


async def test_operations_that_are_over_are_forgotten_with_the_history(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        await ended(store, 1)
        over, going = await make(store, RETRY), await make(store, RETRY)
        await store.operations.stop(over, by="bob")
        clock.move(10)
        await store.upkeep.forget(START + 5)
        with pytest.raises(OperationNotFound):
            await store.operations.get(over)
        assert (await store.operations.get(going)).state is BulkState.RUNNING


async def test_what_was_counted_can_be_frozen_and_what_was_deleted_be_found_again(
    store_path: Path,
) -> None:
    async with owned(store_path) as store:
        operations, stock = store.operations, Stock(store, StandingClock())
        ids = [await stock.done("/work") for _ in range(3)]
        waiting = await stock.queued()
        matched = await operations.match(BulkAction.CANCEL, Search())
        assert (matched.count, matched.running, matched.last) == (1, 0, waiting)
        named = Search(ids=(ids[0], ids[2], waiting, 99))
        matched = await operations.match(BulkAction.RETRY, named)
        assert (matched.count, matched.last) == (2, ids[2])
        matched = await operations.match(BulkAction.RETRY, Search(), ids[1])
        assert (matched.count, matched.last) == (2, ids[1])
        assert (await operations.match(BulkAction.RETRY, Search(ids=()))).count == 0
        done = await operations.possible(ids[0])
        assert done == {BulkAction.RETRY, BulkAction.DELETE}
        assert await operations.possible(waiting) == {BulkAction.CANCEL, BulkAction.DELETE}
        assert await operations.possible(99) == frozenset()
        deletion = BulkOrder(action=BulkAction.DELETE)
        number = await make(store, deletion, Search(ids=(ids[0], ids[1])))
        await operations.finish(number, anywhere)
        await store.results.withdraw(ids[2], None, "by alice")
        deleted = operations.deleted_by(await operations.get(number))
        assert (await operations.match(BulkAction.RESTORE, deleted)).count == 2
        await store.results.restore(ids[1])
        assert (await operations.match(BulkAction.RESTORE, deleted)).parts == [f"[{ids[0]}]"]
        assert await operations.possible(ids[2]) == {BulkAction.RESTORE}
        assert await store.history.among(ids, 0) == ids
        assert await store.history.among(ids, 1) == []
    said = rows(store_path, "SELECT detail FROM event WHERE event = 'deleted' ORDER BY id")
    assert said == [("by operation 1",), ("by operation 1",), ("by alice",)]


async def test_a_large_body_is_copied_once_however_long_the_queue_is_full(
    store_path: Path,
) -> None:
    async with opened(store_path, Limits(queue=1, inline=10)) as store:
        (old,) = await ended(store, 1, b"x" * 100)
        waiting = await Stock(store, StandingClock()).queued()
        operation = await make(store, RETRY)
        for _ in range(6):
            await store.operations.run_once([operation], anywhere)
        assert (await store.operations.get(operation)).waits
        assert rows(store_path, "SELECT job_id FROM body ORDER BY id") == [(old,), (None,)]
        await store.cancel(waiting)
        await store.operations.finish(operation, anywhere)
        assert (await store.operations.get(operation)).done == 1
        await store.upkeep.sweep()
    assert rows(store_path, "SELECT count(*) FROM body WHERE job_id IS NOT NULL") == [(2,)]


async def test_what_was_copied_for_an_operation_that_is_stopped_is_swept_away(
    store_path: Path,
) -> None:
    async with opened(store_path, Limits(queue=1, inline=10)) as store:
        await ended(store, 1, b"x" * 100)
        await Stock(store, StandingClock()).queued()
        operation = await make(store, RETRY)
        running = asyncio.create_task(store.operations.run(anywhere))
        while not (await store.operations.get(operation)).waits:
            pass
        await store.operations.stop(operation)
        store.operations.wake()
        while rows(store_path, "SELECT count(*) FROM body") != [(1,)]:
            await store.upkeep.sweep()
        running.cancel()
        await asyncio.wait([running])


async def test_a_retry_whose_client_has_left_is_noted_all_the_same(store_path: Path) -> None:
    async with opened(store_path) as store:
        (old,) = await ended(store, 1)
        job = await store.history.job(old)
        request = await store.history.request(job)
        assert request is not None
        again = submit_again(store, job, request, "/", administers=True, source=None)
        retrying = asyncio.create_task(again)
        while rows(store_path, "SELECT count(*) FROM job") != [(2,)]:
            await turns(1)
        retrying.cancel()
        await asyncio.wait([retrying])
        assert (await store.operations.match(BulkAction.RETRY, DONE)).count == 0
    assert timeline(store_path, old)[-1] == "tried again"
