import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from jobstore.live import Store
from jobstore.live.executor import Executor
from jobstore.model.errors import StoreBusy, StoreFailing, TargetBroken, TargetUnreachable
from jobstore.model.handle import JobHandle
from jobstore.model.job import Claim, Failure, Job, Order, Replay
from jobstore.model.lifecycle import State
from jobstore.model.message import Request, Response
from jobstore.store.sqlite import engine as sqlite
from jobstore.targets import Target
from jobstore.targets.router import Router, TargetRoute
from jobstore.targets.upstream import Upstream
from tests.peers import OK, Services
from tests.stores import begun, beside, held_up, opened, rows, states, submission, taken, writer_of
from trials.sockets import read_head


@dataclass(eq=False)
class Exchange:
    """A request that a target was sent, waiting for the test to answer it."""

    request: Request
    handle: JobHandle
    answer: asyncio.Future[Response] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Patient:
    """A target that answers what the test says, when it says so."""

    def __init__(self) -> None:
        self.asked: asyncio.Queue[Exchange] = asyncio.Queue()

    @asynccontextmanager
    async def send(self, request: Request, handle: JobHandle) -> AsyncIterator[Response]:
        """Wait for the test's answer."""
        exchange = Exchange(request, handle)
        self.asked.put_nowait(exchange)
        yield await exchange.answer


@asynccontextmanager
async def executing(store: Store, target: Target, **limits: Any) -> AsyncIterator[Executor]:
    """Run a store's jobs on a target while the context lasts."""
    route = TargetRoute(name="/", target=target, **{"concurrency": 2, **limits})
    executor = Executor(store, Router([route]), max_attempts=3)
    running = asyncio.create_task(executor.run())
    await executor.begun.wait()
    yield executor
    running.cancel()
    await asyncio.wait([running])


async def ended(store: Store, job_id: int) -> Job:
    """Wait until a job has ended."""
    return await store.waits.ended(job_id, 60)


# --- what an attempt comes to -------------------------------------------------------------------


async def test_a_target_is_sent_the_request_and_its_answer_is_kept(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission("PUT", "/thing?x=1", body=b"data"))
        exchange = await target.asked.get()
        assert (exchange.request.method, exchange.request.path) == ("PUT", "/thing?x=1")
        assert exchange.request.body == b"data"
        assert (exchange.handle.id, exchange.handle.attempt) == (job_id, 1)
        exchange.answer.set_result(Response(status=500, body=b"broken"))
        job = await ended(store, job_id)
        assert (job.state, job.status, job.failure) == (State.DONE, 500, None)


@pytest.mark.parametrize(
    ("error", "failure", "status"),
    [
        (TargetUnreachable("connection refused"), Failure.UNREACHABLE, 502),
        (TargetBroken("the answer broke off"), Failure.BROKEN, 502),
    ],
)
async def test_a_target_that_gives_no_answer_fails_the_job_and_the_job_says_why(
    store_path: Path, error: Exception, failure: Failure, status: int
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        (await target.asked.get()).answer.set_exception(error)
        job = await ended(store, job_id)
        assert (job.state, job.failure, job.status) == (State.FAILED, failure, status)
        assert job.detail == str(error)


async def test_a_target_that_takes_longer_than_it_may_fails_the_job(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target, timeout=0.01):
        job = await ended(store, await store.submit(submission()))
        assert (job.state, job.failure, job.status) == (State.FAILED, Failure.TIMEOUT, 504)
        assert (await target.asked.get()).answer.cancelled()


async def test_an_answer_whose_phrase_is_no_text_ends_the_job_all_the_same(
    store_path: Path,
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        answer = Response(status=200, reason="caf\udce9", body=b"hello")
        (await target.asked.get()).answer.set_result(answer)
        job = await ended(store, job_id)
        assert job.status == 200


# --- cancel -------------------------------------------------------------------------------------


async def test_a_running_job_that_is_cancelled_stops_and_ends_cancelled(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        await store.cancel(job_id)
        assert (await ended(store, job_id)).state is State.CANCELLED
        assert exchange.answer.cancelled()
        assert exchange.handle.cancelled


async def test_a_job_that_is_cancelled_as_it_is_claimed_is_not_sent_and_ends_cancelled(
    store_path: Path,
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target, concurrency=1):
        second = 1 + await store.submit(submission())
        exchange = await target.asked.get()
        async with held_up(store_path):
            await begun(store.submit(submission()))
            exchange.answer.set_result(Response(status=200))
            cancelling = await begun(store.cancel(second))
        await cancelling
        assert (await ended(store, second)).state is State.CANCELLED
        assert target.asked.empty()
        third = await store.submit(submission())
        assert (await target.asked.get()).handle.id == third


async def test_a_cancel_that_comes_after_the_answer_changes_nothing(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        async with held_up(store_path):
            exchange.answer.set_result(Response(status=200, body=b"in time"))
            cancelling = await begun(store.cancel(job_id))
        await cancelling
        assert (await ended(store, job_id)).state is State.DONE
        _, body = await taken(store, job_id)
        assert body == b"in time"


async def test_a_cancel_that_comes_before_the_answer_wins_if_the_answer_is_not_kept_yet(
    store_path: Path,
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        await store.cancel(job_id)
        exchange.answer.cancel()
        job = await ended(store, job_id)
        assert (job.state, job.status) == (State.CANCELLED, 410)
        assert job.detail == "cancelled while it ran"


# --- the end of the executor --------------------------------------------------------------------


async def test_a_drain_lets_running_jobs_finish(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target) as executor:
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        store.refuse()
        draining = await begun(executor.drain(60))
        assert not draining.done()
        exchange.answer.set_result(Response(status=200))
        await draining
    assert states(store_path) == {job_id: ("done", "held")}


async def test_a_drain_lets_what_is_being_claimed_run_as_well(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target) as executor:
        await store.submit(submission(target="/nobody"))  # until when nothing else was claimed
        submitting = await begun(store.submit(submission()))
        writer_of(store).queue(lambda _: store.refuse())  # before that is committed
        job_id = await submitting
        draining = await begun(executor.drain(60))
        exchange = await target.asked.get()
        assert not draining.done()
        exchange.answer.set_result(Response(status=200))
        await draining
    assert states(store_path)[job_id] == ("done", "held")


async def test_a_drain_does_not_start_what_is_not_written_yet(store_path: Path) -> None:
    async with opened(store_path) as store, executing(store, Patient()) as executor:
        await store.submit(submission(target="/nobody"))  # until when nothing else was claimed
        async with held_up(store_path):
            before = await begun(store.submit(submission(target="/nobody")))  # what is written
            submitting = await begun(store.submit(submission()))
            store.refuse()
        await before
        job_id = await submitting
        await executor.drain(60)
    assert states(store_path)[job_id] == ("queued", "none")


async def test_a_drain_starts_nothing_that_waits(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target, concurrency=1) as executor:
        first, second = [await store.submit(submission()) for _ in range(2)]
        exchange = await target.asked.get()
        store.refuse()
        exchange.answer.set_result(Response(status=200))
        await executor.drain(60)
    assert states(store_path) == {first: ("done", "held"), second: ("queued", "none")}


async def test_what_still_runs_after_the_drain_stays_claimed_for_the_next_start(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target) as executor:
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        store.refuse()
        await executor.drain(0)
        assert "1 jobs are still running after 0 s" in caplog.text
    assert exchange.answer.cancelled()
    assert states(store_path) == {job_id: ("running", "none")}


# --- what is sent once ----------------------------------------------------------------------------


@pytest.mark.parametrize("replay", [Replay.IDEMPOTENT, Replay.NEVER])
async def test_what_must_not_be_sent_twice_is_not_where_a_connection_turns_out_to_be_closed(
    store_path: Path, replay: Replay
) -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await read_head(reader))
        writer.write(OK)
        with suppress(asyncio.IncompleteReadError):
            asked.append(await read_head(reader))
            writer.close()

    async with AsyncExitStack() as stack:
        url = await Services(stack).listen(talk)
        target = await stack.enter_async_context(Upstream.open(url))
        store = await stack.enter_async_context(opened(store_path))
        await stack.enter_async_context(executing(store, target, replay=replay))
        await ended(store, await store.submit(submission()))
        job = await ended(store, await store.submit(submission()))
    sent_twice = replay is Replay.IDEMPOTENT
    assert (job.state, len(asked)) == ((State.DONE, 3) if sent_twice else (State.FAILED, 2))


# --- while the store cannot be written ------------------------------------------------------------


@pytest.mark.file  # a database that is slow is waited for
async def test_what_a_handler_says_while_the_store_cannot_be_written_is_written_with_its_end(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        async with held_up(store_path):
            exchange.handle.warn("row 17 is odd")
            exchange.handle.count("ROWS", 7)
            await writer_of(store).drained()  # it says so to nobody
        exchange.answer.set_result(Response(status=200))
        job = await ended(store, job_id)
    assert (job.warnings, job.counters) == (1, {"ROWS": 7})
    assert rows(store_path, "SELECT detail FROM event WHERE event = 'warned'") == [
        ("row 17 is odd",)
    ]


@pytest.mark.file  # nodes tell one another
async def test_what_another_process_put_in_is_looked_for_until_that_works(
    store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_MS", 20)
    orders: list[Order] = []
    async with opened(store_path) as store:
        store.work({"/": 1}, orders.append)
        async with beside(store_path) as command:
            await command.submit(submission())
        async with held_up(store_path):
            with pytest.raises(StoreBusy):
                await store.noticed()
        async with asyncio.timeout(30):
            await store.noticed()
        await writer_of(store).drained()  # there is nothing to wait for
        assert ([type(order) for order in orders], store.queue()[0]) == ([Claim], 0)


@pytest.mark.file  # a node waits for its database, and its claim is recovered
async def test_a_job_whose_request_cannot_be_read_for_a_moment_ends(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target, concurrency=1):
        job_id = await store.submit(submission("PUT"))
        error = StoreFailing(store_path, "disk I/O error")
        (await target.asked.get()).answer.set_exception(error)
        job = await ended(store, job_id)
        assert (job.state, job.failure) == (State.FAILED, Failure.BROKEN)
        assert "could not be read" in str(job.detail)
        await store.submit(submission())
        await target.asked.get()  # which has the slot now


@pytest.mark.parametrize(
    ("name", "amount", "kept"),
    [("ROWS", Decimal(5), {"ROWS": 5}), ("\ud800", 1, {"\\ud800": 1}), ("A\0", 1, {"A\\x00": 1})],
)
async def test_a_job_ends_whatever_its_handler_has_counted_last(
    store_path: Path, name: str, amount: Any, kept: dict[str, int]
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        job_id = await store.submit(submission())
        exchange = await target.asked.get()
        exchange.handle.count(name, amount)
        exchange.handle.warn(ValueError("row 17"))  # type: ignore[arg-type] # as handlers do
        exchange.answer.set_result(Response(status=200))
        job = await ended(store, job_id)
    assert (job.state, job.counters) == (State.DONE, kept)
    assert rows(store_path, "SELECT detail FROM event WHERE event = 'warned'") == [("row 17",)]
