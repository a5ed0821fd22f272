"""Several nodes on one database are one service: whichever is asked, the answer is the same."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from jobstore.live import Limits, OwnerLimits, Store
from jobstore.live.executor import Executor
from jobstore.live.joining import joined_store
from jobstore.model.account import Identity, Role
from jobstore.model.clock import SECOND, now
from jobstore.model.errors import (
    BeingDelivered,
    DeliveryRefused,
    JobNotFound,
    NodeFenced,
    OwnerLimit,
    TagTaken,
)
from jobstore.model.job import Cancellation, Replay
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Response
from jobstore.store.bodies import CHUNK_SIZE
from jobstore.targets.router import Router, TargetRoute
from tests import engines
from tests.client import Client
from tests.engines import Place
from tests.live.test_executor import Patient
from tests.loop import turns
from tests.stores import (
    HELLO,
    START,
    StandingClock,
    content,
    finish,
    finished,
    next_claim,
    orders_of,
    rows,
    states,
    submission,
    taken,
)
from trials.serving import ServerProcess

LARGE = Response(status=200, headers=(), body=bytes(3 * CHUNK_SIZE + 1))
BOTH = pytest.mark.parametrize("answer", [HELLO, LARGE], ids=["small", "large"])
# A lease that no test outlasts, and one that is over before anybody could ask.
LONG, SHORT = 60.0, 0.05


@pytest.fixture
def clock() -> StandingClock:
    """Give the clock of all nodes."""
    return StandingClock()


@asynccontextmanager
async def node(
    database: Place,
    clock: StandingClock,
    limits: Limits | None = None,
    *,
    lease: float = LONG,
    name: str = "",
) -> AsyncIterator[Store]:
    """Join a store."""
    place = replace(database.database, lease=lease, name=name)
    async with joined_store(place, limits, clock, clock) as store:
        yield store


@asynccontextmanager
async def two(
    database: Place, clock: StandingClock, limits: Limits | None = None, lease: float = LONG
) -> AsyncIterator[tuple[Store, Store]]:
    """Join a store twice."""
    joined = node(database, clock, limits, lease=lease)
    async with joined as one, node(database, clock, limits, lease=lease) as other:
        yield one, other


def end(database: Place, boot: int) -> None:
    """End the start of a node as the others do when it was silent for too long."""
    engines.execute(database, "UPDATE boot SET ended_at = ?, died = 1 WHERE id = ?", START, boot)


class Upload:
    """A large body whose end waits for something else."""

    size = None

    def __init__(self) -> None:
        self.begun, self.more = asyncio.Event(), asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield bytes(2 * 1024 * 1024)
        self.begun.set()
        await self.more.wait()
        yield b"end"


async def broken_off(store: Store, job_id: int, meanwhile: Awaitable[object]) -> None:
    """Begin to deliver a result, and break that off when something else was done."""
    async with store.results.take(job_id):
        await meanwhile
        raise ConnectionResetError


async def read_on(store: Store, job_id: int, meanwhile: Callable[[], Awaitable[object]]) -> None:
    """Begin to deliver a large result, do something else, and read it to its end."""
    async with store.results.take(job_id) as delivery:
        assert delivery
        assert delivery.response
        await meanwhile()
        await content(delivery.response.body)


# --- results ------------------------------------------------------------------------------------


@BOTH
async def test_a_result_can_be_fetched_at_any_node_and_once_in_all(
    database: Place, clock: StandingClock, answer: Response
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await finished(one, answer)
        assert (await other.results.peek(job_id)).state is State.DONE
        _, body = await taken(other, job_id)
        assert body == answer.body
        clock.move(4)
        for store in (one, other):
            with pytest.raises(JobNotFound):
                await taken(store, job_id)


@BOTH
async def test_a_result_on_its_way_at_one_node_is_neither_given_out_nor_gone_at_another(
    database: Place, clock: StandingClock, answer: Response
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await finished(one, answer)
        async with one.results.take(job_id) as delivery:
            assert delivery
            assert delivery.response
            asked: list[Coroutine[Any, Any, object]] = [
                taken(other, job_id),
                other.results.discard(job_id),
            ]
            for asking in asked:
                with pytest.raises(BeingDelivered):
                    await asking
            assert (await other.results.peek(job_id)).result is Result.HELD
            assert await other.results.expire(START + 1) == 0
            assert await other.results.delete_all() == 0
            assert await content(delivery.response.body) == answer.body
    assert states(database) == {job_id: ("done", "taken")}


@BOTH
async def test_a_result_whose_delivery_broke_is_there_for_readers_at_other_nodes(
    database: Place, clock: StandingClock, answer: Response
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await finished(one, answer)
        with pytest.raises(ConnectionResetError):
            await broken_off(one, job_id, turns(1))
        _, body = await taken(other, job_id)
        assert body == answer.body


async def test_a_small_result_that_takes_long_to_deliver_stays_on_its_way_for_other_nodes(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await finished(one)
        async with one.results.take(job_id):
            while rows(database, "SELECT id FROM boot WHERE ? = ANY(delivering)", job_id) == []:
                await one.results.held(1)  # which gives it time
            clock.move(60)
            with pytest.raises(BeingDelivered):
                await taken(other, job_id)
            assert (await other.results.peek(job_id)).result is Result.HELD


async def test_a_result_that_a_dead_node_was_delivering_in_pieces_is_held_for_others(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock, lease=SHORT) as (one, other):
        job_id = await finished(one, LARGE)

        async def died() -> None:
            end(database, 1)
            _, body = await taken(other, job_id)
            assert body == LARGE.body

        reading, _ = await asyncio.gather(
            read_on(one, job_id, died), one.others.beat(), return_exceptions=True
        )
        assert isinstance(reading, NodeFenced | DeliveryRefused)
        assert states(database) == {job_id: ("done", "taken")}


async def test_a_delivery_that_broke_gives_nothing_back_that_another_reader_has_by_now(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await finished(one)

        async def given_to_another() -> None:
            await other.results.restore(job_id)
            await taken(other, job_id)

        with pytest.raises(ConnectionResetError):
            await broken_off(one, job_id, given_to_another())
        assert states(database) == {job_id: ("done", "taken")}


async def test_a_body_that_one_node_receives_is_not_swept_away_by_another(
    database: Place, clock: StandingClock
) -> None:
    upload = Upload()
    async with two(database, clock) as (one, other):
        posting = asyncio.create_task(one.submit(submission("POST", body=upload)))
        await upload.begun.wait()
        assert await other.upkeep.sweep() == 0
        upload.more.set()
        job_id = await posting
        reading = await other.results.read(job_id)
        assert reading.job.state is State.QUEUED
    assert rows(database, "SELECT size, boot FROM body") == [(2 * 1024 * 1024 + 3, None)]


async def test_a_body_that_a_dead_node_received_is_swept_away(
    database: Place, clock: StandingClock
) -> None:
    upload = Upload()
    async with two(database, clock) as (one, other):
        posting = asyncio.create_task(one.submit(submission("POST", body=upload)))
        await upload.begun.wait()
        end(database, 1)
        assert await other.upkeep.sweep() > 0
        posting.cancel()
        await asyncio.wait([posting])
    assert rows(database, "SELECT * FROM body") == []


# --- who waits ----------------------------------------------------------------------------------


async def test_who_waits_at_another_node_is_told_when_a_job_ends(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await one.submit(submission())
        waiting = asyncio.ensure_future(other.waits.ended(job_id, LONG))
        await finish(one, await next_claim(orders_of(one, {"/": 1})))
        assert (await waiting).state is State.DONE


async def test_who_waits_is_told_at_the_next_beat_if_no_notice_came(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock, lease=SHORT) as store:
        job_id = await store.submit(submission())
        with store.waits.watching(job_id) as watch:
            change = watch.change()
            ended = "UPDATE job SET state = 'cancelled', result = 'held', finished_at = ?"
            engines.execute(database, ended, START)
            await store.others.beat()
            assert change.done()


async def test_a_job_that_runs_at_another_node_is_stopped_there(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        job_id = await one.submit(submission())
        orders = orders_of(one, {"/": 1})
        claim = await next_claim(orders)
        assert await other.cancel(job_id) is State.RUNNING
        assert await anext(orders) == Cancellation(claim.job_id)


async def test_what_a_node_submits_is_run_by_one_that_asks_its_target(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        orders = orders_of(other, {"/reports": 1})
        job_id = await one.submit(submission(target="/reports"))
        assert (await next_claim(orders)).job_id == job_id


async def test_a_revoked_account_is_refused_at_every_node(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        await one.accounts.add("alice", Role.USER, "hash")
        assert "alice" in one.accounts.snapshot().accounts
        while "alice" not in other.accounts.snapshot().accounts:
            await other.results.held(1)  # which lets it hear
        await other.accounts.remove("alice")
        while "alice" in one.accounts.snapshot().accounts:
            await other.results.held(1)  # which lets it hear


# --- what all count together --------------------------------------------------------------------


async def test_a_tag_is_taken_at_every_node(database: Place, clock: StandingClock) -> None:
    tagged = replace(submission(), tag="nightly")
    async with two(database, clock) as (one, other):
        both = await asyncio.gather(
            one.submit(tagged), other.submit(tagged), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in both) == ["TagTaken", "int"]
        with pytest.raises(TagTaken):
            await one.submit(tagged)
        asker = Identity(name="")
        assert await other.results.tagged("nightly", asker) in both


@pytest.mark.parametrize("jobs", [1, 3])
async def test_a_text_with_a_nul_in_it_is_kept_whole_and_found_again(
    database: Place, clock: StandingClock, jobs: int
) -> None:
    tags = [f"a\0{number}" for number in range(jobs)]
    async with node(database, clock) as store:
        ids = await asyncio.gather(*(store.submit(replace(submission(), tag=tag)) for tag in tags))
        found = [await store.results.tagged(tag, Identity(name="")) for tag in tags]
        assert found == ids
        with pytest.raises(TagTaken):
            await store.submit(replace(submission(), tag=tags[0]))
        await store.submit(replace(submission(), tag="a"))
    assert rows(database, "SELECT tag FROM job WHERE id = 1") == [("a\\x000",)]


async def test_the_same_request_at_two_nodes_at_the_same_time_becomes_one_job(
    database: Place, clock: StandingClock
) -> None:
    keyed = replace(submission("POST", body=b"{}"), key="order-17")
    async with two(database, clock) as (one, other):
        ids = await asyncio.gather(*(store.submit(keyed) for store in (one, other) * 5))
    assert len(set(ids)) == 1
    assert len(rows(database, "SELECT id FROM job")) == 1


async def test_an_owner_may_submit_so_many_a_second_at_all_nodes_together(
    database: Place, clock: StandingClock
) -> None:
    limits = Limits(owner=OwnerLimits(rate=4))
    async with two(database, clock, limits) as (one, other):
        for store in (one, other) * 2:
            await store.submit(submission())
        for store in (one, other):
            with pytest.raises(OwnerLimit, match="at most 4 jobs per second"):
                await store.submit(submission())


async def test_no_more_jobs_of_an_owner_run_at_all_nodes_than_may(
    database: Place, clock: StandingClock
) -> None:
    limits = Limits(owner=OwnerLimits(running=3))
    async with two(database, clock, limits) as (one, other):
        for _ in range(8):
            await one.submit(submission())
        orders = [orders_of(store, {"/": 8}) for store in (one, other)]
        claims = [asyncio.create_task(next_claim(each)) for each in orders]
        await asyncio.wait(claims, return_when=asyncio.FIRST_COMPLETED)
        running = "SELECT count(*) FROM job WHERE state = 'running'"
        for store in (one, other):
            await store.submit(submission())
            assert rows(database, running) == [(3,)]
        for claim in claims:
            claim.cancel()
        await asyncio.wait(claims)


async def test_one_node_a_round_cleans_up(database: Place, clock: StandingClock) -> None:
    async with two(database, clock) as (one, other):
        for _ in range(3):
            clock.move(60)
            turns = [await store.others.turn(60) for store in (one, other, one)]
            assert turns.count(True) == 1


async def test_what_dead_nodes_have_counted_is_put_together(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock) as one:
        for _ in range(3):
            await finished(one)
    async with node(database, clock) as other:
        before = [rows(database, f"SELECT * FROM {name}") for name in ("counter", "day")]
        assert await other.others.turn(60)
        after = [rows(database, f"SELECT * FROM {name}") for name in ("counter", "day")]
        assert list(map(sorted, before)) == list(map(sorted, after))
        assert rows(database, "SELECT DISTINCT slot FROM day_slot") == [(0,)]


# --- nodes that differ --------------------------------------------------------------------------


def executor(store: Store, *names: str) -> Executor:
    """Give what recovers the jobs of a store, at a node that asks some targets."""
    routes = [TargetRoute(name=name, target=Patient(), concurrency=1) for name in names]
    return Executor(store, Router(routes), max_attempts=3)


async def test_the_jobs_of_a_target_that_another_node_asks_stay_with_it(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        await one.others.serve({"/reports": Replay.NEVER})
        job_id = await one.submit(submission(target="/reports"))
        await executor(other, "/").recover()
        assert rows(database, "SELECT target FROM job WHERE id = ?", job_id) == [("/reports",)]


async def test_what_a_target_allows_to_be_sent_again_is_what_its_own_node_says(
    database: Place, clock: StandingClock
) -> None:
    async with two(database, clock) as (one, other):
        await one.others.serve({"/reports": Replay.ALWAYS, "/": Replay.NEVER})
        for target in ("/reports", "/"):
            await one.submit(submission("POST", target=target))
            await next_claim(orders_of(one, {target: 1}))
        end(database, 1)
        await executor(other, "/", "/reports").recover()
        assert rows(database, "SELECT state FROM job ORDER BY id") == [("queued",), ("failed",)]


# --- life and death -----------------------------------------------------------------------------


async def test_a_node_that_is_silent_for_a_lease_is_taken_for_dead(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock), node(database, clock, lease=SHORT) as other:
        while rows(database, "SELECT died FROM boot WHERE id = 1") == [(0,)]:
            await other.others.beat()
    assert rows(database, "SELECT died FROM boot ORDER BY id") == [(1,), (0,)]


async def test_a_node_that_freezes_in_the_middle_of_a_batch_is_taken_for_dead_as_well(
    database: Place, clock: StandingClock, http: ClientSession
) -> None:
    server = engines.process(ServerProcess, database)()
    await server.start()
    with engines.connected(database) as link:
        link.execute("BEGIN")
        link.execute("LOCK TABLE job IN SHARE MODE")
        client = Client(http, server.url)
        submitting = asyncio.create_task(client.submit("/_api/version"))
        waits = "SELECT 1 FROM pg_locks WHERE NOT granted"
        while not await asyncio.to_thread(rows, database, waits):
            pass
        os.kill(server.process.pid, signal.SIGSTOP)
        link.execute("ROLLBACK")
    async with node(database, clock, lease=SHORT) as other:
        while rows(database, "SELECT died FROM boot WHERE id = 1") == [(0,)]:
            await other.others.beat()
    await server.kill()
    with pytest.raises(ClientError):
        await submitting


async def test_a_node_that_was_taken_for_dead_writes_nothing_and_begins_anew(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock, lease=SHORT) as store:
        await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        end(database, 1)
        with pytest.raises(NodeFenced):
            await store.submit(submission())
        await store.others.beat()
        await store.submit(submission())
        assert rows(database, "SELECT id FROM boot WHERE ended_at IS NULL") == [(2,)]
        await executor(store, "/").recover()
        await finish(store, claim)  # which is nobody's any more
        assert states(database)[1] == ("queued", "none")


async def test_a_claim_of_which_its_node_never_heard_is_queued_again(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock, lease=SHORT) as store:
        job_id = await store.submit(submission("POST"))
        claimed = "UPDATE job SET state = 'running', boot = 1, attempt = 1, started_at = ?"
        engines.execute(database, claimed, START)
        engines.execute(database, "UPDATE counter_slot SET count = 0 WHERE state = 'queued'")
        engines.execute(database, "INSERT INTO counter_slot VALUES ('job', 'running', 1, 1)")
        for _ in range(2):
            await store.others.beat()
        assert states(database) == {job_id: ("queued", "none")}
        assert rows(database, "SELECT attempt FROM job") == [(0,)]


async def test_a_node_that_comes_later_knows_since_when_schedules_are_watched(
    database: Place, clock: StandingClock
) -> None:
    async with node(database, clock) as one:
        clock.move(3600)
        async with node(database, clock) as other:
            assert (one.since, other.since) == (START, START)
    clock.move(3600)
    async with node(database, clock) as last:
        assert last.since == START + 7200 * SECOND


async def test_the_time_is_that_of_the_database_however_wrong_a_nodes_clock_is(
    database: Place,
) -> None:
    async with joined_store(database.database, steady=lambda: now() - 3600 * SECOND) as store:
        await store.submit(submission())
    ((submitted,),) = rows(
        database, "SELECT abs(submitted_at - extract(epoch FROM now()) * 1e6) FROM job"
    )
    assert submitted < 600 * SECOND


async def test_nothing_is_dated_before_the_job_that_it_happened_to(
    database: Place, clock: StandingClock
) -> None:
    behind = StandingClock()
    async with node(database, clock) as one, node(database, behind) as other:
        clock.move(5)  # as if the batch of the other had begun to wait that long ago
        job_id = await one.submit(submission())
        await other.results.delete(job_id)
    (submitted,) = rows(database, "SELECT submitted_at FROM job")
    assert rows(database, "SELECT at FROM event WHERE event = 'deleted'") == [submitted]


async def test_two_nodes_of_one_name_are_two_nodes(
    database: Place, clock: StandingClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with node(database, clock, name="a"), node(database, clock, name="a"):
        assert rows(database, "SELECT name FROM boot") == [("a",), ("a",)]
    assert "node 1 has the name a too" in caplog.text
