import asyncio
import json
import logging
import os
import re
import signal
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.live import Orphan, Store
from jobstore.live.executor import Executor
from jobstore.live.recovering import Recovery, decide
from jobstore.model.job import Failure, Replay, Submission
from jobstore.model.lifecycle import State
from jobstore.store.steps import STEP
from jobstore.targets.router import Router, TargetRoute
from tests.client import Client
from tests.conftest import Start, running
from tests.engines import engine
from tests.live.test_executor import Patient
from tests.restarts import Restarting
from tests.stores import (
    StandingClock,
    check_sound,
    execute,
    finish,
    next_claim,
    opened,
    orders_of,
    power_cut,
    rows,
    states,
    submission,
    taken,
    timeline,
)

# --- the decision -------------------------------------------------------------------------------

SAFE_TO_REPEAT: Final = ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE")
NOT_SAFE_TO_REPEAT: Final = ("POST", "PATCH", "CONNECT", "PROPFIND", "get")


def decision(
    method: str = "GET",
    replay: Replay = Replay.IDEMPOTENT,
    attempt: int = 1,
    *,
    cancel_asked: bool = False,
    max_attempts: int = 3,
) -> Recovery:
    orphan = Orphan(7, 1, method, "/", attempt, 1 if cancel_asked else None, 0, None, "/")
    return decide(orphan, replay, max_attempts)


@pytest.mark.parametrize("method", SAFE_TO_REPEAT)
def test_a_request_that_may_be_repeated_runs_again(method: str) -> None:
    assert decision(method) is Recovery.RUN_AGAIN


@pytest.mark.parametrize("method", NOT_SAFE_TO_REPEAT)
def test_a_request_that_may_not_be_repeated_was_interrupted(method: str) -> None:
    assert decision(method) is Recovery.INTERRUPT


@pytest.mark.parametrize("method", SAFE_TO_REPEAT + NOT_SAFE_TO_REPEAT)
def test_a_target_may_allow_to_repeat_everything_or_nothing(method: str) -> None:
    assert decision(method, Replay.ALWAYS) is Recovery.RUN_AGAIN
    assert decision(method, Replay.NEVER) is Recovery.INTERRUPT


@pytest.mark.parametrize(("attempt", "max_attempts"), [*product(range(1, 5), range(1, 5))])
def test_a_job_is_set_aside_after_as_many_attempts_as_it_may_have(
    attempt: int, max_attempts: int
) -> None:
    found = decision(attempt=attempt, max_attempts=max_attempts)
    assert found is (Recovery.RUN_AGAIN if attempt < max_attempts else Recovery.SET_ASIDE)


@pytest.mark.parametrize(("method", "replay"), [*product(("GET", "POST"), Replay)])
def test_a_job_that_was_asked_to_stop_has_stopped(method: str, replay: Replay) -> None:
    assert decision(method, replay, 9, cancel_asked=True) is Recovery.CANCEL


# --- on a store ---------------------------------------------------------------------------------


# What the history calls a server that has ended without a word; only a file has one at a time.
KILLED: Final = {
    "file": "was killed or lost power",
    "postgresql": "was silent and declared dead at 2027-01-15T08:00:00.000Z",
}
CAUSE: Final = {"file": "a crash", "postgresql": "the loss of its server"}


async def claimed(path: Path, *submissions: Submission) -> Path:
    """Let a server claim some jobs, and return what a power cut leaves of its store."""
    async with opened(path) as store:
        for one in submissions:
            await store.submit(one)
        orders = orders_of(
            store, dict.fromkeys({one.target for one in submissions}, len(submissions))
        )
        for _ in submissions:
            await next_claim(orders)
        return power_cut(path)


async def recover(store: Store, *routes: TargetRoute, **rule: Any) -> int:
    """Recover a store as a server does at its start."""
    routes = routes or (TargetRoute(name="/", target=Patient(), concurrency=9, **rule),)
    return await Executor(store, Router(routes), max_attempts=3).recover()


async def test_what_may_run_again_is_queued_again_and_its_next_attempt_is_the_second(
    store_path: Path,
) -> None:
    cut = await claimed(store_path, submission("GET"))
    async with opened(cut, clock=StandingClock()) as store:
        assert await recover(store) == 1
        assert states(cut) == {1: ("queued", "none")}
        claim = await next_claim(orders_of(store, {"/": 1}))
        assert (claim.job_id, claim.attempt) == (1, 2)
        await finish(store, claim)
        _, body = await taken(store, 1)
        assert body == b"hello"
    assert "recovered" in timeline(cut, 1)


async def test_what_may_not_run_again_has_failed_and_the_failure_can_be_fetched(
    store_path: Path,
) -> None:
    cut = await claimed(store_path, submission("POST"))
    async with opened(cut) as store:
        await recover(store)
        delivery, _ = await taken(store, 1)
    assert delivery
    assert (delivery.job.state, delivery.job.status) == (State.FAILED, 503)
    assert delivery.job.failure is Failure.INTERRUPTED
    assert "so jobstore does not send it again" in str(delivery.job.detail)


async def test_the_rule_of_the_target_decides_what_may_run_again(store_path: Path) -> None:
    cut = await claimed(store_path, submission("GET"), submission("POST"))
    async with opened(cut) as store:
        await recover(store, replay=Replay.NEVER)
    assert states(cut) == {1: ("failed", "held"), 2: ("failed", "held")}


async def test_a_killed_server_is_named_as_killed(store_path: Path) -> None:
    cut = await claimed(store_path, submission("POST"))
    async with opened(cut) as store:
        await recover(store)
        detail = (await store.results.peek(1)).detail
    assert detail == (
        f"interrupted by {CAUSE[engine(cut)]} at attempt 1; its POST may have taken effect, so "
        "jobstore does not send it again: check your service, then retry the job "
        f"(the server with process id {os.getpid()}, started 2027-01-15T08:00:00.000Z, "
        f"{KILLED[engine(cut)]})"
    )


async def test_the_method_that_may_have_taken_effect_is_named_and_comes_before_the_server(
    store_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    methods = ("POST", "GET", "PATCH", "POST")
    cut = await claimed(store_path, *map(submission, methods))
    caplog.set_level(logging.INFO, "jobstore.live.recovering")
    async with opened(cut) as store:
        await recover(store)
        found = [str((await store.results.peek(number)).detail) for number in (1, 3, 4)]
    for method, detail in zip(("POST", "PATCH", "POST"), found, strict=True):
        told = detail.partition(" (")[0]
        assert f"its {method} may have taken effect" in told
        assert len(told) <= 160, "it is cut off in lists"
    logged = [each.message for each in caplog.records if each.name.endswith(".recovering")]
    said = sorted(re.sub(r" by .*", "", each) for each in logged)
    assert said == [
        "1 job ends as interrupted: interrupted",
        "1 job runs again: interrupted",
        "2 jobs end as interrupted: interrupted",
    ]


async def test_a_server_that_was_shut_down_is_not_called_killed(store_path: Path) -> None:
    async with opened(store_path) as store:
        await store.submit(submission("POST"))
        await next_claim(orders_of(store, {"/": 1}))
    async with opened(store_path) as store:
        await recover(store)
        detail = (await store.results.peek(1)).detail
    assert detail
    assert "was shut down at 2027-01-15T08:00:00.000Z before the job ended" in detail


async def test_each_job_is_told_of_the_server_that_had_claimed_it(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        await store.submit(submission("POST"))
        await next_claim(orders_of(store, {"/": 1}))
    clock.move(3600)
    async with opened(store_path, clock=clock) as store:
        await store.submit(submission("POST"))
        await next_claim(orders_of(store, {"/": 1}))
        cut = power_cut(store_path)
    async with opened(cut, clock=clock) as store:
        assert await recover(store) == 2
        first, second = [str((await store.results.peek(job_id)).detail) for job_id in (1, 2)]
    assert "started 2027-01-15T08:00:00.000Z, was shut down" in first
    last = {"file": "was killed", "postgresql": "was silent"}[engine(cut)]
    assert f"started 2027-01-15T09:00:00.000Z, {last}" in second


async def test_a_job_that_was_interrupted_too_often_is_set_aside(store_path: Path) -> None:
    await claimed(store_path, submission("GET"))
    for attempt in (1, 2, 3):
        async with opened(store_path) as store:
            await recover(store)
            if attempt < 3:
                assert (await next_claim(orders_of(store, {"/": 1}))).attempt == attempt + 1
    assert states(store_path) == {1: ("failed", "held")}
    (detail,) = rows(store_path, "SELECT detail FROM job")[0]
    assert detail.startswith("interrupted by a shutdown at attempt 3; no attempts are left (")
    assert timeline(store_path, 1).count("recovered") == 2


async def test_a_job_that_was_asked_to_stop_before_the_crash_is_cancelled(store_path: Path) -> None:
    async with opened(store_path) as store:
        await store.submit(submission("GET"))
        await next_claim(orders_of(store, {"/": 1}))
        await store.cancel(1)
        cut = power_cut(store_path)
    async with opened(cut) as store:
        await recover(store)
        delivery, _ = await taken(store, 1)
    assert delivery
    assert (delivery.job.state, delivery.job.status) == (State.CANCELLED, 410)
    assert str(delivery.job.detail).startswith("cancelled; interrupted by ")


@pytest.mark.parametrize(("method", "ends"), [("GET", "queued"), ("POST", "failed")])
async def test_what_was_deleted_while_it_ran_stays_deleted(
    store_path: Path, method: str, ends: str
) -> None:
    async with opened(store_path) as store:
        await store.submit(submission(method))
        await next_claim(orders_of(store, {"/": 1}))
        await store.results.delete(1)
        cut = power_cut(store_path)
    async with opened(cut) as store:
        await recover(store)
        assert states(cut) == {1: (ends, "deleted")}
        if ends == "queued":
            await finish(store, await next_claim(orders_of(store, {"/": 1})))
            assert states(cut) == {1: ("done", "deleted")}


async def test_a_job_whose_result_nobody_wants_is_recovered_like_any(store_path: Path) -> None:
    cut = await claimed(
        store_path, submission("GET", wanted=False), submission("POST", wanted=False)
    )
    async with opened(cut) as store:
        assert await recover(store) == 2
        assert states(cut) == {1: ("queued", "unwanted"), 2: ("failed", "unwanted")}


async def test_jobs_that_are_recovered_keep_their_place_in_the_queue(store_path: Path) -> None:
    async with opened(store_path) as store:
        for _ in range(4):
            await store.submit(submission())
        orders = orders_of(store, {"/": 2})
        for _ in range(2):
            await next_claim(orders)
        cut = power_cut(store_path)
    async with opened(cut) as store:
        await recover(store)
        orders = orders_of(store, {"/": 4})
        assert [(await next_claim(orders)).job_id for _ in range(4)] == [1, 2, 3, 4]


async def test_what_the_new_server_has_claimed_itself_is_no_orphan(store_path: Path) -> None:
    cut = await claimed(store_path, submission())
    async with opened(cut) as store:
        await store.submit(submission())
        fresh = await next_claim(orders_of(store, {"/": 1}))
        assert await recover(store) == 1
        assert states(cut)[fresh.job_id] == ("running", "none")
        assert await recover(store) == 0


async def test_any_number_of_jobs_is_recovered(store_path: Path) -> None:
    many = 2 * STEP + 1
    async with opened(store_path) as store:
        for method in ("GET", "POST"):
            await asyncio.gather(*(store.submit(submission(method)) for _ in range(many)))
        orders = orders_of(store, {"/": 2 * many})
        for _ in range(2 * many):
            await next_claim(orders)
    async with opened(store_path) as store:
        assert await recover(store) == 2 * many
        pending, held = await store.results.pending(10**6), await store.results.held(10**6)
        assert len(pending) == len(held) == many


# --- a target that is no longer configured ------------------------------------------------------


def route(name: str) -> TargetRoute:
    return TargetRoute(name=name, target=Patient(), concurrency=9)


@pytest.mark.parametrize(
    ("gone", "configured", "fallback"),
    [
        ("/reports", ["/", "/other"], "/"),
        ("/reports/daily", ["/", "/reports"], "/reports"),
        ("/", ["/only"], "/only"),
        ("/reports", ["/", "/reports"], "/reports"),
    ],
)
async def test_what_waits_for_a_target_that_is_gone_waits_for_who_owns_its_path_now(
    store_path: Path, gone: str, configured: list[str], fallback: str
) -> None:
    async with opened(store_path) as store:
        ids = [await store.submit(submission(target=gone)) for _ in range(3)]
    async with opened(store_path) as store:
        await recover(store, *(route(name) for name in configured))
        orders = orders_of(store, dict.fromkeys(configured, 3))
        claims = [await next_claim(orders) for _ in ids]
        assert [(claim.job_id, claim.target) for claim in claims] == [(i, fallback) for i in ids]


async def test_a_server_runs_what_waited_for_a_target_that_it_does_not_have(
    store_path: Path, http: ClientSession
) -> None:
    gates, one = "tests.gates:create_app", {"concurrency": 1}
    async with running(store_path, target={"prefix": "/wait", "app": gates}, executor=one) as old:
        client = Client(http, old.url)
        ids = [await client.submit(f"/wait/{name}") for name in ("first", "second")]
        await client.when("first", "started")
    long_ago = "UPDATE boot SET ended_at = 0"  # nobody waits for the target to come back
    execute(store_path, long_ago)
    async with running(store_path, target={"prefix": "/", "app": gates}, executor=one) as new:
        client = Client(http, new.url)
        for job_id, name in zip(ids, ("first", "second"), strict=True):
            await client.let(name)
            assert (await client.fetched(job_id)).status == 200


async def test_without_any_target_jobs_keep_waiting(store_path: Path) -> None:
    async with opened(store_path) as store:
        await store.submit(submission())
        await Executor(store, Router([]), 3).recover()
    assert states(store_path) == {1: ("queued", "none")}


# --- a real server that is killed ---------------------------------------------------------------

GATED: Final = ("--app", "tests.gates:create_app")


@pytest.fixture
async def gated(server_process: Start, http: ClientSession) -> Restarting:
    """Give a real server whose work goes on when it is told to."""
    return Restarting(await server_process(*GATED), http)


async def test_a_get_that_ran_when_the_server_was_killed_runs_again(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it")
    await gated.killed()
    await gated.client.let("it")
    answer = await gated.client.fetched(job_id)
    assert (answer.status, answer.body) == (200, b"it is done")
    assert rows(store_path, "SELECT attempt FROM job") == [(2,)]
    check_sound(store_path)


async def test_a_post_that_ran_when_the_server_was_killed_is_fetched_as_interrupted(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it", "POST")
    pid = gated.server.process.pid
    await gated.killed()
    answer = await gated.client.fetched(job_id)
    assert answer.status == 503
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    problem = json.loads(answer.body)
    assert problem["status"] == 503
    assert f"the server with process id {pid}," in problem["detail"]
    assert KILLED[engine(store_path)].partition(" at ")[0] in problem["detail"]
    assert (await gated.client("GET", "/started")).body == b"[]", "it was not sent again"
    check_sound(store_path)


async def test_what_waited_when_the_server_was_killed_still_waits_and_then_runs(
    gated: Restarting, store_path: Path
) -> None:
    for number in range(32):
        await gated.begun(f"busy {number}", "POST")
    waiting = [await gated.client.submit(f"/wait/{number}", "POST") for number in range(3)]
    await gated.killed()
    for number, job_id in enumerate(waiting):
        await gated.client.let(str(number))
        assert (await gated.client.fetched(job_id)).status == 200
    check_sound(store_path)


async def test_a_job_that_nobody_will_fetch_runs_again_as_well(
    gated: Restarting, store_path: Path
) -> None:
    headers = {"x-arango-async": "true"}
    assert (await gated.client("GET", "/wait/it", headers=headers)).status == 202
    await gated.client.when("it", "started")
    await gated.killed()
    await gated.client.when("it", "started")
    await gated.client.let("it")
    while states(store_path)[1] != ("done", "unwanted"):
        await gated.client("GET", "/_api/job/pending")
    assert rows(store_path, "SELECT attempt FROM job") == [(2,)]


async def test_a_job_that_was_deleted_while_it_ran_is_gone_after_the_server_was_killed(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it", "POST")
    assert (await gated.client("DELETE", f"/_api/job/{job_id}")).status == 200
    await gated.killed()
    assert (await gated.client("PUT", f"/_api/job/{job_id}")).status == 404
    while states(store_path)[job_id] != ("failed", "deleted"):
        await gated.client("GET", "/_api/job/pending")


async def test_a_job_that_kills_its_server_is_set_aside_and_the_others_run(
    server_process: Start, store_path: Path, http: ClientSession
) -> None:
    server = await server_process("--app", "tests.poison:create_app")
    client = Client(http, server.url)
    poison = await client.submit("/die")
    assert await server.process.wait() == 9
    for _ in range(2):
        with suppress(AssertionError):  # it may die before it has said where it listens
            await server.start()
        assert await server.process.wait() == 9
    await server.start()
    client = Client(http, server.url)
    answer = await client.fetched(poison)
    assert answer.status == 503
    assert "no attempts are left" in json.loads(answer.body)["detail"]
    assert (await client.fetched(await client.submit("/live"))).body == b"alive"
    assert timeline(store_path, poison).count("recovered") == 2
    check_sound(store_path)


# --- a real server that is shut down ------------------------------------------------------------


async def told_to_stop(gated: Restarting) -> None:
    """Ask the server to stop, and return when it takes no new jobs."""
    await gated.client.let("late")
    gated.server.process.send_signal(signal.SIGTERM)
    headers = {"x-arango-async": "store"}
    while (answer := await gated.client("GET", "/wait/late", headers=headers)).status == 202:
        pass
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_server_that_shuts_down_refuses_new_jobs_and_lets_running_ones_finish(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it", "POST")
    await told_to_stop(gated)
    await gated.client.let("it")
    assert await gated.server.process.wait() == 0
    await gated.server.start()
    assert (await gated.client.fetched(job_id)).body == b"it is done"
    check_sound(store_path)


async def test_a_result_can_be_fetched_while_the_server_shuts_down(gated: Restarting) -> None:
    await gated.begun("it", "POST")
    await gated.client.let("done")
    done = await gated.client.done("/wait/done")
    await told_to_stop(gated)
    assert (await gated.client.fetched(done)).body == b"done is done"
    await gated.client.let("it")
    assert await gated.server.process.wait() == 0


async def test_what_does_not_finish_in_time_is_left_to_recovery(
    gated: Restarting, store_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gated.server.kill()
    monkeypatch.setenv("JOBSTORE_EXECUTOR__DRAIN", "0s")
    await gated.server.start()
    again, interrupted = await gated.begun("again"), await gated.begun("interrupted", "POST")
    assert await gated.server.terminate() == 0
    assert states(store_path) == {again: ("running", "none"), interrupted: ("running", "none")}
    await gated.server.start()
    answer = await gated.client.fetched(interrupted)
    assert answer.status == 503
    assert "was shut down at" in json.loads(answer.body)["detail"]
    await gated.client.let("again")
    assert (await gated.client.fetched(again)).status == 200


async def test_a_second_signal_does_not_wait_for_running_jobs(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it")
    await told_to_stop(gated)
    assert await gated.server.terminate() == 0
    assert states(store_path)[job_id] == ("running", "none")


async def test_a_server_that_is_killed_while_it_shuts_down_loses_nothing(
    gated: Restarting, store_path: Path
) -> None:
    job_id = await gated.begun("it")
    await told_to_stop(gated)
    await gated.killed()
    await gated.client.let("it")
    assert (await gated.client.fetched(job_id)).body == b"it is done"
    check_sound(store_path)
