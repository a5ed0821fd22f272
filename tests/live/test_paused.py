"""Operators pause targets and say how many jobs run at once; who said what is kept."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from aiohttp import ClientSession

from jobstore.live import Store
from jobstore.live.executor import Executor
from jobstore.model.account import Role
from jobstore.model.errors import TargetUnknown
from jobstore.model.lifecycle import State
from jobstore.model.message import Response
from jobstore.model.target_state import TargetChange, WaitReason
from jobstore.targets.router import Router, TargetRoute
from tests.accounts import People
from tests.client import Client
from tests.commands import refused, said
from tests.conftest import Serve, running
from tests.engines import Place
from tests.gates import create_app
from tests.live.test_executor import Patient
from tests.peers import Services
from tests.stores import StandingClock, beside, opened, states, submission

PAUSE: Final = TargetChange(paused=True, reason="db migration")
RESUME: Final = TargetChange(paused=False)


@asynccontextmanager
async def executing(store: Store, target: Patient, concurrency: int = 2) -> AsyncIterator[None]:
    """Run a store's jobs on a target while the context lasts."""
    route = TargetRoute(name="/", target=target, concurrency=concurrency)
    executor = Executor(store, Router([route]), max_attempts=3)
    task = asyncio.create_task(executor.run())
    await executor.begun.wait()
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


class Noticing(logging.Handler):
    """Hears in the log when a server, or a node, has noticed what was said of a target."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._loop = asyncio.get_running_loop()
        self._heard = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """Hear that something was noticed, on whatever thread."""
        if getattr(record, "action", "") == "notice":
            self._loop.call_soon_threadsafe(self._heard.set)

    async def paused(self, store: Store, name: str = "/") -> None:
        """Wait until a server knows that a target is paused."""
        while not store.targets.paused(name):
            await self._heard.wait()
            self._heard.clear()


@pytest.fixture
async def heard(caplog: pytest.LogCaptureFixture) -> AsyncIterator[Noticing]:
    """Give what hears that servers of this process notice something."""
    handler, logger = Noticing(), logging.getLogger("jobstore.live.target_states")
    with caplog.at_level(logging.INFO, logger.name):
        logger.addHandler(handler)
        yield handler
        logger.removeHandler(handler)


# --- at one server --------------------------------------------------------------------------------


async def test_a_paused_target_takes_jobs_in_and_starts_none_and_what_runs_goes_on(
    store_path: Path,
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        first = await store.submit(submission())
        exchange = await target.asked.get()
        await store.targets.change("/", PAUSE, "ada")
        waiting = await store.submit(submission())
        job = await store.history.job(waiting)
        assert (job.state, store.targets.waits_for(job)) == (State.QUEUED, WaitReason.PAUSED)
        exchange.answer.set_result(Response(status=200))
        assert (await store.waits.ended(first, 60)).state is State.DONE
        assert target.asked.empty()
        await store.targets.change("/", RESUME, "ada")
        (await target.asked.get()).answer.set_result(Response(status=200))
        assert (await store.waits.ended(waiting, 60)).state is State.DONE


async def test_a_target_that_was_paused_while_no_server_ran_is_paused_from_the_start(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        job_id = await store.submit(submission())
        await store.targets.change("/", PAUSE, "ada", known=["/"])
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        await store.submit(submission())
        assert {state for state, _ in states(store_path).values()} == {"queued"}
        await store.targets.change("/", RESUME, "ada")
        assert (await target.asked.get()).handle.id == job_id


async def test_a_server_notices_what_is_said_of_a_target_beside_it(
    store_path: Path, heard: Noticing
) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        noticing = asyncio.create_task(store.noticed())
        async with beside(store_path) as other:
            await other.targets.change("/", PAUSE, "ada")
            await heard.paused(store)
            job_id = await store.submit(submission())
            assert states(store_path)[job_id] == ("queued", "none")
            await other.targets.change("/", RESUME, "ada")
        assert (await target.asked.get()).handle.id == job_id
        noticing.cancel()
        await asyncio.wait([noticing])


async def test_how_many_jobs_run_at_once_changes_at_once_and_stays_so(store_path: Path) -> None:
    target = Patient()
    async with opened(store_path) as store, executing(store, target):
        for _ in range(5):
            await store.submit(submission())
        exchanges = [await target.asked.get() for _ in range(2)]
        await store.targets.change("/", TargetChange(sizes=True, concurrency=3), "ada")
        exchanges.append(await target.asked.get())
        await store.targets.change("/", TargetChange(sizes=True, concurrency=1), "ada")
        for exchange in exchanges[:2]:
            exchange.answer.set_result(Response(status=200))
            await store.waits.ended(exchange.handle.id or 0, 60)
        assert (target.asked.empty(), store.slots()) == (True, {"/": (1, 1)})
    async with opened(store_path) as store, executing(store, Patient()):
        assert store.slots()["/"][1] == 1
        (seen,) = await store.targets.seen()
        assert (seen.concurrency, seen.configured) == (1, 2)
        await store.targets.change("/", TargetChange(sizes=True), "ada")
        assert store.slots()["/"][1] == 2


async def test_of_two_operators_the_last_one_wins_and_both_are_in_the_trail(
    store_path: Path,
) -> None:
    async with opened(store_path) as store, executing(store, Patient()):
        await store.targets.change("/", PAUSE, "ada")
        await store.targets.change("/", TargetChange(paused=True, reason="tests"), "bob")
        (seen,) = await store.targets.seen()
        assert (seen.state.paused_by, seen.state.reason) == ("bob", "tests")
        trail = [(each.who, each.what, each.detail) for each in await store.targets.trail(9)]
        assert trail == [("bob", "pause", "tests"), ("ada", "pause", "db migration")]


async def test_of_a_target_that_is_not_there_those_are_told_that_are(store_path: Path) -> None:
    async with opened(store_path) as store, executing(store, Patient()):
        with pytest.raises(TargetUnknown, match=r"there is no target /no; the targets are: /$"):
            await store.targets.change("/no", PAUSE, "ada")
        assert await store.targets.trail(9) == []


# --- over HTTP ------------------------------------------------------------------------------------


async def patched(client: Client, name: str, change: object) -> tuple[int, dict[str, Any]]:
    """Change a target, and give what is answered."""
    path = f"/_jobs/targets/{quote(name, safe='')}"
    answer = await client("PATCH", path, data=json.dumps(change).encode())
    return answer.status, json.loads(answer.body)


async def test_a_target_is_paused_and_resumed_over_http(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    url = await services.application(create_app())
    client = Client(http, (await serve(target={"prefix": "/wait", "upstream": url})).url)
    status, target = await patched(client, "/wait", {"paused": True, "reason": "db migration"})
    assert (status, target["paused"], target["reason"]) == (200, True, "db migration")
    job_id = await client.submit("/wait/a")
    job = json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    assert (job["state"], job["waits_for"]) == ("queued", "paused")
    listed = json.loads((await client("GET", "/_jobs?state=queued")).body)["jobs"]
    assert [each["waits_for"] for each in listed] == ["paused"]
    passing = asyncio.create_task(client("GET", "/wait/through"))
    service = Client(http, url)
    await service.when("through", "started")
    await service.let("through")
    assert (await passing).status == 200, "what passes through is no job"
    waiting = asyncio.create_task(client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=60"}))
    status, target = await patched(client, "/wait", {"paused": False, "concurrency": 3})
    assert (target["concurrency"], target["concurrency_from"]) == (3, "store")
    await service.when("a", "started")
    await service.let("a")
    assert json.loads((await waiting).body)["state"] == "done"
    _, target = await patched(client, "/wait", {"concurrency": None})
    assert (target["concurrency"], target["concurrency_from"]) == (32, "configuration")
    trail = json.loads((await client("GET", "/_jobs/audit?limit=2")).body)["audit"]
    assert [(each["what"], each["detail"]) for each in trail] == [
        ("set concurrency", "as configured"),
        ("set concurrency", "3 at once"),
    ]


@pytest.mark.file
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({}, "expected paused or concurrency"),
        ([], "expected an object with paused, reason or concurrency"),
        ({"paused": "yes"}, "paused: expected true or false"),
        ({"pausd": True}, "pausd: no such member; did you mean paused?"),
        ({"paused": False, "reason": "x"}, 'reason: expected only with "paused": true'),
        ({"paused": True, "reason": "\n"}, "reason: expected a text of 1 to 500 characters"),
        ({"concurrency": 0}, "concurrency: expected a whole number from 1 on"),
        ({"concurrency": "4"}, "concurrency: expected a whole number from 1 on"),
    ],
)
async def test_a_change_that_makes_no_sense_is_refused_and_told_what_was_expected(
    serve: Serve, http: ClientSession, change: object, told: str
) -> None:
    client = Client(http, (await serve()).url)
    status, answer = await patched(client, "/", change)
    assert (status, told in answer["detail"]) == (400, True), answer
    status, answer = await patched(client, "/nobody", {"paused": True})
    assert (status, answer["detail"]) == (
        404,
        "there is no target /nobody; the targets are: /, /_api/job",
    )


@pytest.mark.file
async def test_only_admins_change_targets_and_users_do_not_even_see_them(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(), stack)
        admin = await people.with_token("ada", Role.ADMIN)
        user = await people.with_token("bob", Role.USER)
        reader = await people.with_token("eve", Role.READER)
        found = [(await each("GET", "/_jobs/targets")).status for each in (admin, user, reader)]
        assert found == [200, 403, 200]
        found = [(await patched(each, "/", {"paused": True}))[0] for each in (user, reader, admin)]
        assert found == [403, 403, 200]
        found = [(await each("GET", "/_jobs/audit")).status for each in (admin, user, reader)]
        assert found == [200, 403, 403]
        assert b"only an admin may do this" in (await user("GET", "/_jobs/audit")).body
        trail = json.loads((await admin("GET", "/_jobs/audit")).body)["audit"]
        assert [(each["who"], each["what"]) for each in trail] == [("ada", "pause")]


# --- by command -----------------------------------------------------------------------------------


def of_target(*arguments: object) -> list[dict[str, Any]]:
    """Call the command about one target, and read what it tells scripts."""
    return [json.loads(line) for line in said("targets", "/", "--json", *arguments).splitlines()]


async def test_commands_pause_and_resume_a_target_with_the_server_up_and_down(
    store_path: Path, heard: Noticing
) -> None:
    here = ("--store", store_path)
    async with running(store_path) as server, AsyncExitStack() as stack:
        client = await People(server, stack).client()
        told = await asyncio.to_thread(said, "pause", "/", "--reason", "db migration", *here)
        assert told == "/ is paused: its jobs wait. `jobstore resume /` lets them run.\n"
        await heard.paused(server.store)
        await client.submit("/echo")
        assert "queued (paused)" in await asyncio.to_thread(said, "list", *here)
    table = await asyncio.to_thread(said, "targets", *here)
    assert "db migration" in table
    assert "paused by " in table
    (line,) = (await asyncio.to_thread(said, "list", "--json", *here)).splitlines()
    assert json.loads(line)["waits_for"] == "paused"
    wrong = await asyncio.to_thread(refused, "pause", "/nobody", *here)
    assert wrong == "jobstore: there is no target /nobody; the targets are: /, /_api/job\n"
    told = await asyncio.to_thread(said, "resume", "/", "--json", *here)
    assert json.loads(told) == {"resumed": "/"}
    assert " 3* (configured: 32) " in await asyncio.to_thread(
        said, "targets", "/", "--concurrency", 3, *here
    )
    (seen,) = await asyncio.to_thread(of_target, "--concurrency", "configured", *here)
    assert (seen["concurrency"], seen["concurrency_from"]) == (32, "configuration")
    wrong = await asyncio.to_thread(refused, "targets", "/", "--concurrency", "0", *here, code=2)
    assert "expected a whole number from 1 on, or configured." in wrong
    wrong = await asyncio.to_thread(refused, "targets", "--concurrency", "1", *here, code=2)
    assert "expected the NAME of a target" in wrong
    assert "there is no target /no" in await asyncio.to_thread(refused, "targets", "/no", *here)
    lines = (await asyncio.to_thread(said, "targets", "--json", *here)).splitlines()
    found = {each["name"]: each for each in map(json.loads, lines)}
    assert (found["/"]["paused"], found["/"]["waiting"]) == (False, 1)
    trail = (await asyncio.to_thread(said, "audit", *here)).splitlines()
    assert [line.split()[5:] for line in trail[1:3]] == [["as", "configured"], ["3", "at", "once"]]
    assert [line.split()[2:4] for line in trail[3:]] == [["resume", "/"], ["pause", "/"]]
    async with running(store_path) as server:
        assert (await server.store.waits.ended(1, 60)).state is State.DONE


# --- several nodes --------------------------------------------------------------------------------


async def test_all_nodes_obey_a_pause(
    database: Place, services: Services, http: ClientSession, heard: Noticing
) -> None:
    url = await services.application(create_app())
    section = {"target": {"upstream": url}, "store": {"lease": "1s"}}
    async with running(database, **section) as one, running(database, **section) as other:
        first, second = Client(http, one.url), Client(http, other.url)
        await patched(first, "/", {"paused": True, "reason": "db migration"})
        await heard.paused(other.store)
        jobs = [await each.submit("/wait/a") for each in (first, second)]
        assert {states(database)[job_id][0] for job_id in jobs} == {"queued"}
        await patched(second, "/", {"paused": False})
        await Client(http, url).let("a")
        for job_id in jobs:
            assert (await one.store.waits.ended(job_id, 60)).state is State.DONE


async def test_a_job_fails_for_waiting_only_if_no_node_reaches_its_target(database: Place) -> None:
    clock = StandingClock()
    async with opened(database, clock=clock) as one, beside(database, clock=clock) as other:
        for node in (one, other):
            node.targets.serve({"/": 1})
            await node.targets.serve_again()
        job_id = await one.submit(submission())
        one.targets.hold("/", "refused")
        assert await one.upkeep.give_up("/", clock(), "it has waited") == []
        other.targets.hold("/", "refused")
        await other.submit(submission("GET", "/later"))  # until when that is written down
        assert job_id in await one.upkeep.give_up("/", clock(), "it has waited")
        (seen,) = await one.targets.seen()
        assert seen.hold is not None
