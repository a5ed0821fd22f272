"""No owner takes all there is: bounds, turns, priorities, and jobs that make jobs."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.embedding import setup
from jobstore.live import Limits, OwnerLimits, Store
from jobstore.model.account import Role
from jobstore.model.definition_reader import parse
from jobstore.model.errors import OwnerLimit, TooDeep
from jobstore.model.job import Order
from jobstore.model.message import Response
from jobstore.store.schedules import BEGINNING
from tests.accounts import People
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.stores import (
    SettableClock,
    StandingClock,
    finish,
    next_claim,
    opened,
    orders_of,
    rows,
    submission,
)
from trials.clients import Answer
from trials.services import answering

LATER = {"target": "/a", "delay": "365d"}
DRAFT = {"name": "d", "path": "/d", "target": "/a"}
ALICE, BOB, CAROL = 1, 2, 3


async def put(store: Store, account: int, **members: Any) -> int:
    """Submit a job of an account."""
    return await store.submit(replace(submission(**members), account=account))


async def ran(store: Store, orders: AsyncIterator[Order], jobs: int) -> list[int]:
    """Run so many jobs one after the other; return whose they were."""
    accounts = []
    for _ in range(jobs):
        claim = await next_claim(orders)
        accounts.append(claim.account)
        await finish(store, claim)
    return accounts


def value(answer: Answer, status: int = 200) -> Any:
    assert answer.status == status, answer
    return json.loads(answer.body)


def response(size: int) -> Response:
    return Response(status=200, body=b"y" * size)


# --- turns --------------------------------------------------------------------------------------


async def test_a_single_job_waits_for_no_more_than_one_of_each_other_owner(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        for _ in range(20):
            await put(store, ALICE)
        orders = orders_of(store, {"/": 1})
        assert await ran(store, orders, 3) == [ALICE] * 3
        await put(store, BOB)
        await put(store, CAROL)
        assert set(await ran(store, orders, 3)) == {ALICE, BOB, CAROL}
        assert await ran(store, orders, 16) == [ALICE] * 16


async def test_slots_that_are_filled_at_once_go_round_the_owners(store_path: Path) -> None:
    async with opened(store_path) as store:
        for account in (ALICE, ALICE, ALICE, ALICE, BOB, BOB, CAROL):
            await put(store, account)
        orders = orders_of(store, {"/": 5})
        claims = [await next_claim(orders) for _ in range(5)]
    assert [claim.account for claim in claims] == [ALICE, BOB, CAROL, ALICE, BOB]
    assert [claim.job_id for claim in claims] == [1, 5, 7, 2, 6]


async def test_a_lower_priority_number_goes_before_any_turn(store_path: Path) -> None:
    async with opened(store_path) as store:
        for account, priority in ((ALICE, 0), (ALICE, 0), (BOB, 1), (CAROL, -1), (CAROL, 1)):
            await put(store, account, priority=priority)
        assert await ran(store, orders_of(store, {"/": 1}), 5) == [CAROL, ALICE, ALICE, BOB, CAROL]


async def test_what_has_waited_for_its_time_or_for_another_job_has_its_turn(
    store_path: Path,
) -> None:
    clock = StandingClock()
    async with opened(store_path, clock=clock) as store:
        later = replace(submission(), account=BOB, not_before=clock.now + 5)
        await store.submit(later)
        chain = [replace(submission(), account=CAROL) for _ in range(2)]
        for _ in range(10):
            await put(store, ALICE)
        await store.submissions.submit_chain(chain)
        orders = orders_of(store, {"/": 1})
        coming = asyncio.create_task(store.come_due())
        clock.move(10)
        await put(store, BOB)  # which tells that something is due
        accounts = await ran(store, orders, 6)
        coming.cancel()
    assert accounts.count(CAROL) == 2
    assert accounts.count(BOB) >= 1


WAITING = st.lists(
    st.tuples(st.sampled_from([ALICE, BOB, CAROL, -7]), st.integers(-1, 1)), max_size=14
)


def in_turn(waiting: Sequence[tuple[int, int]]) -> list[int]:
    """Tell in which order owners' jobs run, by walking through all of them."""
    left, last, order = list(enumerate(waiting)), -(2**63), []
    while left:
        priority = min(priority for _, (_, priority) in left)
        accounts = {account for _, (account, each) in left if each == priority}
        last = min(accounts, key=lambda account: (account <= last, account))
        first = next(job for job in left if job[1] == (last, priority))
        left.remove(first)
        order.append(first[0] + 1)
    return order


@settings(max_examples=25, deadline=None)
@given(waiting=WAITING, at_once=st.integers(1, 4))
def test_any_queue_is_worked_off_by_turns_also_after_a_restart(
    tmp_path_factory: pytest.TempPathFactory,
    waiting: list[tuple[int, int]],
    at_once: int,
) -> None:
    path = tmp_path_factory.mktemp("turns") / "jobs.db"

    async def work_off() -> list[int]:
        async with opened(path) as store:
            for account, priority in waiting:
                await put(store, account, priority=priority)
        claimed = []
        async with opened(path) as store:
            orders = orders_of(store, {"/": at_once})
            for _ in waiting:
                claim = await next_claim(orders)
                claimed.append(claim.job_id)
                await finish(store, claim)
        return claimed

    assert asyncio.run(work_off()) == in_turn(waiting)


# --- how many run -------------------------------------------------------------------------------


async def test_no_more_jobs_of_one_owner_run_than_may_over_all_targets(store_path: Path) -> None:
    limits = Limits(owner=OwnerLimits(running=2))
    async with opened(store_path, limits) as store:
        orders = orders_of(store, {"/": 3, "/b": 3})
        for target in ("/", "/b", "/", "/b"):
            await put(store, ALICE, target=target)
        first, second = await next_claim(orders), await next_claim(orders)
        for target in ("/", "/b"):
            await put(store, BOB, target=target)
        bobs = [await next_claim(orders) for _ in range(2)]
        assert [claim.account for claim in (first, second, *bobs)] == [ALICE, ALICE, BOB, BOB]
        running = "SELECT account, count(*) FROM job WHERE state = 'running' GROUP BY 1"
        assert rows(store_path, running) == [(ALICE, 2), (BOB, 2)]
        await finish(store, first)
        third = await next_claim(orders)
        assert third.account == ALICE
        assert rows(store_path, running) == [(ALICE, 2), (BOB, 2)]
        await finish(store, second)
        assert (await next_claim(orders)).account == ALICE


# --- bounds -------------------------------------------------------------------------------------


async def test_an_owner_has_no_more_jobs_waiting_than_may_in_whatever_dialect(
    serve: Serve,
) -> None:
    server = await serve(target=GATED, limits={"queued": 2})
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        made = value(await alice("POST", "/_jobs/definitions", json=DRAFT), 201)["id"]
        kinetica = {
            "endpoint": "/a",
            "request_encoding": "json",
            "data": "",
            "data_str": "{}",
            "options": {},
        }
        for _ in range(2):
            assert (await alice("POST", "/_jobs", json=LATER)).status == 202
        sentence = "2 of your jobs are waiting; the limit is 2"
        for member, path, options in (
            ("errorMessage", "/a", {"headers": {"x-arango-async": "store"}}),
            ("detail", "/a", {"headers": {"Prefer": "respond-async, wait=5"}}),
            ("detail", "/_jobs", {"json": LATER}),
            ("detail", f"/_jobs/definitions/{made}/run", {}),
            ("message", "/create/job", {"json": kinetica}),
            ("reason", f"/rest/job-execution?configuration={made}", {}),
            ("reason", f"/rest/job-execution/sequential?configuration={made}", {}),
        ):
            answer = await alice("POST", path, **options)
            assert sentence in value(answer, 429)[member], path
            assert int(answer.headers["Retry-After"]) > 0
        assert (await bob("POST", "/_jobs", json=LATER)).status == 202
        jobs = value(await alice("GET", "/_jobs"))["jobs"]
        await alice("POST", f"/_jobs/{jobs[0]['id']}/cancel")
        assert (await alice("POST", "/_jobs", json=LATER)).status == 202


async def test_a_schedule_is_skipped_whose_owner_has_too_many_jobs_waiting(
    store_path: Path,
) -> None:
    clock = StandingClock()
    each_minute = parse({**DRAFT, "schedule": {"cron": "* * * * *"}})
    async with opened(store_path, Limits(owner=OwnerLimits(queued=1)), clock) as store:
        await put(store, ALICE)
        for account in (ALICE, BOB):
            await store.definitions.create(each_minute, "", account)
        clock.move(60)
        fired = await store.schedules.fire(lambda *_: "/", 0, BEGINNING)
    assert [len(each.jobs) for each in fired] == [0, 1]
    assert [each.refused for each in fired] == ["1 of your jobs is waiting; the limit is 1", None]
    assert rows(store_path, "SELECT count(*) FROM definition WHERE fires_at > ?", clock.now) == [
        (2,)
    ]


async def test_an_owner_has_no_more_kept_than_may_and_what_is_purged_counts_no_more(
    store_path: Path,
) -> None:
    limits = Limits(owner=OwnerLimits(stored=1000), inline=100)
    async with opened(store_path, limits) as store:
        orders = orders_of(store, {"/": 1})
        await put(store, ALICE, method="POST", body=b"x" * 600)
        await finish(store, await next_claim(orders), response(500))
        with pytest.raises(OwnerLimit, match="1100 bytes"):
            await put(store, ALICE)
        await put(store, BOB)
        await store.results.delete(1)
        assert rows(store_path, "SELECT stored FROM job WHERE id = 1") == [(600,)]
        await put(store, ALICE, method="POST", body=b"x" * 600)
        with pytest.raises(OwnerLimit, match="1200 bytes"):
            await put(store, ALICE)
        await store.upkeep.purge(2**62)
        await put(store, ALICE)


async def test_an_owner_submits_no_faster_than_may(store_path: Path) -> None:
    clock = StandingClock()
    async with opened(store_path, Limits(owner=OwnerLimits(rate=2)), clock) as store:
        for _ in range(2):
            await put(store, ALICE)
        with pytest.raises(OwnerLimit) as refused:
            await put(store, ALICE)
        assert refused.value.seconds == 1
        await put(store, BOB)
        clock.move(0.5)
        await put(store, ALICE)
        with pytest.raises(OwnerLimit):
            await put(store, ALICE)
        clock.move(-3600)
        await put(store, CAROL)


async def test_a_clock_that_is_put_back_makes_no_owner_wait(store_path: Path) -> None:
    clock, limits = SettableClock(), Limits(owner=OwnerLimits(rate=2))
    async with opened(store_path, limits, clock, clock.steady) as store:
        for _ in range(2):
            await put(store, ALICE)
        clock.set(-3600)
        with pytest.raises(OwnerLimit) as refused:
            await put(store, ALICE)
        assert refused.value.seconds == 1
        clock.move(0.5)
        await put(store, ALICE)


# --- priorities ---------------------------------------------------------------------------------


async def test_priorities_below_0_are_for_admins(serve: Serve) -> None:
    server = await serve(target=GATED)
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        everybody = await people.client()
        urgent = {"target": "/a", "priority": -1}
        assert (await everybody("POST", "/_jobs", json=urgent)).status == 202
        boss, alice = await people.with_token("boss", Role.ADMIN), await people.with_token("alice")
        assert (await boss("POST", "/_jobs", json=urgent)).status == 202
        told = value(await alice("POST", "/_jobs", json=urgent), 403)["detail"]
        assert "priority: expected 0 or more" in told
        assert (await alice("POST", "/_jobs", json={**urgent, "priority": 0})).status == 202


async def test_an_urgent_job_of_a_former_admin_is_tried_again_as_an_ordinary_one(
    serve: Serve, store_path: Path
) -> None:
    server = await serve(target=GATED)
    async with AsyncExitStack() as stack:
        boss = await People(server, stack).with_token("boss", Role.ADMIN)
        urgent = {"target": "/a", "priority": -1}
        made = value(await boss("POST", "/_jobs", json=urgent), 202)["id"]
        await boss.ended(made)
        await server.store.accounts.set_role("boss", Role.USER)
        assert (await boss("POST", f"/_jobs/{made}/retry")).status == 202
    assert rows(store_path, "SELECT priority FROM job ORDER BY id") == [(-1,), (0,)]


# --- jobs that make jobs ------------------------------------------------------------------------


async def test_a_definition_that_runs_itself_comes_to_an_end(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    client = Client(http, (await serve(target=GATED, limits={"depth": 3})).url)
    itself = {**DRAFT, "method": "POST", "target": "/_jobs/definitions/1/run"}
    await client("POST", "/_jobs/definitions", json=itself)
    await client("POST", "/_jobs/definitions/1/run")
    for job_id in range(1, 5):
        await client.ended(job_id)
    found = rows(store_path, "SELECT depth, status FROM job ORDER BY id")
    assert found == [(0, 202), (1, 202), (2, 202), (3, 508)]


async def test_jobs_that_come_back_over_the_network_are_no_deeper_than_may(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    client = Client(http, (await serve(target=GATED, limits={"depth": 1})).url)
    first = await client.submit("/wait/first")
    await client.when("first", "started")
    second = await client.submit("/wait/second", headers={"Jobstore-Id": str(first)})
    await client.when("second", "started")
    deep = {"Jobstore-Id": str(second), "x-arango-async": "store"}
    assert value(await client("GET", "/wait/third", headers=deep), 508)["errorNum"] == 508
    assert (await client("POST", "/_jobs", json=LATER, headers=deep)).status == 508
    await client.let("first")
    await client.let("second")
    await client.ended(second)
    for nobodys in (str(second), "0", "x", "9" * 30):
        await client.submit("/a", headers={"Jobstore-Id": nobodys})
    assert set(rows(store_path, "SELECT depth FROM job WHERE id > 2")) == {(0,)}


@pytest.mark.file  # an application has a file
async def test_what_a_handler_submits_by_itself_is_deeper_than_its_job(store_path: Path) -> None:
    app = web.Application()
    jobs = setup(app, store_path, open=True, limits={"depth": 1})
    told: list[str] = []

    async def again(_: web.Request) -> web.Response:
        try:
            await jobs.submit("GET", "/again")
        except TooDeep as error:
            told.append(str(error))
        return web.Response()

    app.router.add_get("/again", again)
    async with answering(app):
        await jobs.submit("GET", "/again")
        for job_id in (1, 2):
            await jobs.ended(job_id)
    assert told == ["expected a chain of at most 1 jobs that submit jobs"]
    assert rows(store_path, "SELECT depth FROM job ORDER BY id") == [(0,), (1,)]
