import asyncio
import os
from pathlib import Path
from typing import Final

import pytest

from jobstore.live import Limits, owned_store, shared_store
from jobstore.model.errors import (
    BeingDelivered,
    JobNotFound,
    ResultNotRestorable,
    ShuttingDown,
    StoreForeign,
    StoreInUse,
    StoreMissing,
    StoreNewer,
)
from jobstore.model.handle import JobHandle
from jobstore.model.job import Cancellation, Failure
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import REDACTED, Headers, Response
from jobstore.store.codec import decode_headers
from jobstore.store.sqlite.engine import SCHEMA_VERSION
from tests.stores import (
    START,
    CountingClock,
    StandingClock,
    begun,
    beside,
    content,
    fail,
    finish,
    finished,
    held_up,
    next_claim,
    on_disk,
    opened,
    orders_of,
    rows,
    states,
    stopped,
    submission,
    taken,
    timeline,
)

# --- submit, claim, finish ----------------------------------------------------------------------


async def test_a_submitted_job_is_in_the_file_when_its_id_is_known(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        assert states(store_path) == {job_id: ("queued", "none")}


async def test_a_job_is_stored_with_all_that_was_asked(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        job_id = await store.submit(submission("DELETE", "/a%2Fb?c=%20d", priority=7))
        job = await store.results.peek(job_id)
    assert (job.method, job.path, job.priority) == ("DELETE", "/a%2Fb?c=%20d", 7)
    assert (job.submitted_at, job.started_at, job.finished_at) == (clock.now, None, None)
    assert (job.state, job.result, job.attempt) == (State.QUEUED, Result.NONE, 0)


async def test_a_claim_carries_the_request_as_it_was_submitted(store_path: Path) -> None:
    headers = (("X-Twice", "one"), ("Cookie", "s=1"), ("X-Twice", "two"), ("X-Odd", "caf\udce9"))
    async with opened(store_path) as store:
        await store.submit(submission("POST", headers=headers, body=b"\x00\xff"))
        claim = await next_claim(orders_of(store, {"/": 1}))
    assert claim.attempt == 1
    assert claim.request.headers == headers
    assert await content(claim.request.body) == b"\x00\xff"


async def test_a_job_that_meets_a_free_slot_is_stored_claimed_with_a_single_commit(
    store_path: Path,
) -> None:
    clock = CountingClock()
    async with opened(store_path, clock=clock) as store:
        await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        await next_claim(orders)
        before = clock.looks
        job_id = await store.submit(submission())
        assert clock.looks == before + 1
        assert states(store_path)[job_id] == ("running", "none")
        assert (await next_claim(orders)).job_id == job_id


async def test_a_finished_job_holds_its_targets_answer_for_one_reader(store_path: Path) -> None:
    answer = Response(
        status=404,
        reason="Gone Fishing",
        headers=(("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Odd", "caf\udce9")),
        body=b"nothing here",
    )
    async with opened(store_path) as store:
        job_id = await finished(store, answer)
        assert states(store_path) == {job_id: ("done", "held")}
        delivery, body = await taken(store, job_id)
        assert delivery
        assert delivery.response == answer
        assert body == answer.body
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
    assert states(store_path) == {job_id: ("done", "taken")}


async def test_a_jobs_own_times_are_those_of_the_transactions_that_changed_it(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        job_id = await store.submit(submission())
        clock.move(1)
        claim = await next_claim(orders_of(store, {"/": 1}))
        clock.move(1)
        await finish(store, claim)
        clock.move(1)
        await taken(store, job_id)
    (times,) = rows(store_path, "SELECT submitted_at, started_at, finished_at, fetched_at FROM job")
    assert [(moment - START) / 1_000_000 for moment in times] == [0, 1, 2, 3]
    assert timeline(store_path, job_id) == ["submitted", "started", "done", "fetched"]


async def test_a_failed_job_is_fetched_with_its_failure_instead_of_an_answer(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        await fail(store, claim, Failure.TIMEOUT, "the target did not answer within 5 s")
        delivery, _ = await taken(store, job_id)
    assert delivery
    assert delivery.response is None
    assert (delivery.job.state, delivery.job.status) == (State.FAILED, 504)
    assert delivery.job.failure is Failure.TIMEOUT
    assert delivery.job.detail == "the target did not answer within 5 s"


async def test_a_job_whose_result_nobody_wants_is_as_durable_but_its_answer_is_not_kept(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store, wanted=False)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
        with pytest.raises(JobNotFound):
            await store.results.peek(job_id)
    assert states(store_path) == {job_id: ("done", "unwanted")}
    assert rows(store_path, "SELECT status FROM job") == [(200,)]
    assert rows(store_path, "SELECT * FROM response") == []


async def test_a_large_answer_that_nobody_wants_is_not_kept_either(store_path: Path) -> None:
    async with opened(store_path, Limits(inline=10)) as store:
        await finished(store, Response(status=200, body=b"x" * 11), wanted=False)
        await store.upkeep.sweep()
    assert rows(store_path, "SELECT * FROM chunk") == []


async def test_what_ends_a_job_shares_its_commit_with_the_claim_of_the_next(
    store_path: Path,
) -> None:
    clock = CountingClock()
    async with opened(store_path, clock=clock) as store:
        first, second = [await store.submit(submission()) for _ in range(2)]
        orders = orders_of(store, {"/": 1})
        await finish(store, await next_claim(orders))
        assert (await next_claim(orders)).job_id == second
    (ended,) = rows(store_path, "SELECT finished_at FROM job WHERE id = ?", first)
    (begun,) = rows(store_path, "SELECT started_at FROM job WHERE id = ?", second)
    assert ended == begun


async def test_jobs_that_are_submitted_at_once_share_a_commit(store_path: Path) -> None:
    async with opened(store_path, clock=CountingClock()) as store:
        async with held_up(store_path):
            tasks = [await begun(store.submit(submission())) for _ in range(50)]
        ids = await asyncio.gather(*tasks)
    assert len(set(ids)) == 50
    assert rows(store_path, "SELECT count(DISTINCT submitted_at) FROM job") == [(2,)]


async def test_a_client_that_leaves_before_its_202_leaves_a_whole_job_or_none(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        orders = orders_of(store, {"/": 1})
        await store.submit(submission())
        claim = await next_claim(orders)
        async with held_up(store_path):
            task = await begun(store.submit(submission()))
            task.cancel()
            await begun(asyncio.wait([task]))
        await finish(store, claim)
        claim = await next_claim(orders)
        assert (await store.results.peek(claim.job_id)).state is State.RUNNING
        await finish(store, claim)
    assert set(states(store_path).values()) == {("done", "held")}


async def test_a_client_that_leaves_gives_its_slot_to_its_job_and_then_to_the_next(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        first = await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        claims = [await next_claim(orders)]
        async with held_up(store_path):
            task = await begun(store.submit(submission()))
            task.cancel()
        claims.append(await next_claim(orders))
        third = await store.submit(submission())
        for claim in claims:
            await finish(store, claim)
        assert (await next_claim(orders)).job_id == third
    assert [claim.job_id for claim in claims] == [first, first + 1]


async def test_a_store_that_drains_takes_no_new_jobs_and_starts_none(store_path: Path) -> None:
    async with opened(store_path) as store:
        first, second = [await store.submit(submission()) for _ in range(2)]
        claim = await next_claim(orders_of(store, {"/": 1}))
        store.refuse()
        with pytest.raises(ShuttingDown):
            await store.submit(submission())
        await finish(store, claim)
    assert states(store_path) == {first: ("done", "held"), second: ("queued", "none")}


# --- a claim is a fence -------------------------------------------------------------------------


async def test_a_job_ends_once_whatever_its_target_says_afterwards(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        await fail(store, claim, Failure.TIMEOUT, "too slow")
        before = rows(store_path, "SELECT * FROM job")
        orders = orders_of(store, {"/": 1})
        await store.submit(submission())
        other = await next_claim(orders)
        await finish(store, claim)
        await stopped(store, claim, "stopped")
        assert rows(store_path, "SELECT * FROM job WHERE id = ?", job_id) == before
        assert states(store_path)[other.job_id] == ("running", "none")


async def test_an_earlier_attempt_is_not_heard_any_more(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        stale = await next_claim(orders_of(store, {"/": 1}))
    async with opened(store_path) as store:
        await store.upkeep.recover([job_id], "killed")
        fresh = await next_claim(orders_of(store, {"/": 1}))
        assert (fresh.job_id, fresh.attempt) == (job_id, 2)
        before = rows(store_path, "SELECT * FROM job")
        handle = JobHandle(job_id, stale.attempt, store.attempts)
        handle.report(50)
        handle.warn("late")
        await finish(store, stale, Response(status=500))
        assert rows(store_path, "SELECT * FROM job") == before
        await finish(store, fresh)
        assert states(store_path) == {job_id: ("done", "held")}


# --- the order of operations decides ------------------------------------------------------------


async def test_a_fetch_joins_the_commit_of_the_result_that_is_on_its_way(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        async with held_up(store_path):
            finishing = await begun(finish(store, claim))
            fetching = await begun(taken(store, job_id))
            assert states(store_path) == {job_id: ("running", "none")}
        await finishing
        delivery, body = await fetching
        assert delivery
        assert body == b"hello"


@pytest.mark.file  # to a database it has left by then
async def test_a_fetch_that_comes_a_moment_before_the_result_waits_for_it(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        fetching = await begun(taken(store, job_id))
        await finish(store, claim)
        delivery, body = await fetching
        assert delivery
        assert body == b"hello"


async def test_a_fetch_that_comes_before_the_result_finds_nothing_and_takes_nothing(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert await taken(store, job_id) == (None, b"")
        await finish(store, claim)
        assert states(store_path) == {job_id: ("done", "held")}


@pytest.mark.parametrize("cancel_first", [True, False])
async def test_of_a_cancel_and_a_finish_the_first_decides_and_the_job_ends_once(
    store_path: Path,
    cancel_first: bool,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        ends = [stopped(store, claim, "stopped"), finish(store, claim)]
        async with held_up(store_path):
            tasks = [await begun(end) for end in (ends if cancel_first else reversed(ends))]
        await asyncio.gather(*tasks)
    expected = ("cancelled", "held") if cancel_first else ("done", "held")
    assert states(store_path) == {job_id: expected}


async def test_of_a_delete_and_a_finish_either_order_ends_the_work_and_drops_the_result(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        for delete_first in (True, False):
            job_id = await store.submit(submission())
            claim = await next_claim(orders_of(store, {"/": 1}))
            calls = [store.results.delete(job_id), finish(store, claim)]
            async with held_up(store_path):
                tasks = [await begun(call) for call in (calls if delete_first else calls[::-1])]
            await asyncio.gather(*tasks)
    assert set(states(store_path).values()) == {("done", "deleted")}
    assert rows(store_path, "SELECT * FROM response") == []


async def test_of_twenty_fetches_at_once_one_gets_the_result(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        fetches = [taken(store, job_id) for _ in range(20)]
        found = await asyncio.gather(*fetches, return_exceptions=True)
    assert sum(isinstance(answer, JobNotFound | BeingDelivered) for answer in found) == 19
    assert sum(isinstance(answer, tuple) for answer in found) == 1


# --- cancel -------------------------------------------------------------------------------------


async def test_a_queued_job_is_cancelled_at_once(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        await store.cancel(job_id)
        delivery, _ = await taken(store, job_id)
    assert delivery
    assert (delivery.job.state, delivery.job.status) == (State.CANCELLED, 410)
    assert delivery.response is None
    assert timeline(store_path, job_id) == ["submitted", "cancelled", "fetched"]


async def test_a_running_job_is_asked_to_stop_and_stays_pending_until_it_has(
    store_path: Path,
) -> None:
    async with opened(store_path, clock=CountingClock()) as store:
        job_id = await store.submit(submission())
        orders = orders_of(store, {"/": 1})
        claim = await next_claim(orders)
        await store.cancel(job_id)
        assert await anext(orders) == Cancellation(job_id)
        assert await store.results.pending(10) == [job_id]
        await stopped(store, claim, "cancelled while it ran")
        assert await store.results.held(10) == [job_id]
    assert timeline(store_path, job_id)[2:] == ["cancel asked", "cancelled"]


async def test_a_job_that_was_asked_twice_remembers_the_first_time(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        job_id = await store.submit(submission())
        await next_claim(orders_of(store, {"/": 1}))
        await store.cancel(job_id)
        clock.move(1)
        await store.cancel(job_id)
        assert (await store.results.peek(job_id)).cancel_asked_at == START


async def test_the_cancel_of_an_ended_job_changes_nothing(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        before = rows(store_path, "SELECT * FROM job")
        await store.cancel(job_id)
    assert rows(store_path, "SELECT * FROM job") == before


# --- who is not there ---------------------------------------------------------------------------


@pytest.mark.parametrize("job_id", [-1, 0, 99, 2**63 - 1, 2**63, 10**30])
async def test_an_id_that_no_job_has_is_not_found_by_anything(
    store_path: Path, job_id: int
) -> None:
    async with opened(store_path) as store:
        for call in (store.results.peek, store.cancel, store.results.delete, store.results.restore):
            with pytest.raises(JobNotFound):
                await call(job_id)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)


async def test_a_deleted_job_is_not_found_but_stands_in_the_history(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        await store.results.delete(job_id)
        for call in (store.results.peek, store.cancel, store.results.delete):
            with pytest.raises(JobNotFound):
                await call(job_id)
        with pytest.raises(JobNotFound):
            await taken(store, job_id)
    assert timeline(store_path, job_id) == ["submitted", "started", "done", "deleted"]
    assert rows(store_path, "SELECT * FROM response") == []


async def test_the_work_of_a_job_that_is_deleted_while_it_runs_goes_on(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        await store.results.delete(job_id)
        assert states(store_path) == {job_id: ("running", "deleted")}
        await finish(store, claim)
    assert states(store_path) == {job_id: ("done", "deleted")}
    assert rows(store_path, "SELECT status FROM job") == [(200,)]


async def test_everything_can_be_deleted_and_then_nothing_is_found(store_path: Path) -> None:
    async with opened(store_path) as store:
        ended = await finished(store)
        fetched = await finished(store)
        await taken(store, fetched)
        queued = await store.submit(submission(target="/other"))
        assert await store.results.delete_all() == 2
        assert await store.results.pending(10) == await store.results.held(10) == []
        assert await store.results.delete_all() == 0
    assert states(store_path) == {
        ended: ("done", "deleted"),
        fetched: ("done", "taken"),
        queued: ("queued", "deleted"),
    }


# --- lists --------------------------------------------------------------------------------------


async def test_pending_and_held_jobs_are_listed_by_id_and_no_more_than_asked_for(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission()) for _ in range(6)]
        orders = orders_of(store, {"/": 2})
        for _ in range(2):
            await finish(store, await next_claim(orders))
        assert await store.results.held(100) == ids[:2]
        assert await store.results.pending(100) == ids[2:]
        assert await store.results.pending(2) == ids[2:4]
        assert await store.results.pending(0) == []
        assert await store.results.held(10**30) == ids[:2]


# --- what a handler reports ---------------------------------------------------------------------


async def test_the_reports_of_a_running_job_are_in_the_file_for_anyone_to_see(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        handle = JobHandle(job_id, claim.attempt, store.attempts)
        handle.report(12.5)
        handle.count("IMPORT_RECORDS", 40)
        handle.count("IMPORT_RECORDS", 2)
        handle.warn("line 7 is odd")
        await finish(store, claim)
        job = await store.results.peek(job_id)
    assert (job.progress, job.counters, job.warnings) == (12.5, {"IMPORT_RECORDS": 42}, 1)
    notes = rows(store_path, "SELECT detail FROM timeline WHERE event = 'warned'")
    assert notes == [("line 7 is odd",)]


async def test_many_reports_at_once_are_written_down_once(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        handle = JobHandle(job_id, claim.attempt, store.attempts)
        for percent in range(101):
            handle.report(percent)
        await store.submit(submission())
        assert (await store.results.peek(job_id)).progress == 100
        handle.report(7)
        await finish(store, claim)
        assert (await store.results.peek(job_id)).progress == 7


# --- secrets ------------------------------------------------------------------------------------

SECRETS: Final = (
    ("Authorization", "Basic hidden-authorization"),
    ("cookie", "session=hidden-cookie"),
    ("X-Own-Key", "hidden-own"),
    ("Cookie", "second=hidden-second"),
)
LARGE_SECRETS: Final = (*SECRETS, ("Cookie", "hidden" * 1000))
PLAIN: Final = (("User-Agent", "a browser " * 60), ("Accept", "shown"))


async def after_the_end(path: Path, headers: Headers, size: int, end: str) -> None:
    """Run a job with secrets in its request to its end, and leave nothing but the file."""
    limits = Limits(secret=frozenset({"authorization", "cookie", "x-own-key"}), inline=2**16)
    async with opened(path, limits) as store:
        await store.submit(submission("POST", headers=headers, body=b"b" * size))
        if end == "cancelled":
            await store.cancel(1)
            return
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert claim.request.headers == headers
        match end:
            case "finished":
                await finish(store, claim)
            case "failed":
                await fail(store, claim, Failure.BROKEN, "broken")
            case "stopped":
                await stopped(store, claim, "stopped")
    if end.startswith("orphan"):
        async with opened(path, limits) as store:
            upkeep = store.upkeep
            await (upkeep.fail_orphans if "failed" in end else upkeep.cancel_orphans)([1], end)


@pytest.mark.parametrize("secrets", [SECRETS, LARGE_SECRETS], ids=["small", "large"])
@pytest.mark.parametrize("size", [0, 3_500, 50_000, 100_000])
@pytest.mark.parametrize(
    "end",
    ["finished", "failed", "cancelled", "stopped", "orphan failed", "orphan cancelled"],
)
@pytest.mark.file
async def test_secret_headers_are_nowhere_in_the_files_once_the_job_has_ended(
    store_path: Path, secrets: Headers, size: int, end: str
) -> None:
    await after_the_end(store_path, PLAIN + secrets, size, end)
    left = on_disk(store_path)
    assert b"shown" in left
    assert b"hidden" not in left


async def test_secret_headers_are_shown_as_redacted_once_the_job_has_ended(
    store_path: Path,
) -> None:
    await after_the_end(store_path, PLAIN + SECRETS, 0, "finished")
    (row,) = rows(store_path, "SELECT headers, secrets FROM request")
    assert decode_headers(*row) == PLAIN + tuple((name, REDACTED) for name, _ in SECRETS)


async def test_secret_headers_survive_a_crash_while_the_job_still_needs_them(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission(headers=SECRETS))
        await next_claim(orders_of(store, {"/": 1}))
    async with opened(store_path) as store:
        await store.upkeep.recover([job_id], "killed")
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert claim.request.headers == SECRETS


# --- the file -----------------------------------------------------------------------------------


@pytest.mark.file
async def test_a_second_server_on_the_same_file_is_told_who_owns_it(store_path: Path) -> None:
    async with opened(store_path):
        with pytest.raises(StoreInUse, match=str(os.getpid())) as told:
            async with owned_store(store_path):
                pass
    assert told.value.pid == os.getpid()


async def test_a_command_may_work_on_the_store_beside_its_server(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        await taken(store, job_id)
        async with beside(store_path) as shared:
            await shared.results.restore(job_id)
        delivery, _ = await taken(store, job_id)
        assert delivery


@pytest.mark.file
async def test_a_command_makes_no_file_where_there_is_none(store_path: Path) -> None:
    with pytest.raises(StoreMissing):
        async with shared_store(store_path):
            pass
    assert on_disk(store_path) == b""


def write_at(path: Path, position: int, data: bytes) -> None:
    with path.open("r+b" if path.exists() else "wb") as file:
        file.seek(position)
        file.write(data)


@pytest.mark.parametrize("size", [2, 100, 10_000])
@pytest.mark.file
async def test_the_file_of_another_program_is_left_alone(store_path: Path, size: int) -> None:
    write_at(store_path, 0, b"?" * size)
    with pytest.raises(StoreForeign):
        async with owned_store(store_path):
            pass
    assert on_disk(store_path).removesuffix(b"%d\n" % os.getpid()) == b"?" * size


@pytest.mark.file
async def test_the_file_of_a_newer_jobstore_is_left_alone(store_path: Path) -> None:
    async with opened(store_path):
        pass
    user_version = 60  # https://www.sqlite.org/fileformat2.html#the_database_header
    write_at(store_path, user_version, (99).to_bytes(4))
    before = on_disk(store_path)
    with pytest.raises(StoreNewer) as told:
        async with owned_store(store_path):
            pass
    assert (told.value.found, told.value.known) == (99, SCHEMA_VERSION)
    assert on_disk(store_path) == before


async def test_what_is_in_the_file_is_there_again_after_a_restart(store_path: Path) -> None:
    async with opened(store_path) as store:
        held = await finished(store)
        gone = await finished(store)
        await taken(store, gone)
        queued = await store.submit(submission(target="/other"))
    async with opened(store_path) as store:
        assert await store.results.held(10) == [held]
        assert await store.results.pending(10) == [queued]
        delivery, body = await taken(store, held)
        assert delivery
        assert body == b"hello"
        with pytest.raises(JobNotFound):
            await taken(store, gone)
        assert (await next_claim(orders_of(store, {"/other": 1}))).job_id == queued


async def test_each_start_of_a_server_is_in_the_history_with_its_end(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock):
        assert rows(store_path, "SELECT pid, started_at, ended_at FROM boot") == [
            (os.getpid(), START, None)
        ]
        clock.move(5)
    assert rows(store_path, "SELECT ended_at FROM boot") == [(clock.now,)]


# --- restore ------------------------------------------------------------------------------------


async def test_a_fetched_result_can_be_held_again_for_another_reader(store_path: Path) -> None:
    async with opened(store_path) as store:
        job_id = await finished(store)
        await taken(store, job_id)
        await store.results.restore(job_id)
        _, body = await taken(store, job_id)
        assert body == b"hello"
    assert timeline(store_path, job_id).count("restored") == 1


@pytest.mark.parametrize(
    ("stands", "reason"),
    [
        ("queued", "has not ended yet"),
        ("held", "is held already"),
        ("deleted", "was deleted"),
        ("expired", "expired"),
        ("unwanted", "was never kept"),
        ("purged", "payload has been purged"),
    ],
)
async def test_what_was_not_fetched_or_is_not_kept_cannot_be_restored(
    store_path: Path, stands: str, reason: str
) -> None:
    async with opened(store_path) as store:
        if stands == "queued":
            job_id = await store.submit(submission())
        else:
            job_id = await finished(store, wanted=stands != "unwanted")
        match stands:
            case "deleted":
                await store.results.delete(job_id)
            case "expired":
                await store.results.expire(START + 1)
            case "purged":
                await taken(store, job_id)
                await store.upkeep.purge(START + 1)
        before = rows(store_path, "SELECT * FROM job")
        with pytest.raises(ResultNotRestorable, match=reason):
            await store.results.restore(job_id)
    assert rows(store_path, "SELECT * FROM job") == before
