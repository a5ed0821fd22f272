"""Chains: runs that wait for each other, whatever happens to one of them or to the server."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from tests.client import GATED, Client
from tests.conftest import Serve, Start
from tests.dialects.test_datameer import DETAILS, KILL, RUN, SEQUENTIAL, details, ended, said
from tests.dialects.test_definitions import bearer, defined, value, with_accounts
from tests.live.test_recovery import recover, route
from tests.restarts import Restarting
from tests.stores import (
    check_sound,
    finish,
    next_claim,
    opened,
    orders_of,
    power_cut,
    rows,
    states,
    submission,
    timeline,
)
from trials.clients import Answer

NAMES: Final = ("one", "two", "three")
DEMO: Final = {"app": "jobstore.demo:create_app"}
WAITING: Final = "WAITING_FOR_OTHER_JOB"


async def chained(client: Client, *definitions: dict[str, Any]) -> list[int]:
    """Run definitions one after the other, and return the ids of the executions."""
    query = "&".join(f"configuration={definition['id']}" for definition in definitions)
    executions: list[int] = said(await client("POST", f"{SEQUENTIAL}?{query}"))["job-execution-ids"]
    return executions


async def three(client: Client, kind: str = "wait", **members: Any) -> list[int]:
    """Run three pieces of work behind gates as a chain."""
    return await chained(
        client,
        *[
            await defined(client, name=name, path=f"/{name}", target=f"/{kind}/{name}", **members)
            for name in NAMES
        ],
    )


async def words(client: Client, executions: list[int]) -> list[str]:
    """Ask for the status of each execution."""
    return [(await details(client, execution))["jobStatus"] for execution in executions]


async def causes(client: Client, executions: list[int]) -> list[str]:
    """Ask why each execution has not succeeded."""
    return [(await details(client, execution))["errorMessage"] for execution in executions]


async def all_ended(client: Client, executions: list[int]) -> list[str]:
    """Wait until a chain is through, and return how each of its executions has ended."""
    for execution in executions:
        await ended(client, execution)
    return await words(client, executions)


async def started(client: Client) -> list[str]:
    """Ask which pieces of work were started, in order."""
    names: list[str] = value(await client("GET", "/started"))
    return names


def not_before(execution: int) -> str:
    return f"job {execution}, which had to succeed first, did not"


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server whose work goes on when it is told to."""
    return Client(http, (await serve(target=GATED)).url)


@pytest.fixture
async def single(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time."""
    return Client(http, (await serve(target=GATED, executor={"concurrency": 1})).url)


@pytest.fixture
async def demo(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


# --- in order -----------------------------------------------------------------------------------


async def test_a_chain_is_made_at_once_and_in_order(gated: Client) -> None:
    definitions = [await defined(gated, path=f"/{n}", target=f"/wait/{n}") for n in NAMES]
    query = "&".join(f"configuration={one['id']}" for one in (definitions[i] for i in (2, 0, 1)))
    headers = {"Authorization": "Basic YW5hbHlzdDp4"}
    answer = said(await gated("POST", f"{SEQUENTIAL}?{query}", headers=headers))
    first = answer["job-execution-ids"][0]
    assert answer == {
        "status": "success",
        "job-execution-ids": [first, first + 1, first + 2],
        "job-execution-user": "analyst",
        "job-execution-trigger": "RESTAPI",
    }
    told = [await details(gated, execution) for execution in answer["job-execution-ids"]]
    assert [one["configurationId"] for one in told] == [definitions[i]["id"] for i in (2, 0, 1)]
    assert {(one["owner"], one["trigger"]) for one in told} == {("analyst", "SEQUENCE")}


async def test_each_one_starts_only_when_the_one_before_it_has_succeeded(
    gated: Client, store_path: Path
) -> None:
    executions = await three(gated)
    for at, name in enumerate(NAMES):
        await gated.when(name, "started")
        assert await started(gated) == [*NAMES[: at + 1]]
        waiting = [WAITING] * (2 - at)
        assert await words(gated, executions) == ["COMPLETED"] * at + ["RUNNING"] + waiting
        await gated.let(name)
        await ended(gated, executions[at])
    before, after = {"released"}, {"followed by"}
    for execution, more in zip(executions, (after, before | after, before), strict=True):
        told = sorted({"done", "started", "submitted"} | more)
        assert sorted(timeline(store_path, execution)) == told
    check_sound(store_path)


async def test_what_waits_is_told_as_waiting_in_every_vocabulary(gated: Client) -> None:
    definitions = [await defined(gated, path=f"/{n}", target=f"/wait/{n}") for n in NAMES]
    _, second, third = await chained(gated, *definitions)
    v1 = said(await gated("GET", f"/rest/job-configuration/job-status/{definitions[1]['id']}"))
    assert v1 == {"id": second, "jobStatus": WAITING}
    v2 = said(await gated("GET", f"/api/job-execution/{definitions[2]['path']}/status"))
    assert v2 == {
        "status": "success",
        "file-id": definitions[2]["file_id"],
        "job-execution-id": third,
        "job-status": WAITING,
        "start-time": None,
    }
    listed = said(await gated("GET", "/rest/jobs/list-running"))
    assert [job["jobStatus"] for job in listed][1:] == [WAITING, WAITING]
    assert value(await gated("GET", "/_api/job/pending"))[1:] == [str(second), str(third)]
    for method in ("GET", "PUT"):
        assert (await gated(method, f"/_api/job/{third}")).status == 204


async def test_warnings_do_not_stop_a_chain(demo: Client) -> None:
    late = await defined(demo, path="/late", target="/import?warnings=2")
    executions = await chained(demo, late, await defined(demo))
    assert await all_ended(demo, executions) == ["COMPLETED_WITH_Warnings", "COMPLETED"]


async def test_a_configuration_may_stand_in_a_chain_more_than_once(demo: Client) -> None:
    definition = await defined(demo)
    executions = await chained(demo, *[definition] * 100)
    assert await all_ended(demo, executions) == ["COMPLETED"] * 100


async def test_a_chain_of_one_is_an_ordinary_run(demo: Client) -> None:
    (execution,) = await chained(demo, await defined(demo))
    assert await all_ended(demo, [execution]) == ["COMPLETED"]


async def test_a_chain_goes_through_a_target_that_does_one_thing_at_a_time(single: Client) -> None:
    executions = await three(single)
    for name in NAMES:
        await single.when(name, "started")
        await single.let(name)
    assert await all_ended(single, executions) == ["COMPLETED"] * 3


async def test_what_waits_for_another_holds_no_slot(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED, executor={"concurrency": 2})).url)
    executions = await three(client)
    await client.when("one", "started")
    await client.let("other")
    assert (await client.fetched(await client.submit("/wait/other"))).status == 200
    assert await words(client, executions) == ["RUNNING", WAITING, WAITING]


async def test_a_part_that_may_run_goes_before_what_came_after_its_chain(single: Client) -> None:
    await three(single)
    other = await single.submit("/wait/other")
    for name in (*NAMES, "other"):
        await single.let(name)
    assert (await single.fetched(other)).status == 200
    assert await started(single) == [*NAMES, "other"]


async def test_a_chain_goes_from_target_to_target(serve: Serve, http: ClientSession) -> None:
    targets = [{**GATED, "concurrency": 1}, {**DEMO, "prefix": "/import", "concurrency": 1}]
    client = Client(http, (await serve(target=targets)).url)
    executions = await three_on_two_targets(client)
    await client.when("one", "started")
    assert await words(client, executions) == ["RUNNING", WAITING, WAITING]
    await client.let("one")
    await client.when("three", "started")
    assert await words(client, executions) == ["COMPLETED", "COMPLETED", "RUNNING"]


async def three_on_two_targets(client: Client) -> list[int]:
    """Run a chain whose second part is another target's."""
    targets = ("/wait/one", "/import?records=1", "/wait/three")
    return await chained(
        client,
        *[await defined(client, path=f"/{n}", target=t) for n, t in enumerate(targets)],
    )


# --- what is refused ----------------------------------------------------------------------------


async def test_one_unknown_configuration_and_nothing_is_created(demo: Client) -> None:
    definition = await defined(demo)
    gone = await defined(demo, path="/gone")
    await demo("DELETE", f"/rest/workbook/{gone['id']}")
    for other in (gone["id"], 7777, "9" * 30):
        query = f"configuration={definition['id']}&configuration={other}"
        answer = await demo("POST", f"{SEQUENTIAL}?{query}")
        assert said(answer, 404)["status"] == "failure"
    assert said(await demo("GET", f"/rest/job-configuration/job-history/{definition['id']}")) == []


async def test_a_chain_has_a_hundred_parts_at_most(demo: Client) -> None:
    definition = await defined(demo)
    query = "&".join([f"configuration={definition['id']}"] * 101)
    answer = await demo("POST", f"{SEQUENTIAL}?{query}")
    assert said(answer, 400)["reason"].endswith("1 to 100 times")
    assert value(await demo("GET", "/_api/job/pending")) == []


async def test_a_part_that_no_target_would_answer_and_nothing_is_created(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**GATED, "prefix": "/wait"})).url)
    here = await defined(client, path="/here", target="/wait/one")
    elsewhere = await defined(client, path="/elsewhere", target="/elsewhere")
    query = f"configuration={here['id']}&configuration={elsewhere['id']}"
    answer = await client("POST", f"{SEQUENTIAL}?{query}")
    assert said(answer, 404)["reason"] == "no target is configured for this path"
    assert value(await client("GET", "/_api/job/pending")) == []


async def test_a_body_that_is_too_large_for_a_job_is_too_large_in_a_chain_as_well(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED, capture={"body_limit": 3})).url)
    small = await defined(client, path="/small", target="/wait/it", body="abc")
    large = await defined(client, path="/large", target="/wait/it", body="abcd")
    one = f"configuration={large['id']}"
    for path in (f"{RUN}?{one}", f"{SEQUENTIAL}?configuration={small['id']}&{one}"):
        answer = await client("POST", path)
        assert said(answer, 413)["reason"] == "the request's body is larger than 3 bytes"
    assert value(await client("GET", "/_api/job/pending")) == []
    assert len(await chained(client, small, small)) == 2


async def test_a_chain_that_the_queue_has_no_room_for_is_refused_as_a_whole(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED, executor={"queue_limit": 3})).url)
    definition = await defined(client, target="/wait/it")
    await chained(client, definition, definition)
    query = "&".join([f"configuration={definition['id']}"] * 3)
    answer = await client("POST", f"{SEQUENTIAL}?{query}")
    assert (said(answer, 503)["status"], answer.headers["Retry-After"]) == ("failure", "1")
    assert len(value(await client("GET", "/_api/job/pending"))) == 2


@pytest.mark.parametrize("stopped", [0, 1])
async def test_what_a_broken_chain_leaves_behind_is_room_in_the_queue(
    serve: Serve, http: ClientSession, stopped: int
) -> None:
    client = Client(http, (await serve(target=GATED, executor={"queue_limit": 3})).url)
    definition = await defined(client, target="/wait/it")
    for _ in range(5):
        executions = await chained(client, definition, definition, definition)
        await client("POST", f"{KILL}/{executions[stopped]}")
        await client("POST", f"{KILL}/{executions[0]}")
        assert await all_ended(client, executions) == ["CANCELED"] * 3
    assert len(await chained(client, definition, definition, definition)) == 3


async def test_what_a_chain_that_is_through_leaves_behind_is_room_in_the_queue(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(executor={"queue_limit": 3})).url)
    definition = await defined(client)
    for _ in range(5):
        executions = await chained(client, definition, definition, definition)
        assert await all_ended(client, executions) == ["COMPLETED"] * 3


# --- when a part does not succeed ---------------------------------------------------------------


async def test_behind_an_error_everything_is_canceled_with_its_cause(
    demo: Client, store_path: Path
) -> None:
    good = await defined(demo, path="/good")
    bad = await defined(demo, path="/bad", target="/import?fail=true")
    executions = await chained(demo, good, bad, good, good)
    assert await all_ended(demo, executions) == ["COMPLETED", "ERROR", "CANCELED", "CANCELED"]
    assert (await causes(demo, executions))[1:] == [
        "status 500",
        not_before(executions[1]),
        not_before(executions[1]),
    ]
    events = "SELECT event, detail FROM timeline WHERE job_id = ? ORDER BY at, event DESC"
    for execution in executions[2:]:
        assert rows(store_path, events, execution) == [
            ("submitted", None),
            ("cancelled", not_before(executions[1])),
        ]
    check_sound(store_path)


async def test_behind_a_job_without_an_answer_everything_is_canceled(gated: Client) -> None:
    hasty = await defined(gated, path="/hasty", target="/wait/hasty", timeout="10ms")
    executions = await chained(gated, hasty, hasty)
    assert await all_ended(gated, executions) == ["ERROR", "CANCELED"]
    assert await started(gated) == ["hasty"]


async def test_behind_a_job_that_was_stopped_while_it_ran_everything_is_canceled(
    gated: Client, store_path: Path
) -> None:
    executions = await three(gated)
    await gated.when("one", "started")
    await gated("POST", f"{KILL}/{executions[0]}")
    assert await all_ended(gated, executions) == ["CANCELED"] * 3
    assert await causes(gated, executions) == [
        "cancelled while it ran",
        *[not_before(executions[0])] * 2,
    ]
    assert await started(gated) == ["one"]
    check_sound(store_path)


async def test_behind_a_job_that_was_stopped_before_its_turn_everything_is_canceled(
    single: Client,
) -> None:
    other = await single.submit("/wait/other")
    executions = await three(single)
    await single("POST", f"{KILL}/{executions[0]}")
    assert await words(single, executions) == ["CANCELED"] * 3
    await single.let("other")
    assert (await single.fetched(other)).status == 200
    assert await started(single) == ["other"]


async def test_stopping_one_that_waits_leaves_those_before_it_alone(
    gated: Client, store_path: Path
) -> None:
    executions = await three(gated)
    await gated.when("one", "started")
    assert (await gated("POST", f"{KILL}/{executions[1]}")).status == 200
    assert await words(gated, executions) == ["RUNNING", "CANCELED", "CANCELED"]
    await gated.let("one")
    assert await all_ended(gated, executions) == ["COMPLETED", "CANCELED", "CANCELED"]
    assert (await causes(gated, executions))[1:] == [
        "cancelled before it ran",
        not_before(executions[1]),
    ]
    assert await started(gated) == ["one"]
    check_sound(store_path)


async def test_a_canceled_part_of_a_chain_is_a_cancelled_job_for_arango(gated: Client) -> None:
    executions = await three(gated)
    await gated("PUT", f"/_api/job/{executions[1]}/cancel")
    answer = await gated.fetched(executions[2])
    assert (answer.status, json.loads(answer.body)["errorNum"]) == (410, 21)


async def test_a_part_that_is_deleted_while_it_waits_runs_for_nobody_and_the_chain_goes_on(
    gated: Client,
) -> None:
    executions = await three(gated)
    for execution in executions[:2]:
        assert (await gated("DELETE", f"/_api/job/{execution}")).status == 200
    for name in NAMES:
        await gated.let(name)
    assert await all_ended(gated, executions[2:]) == ["COMPLETED"]
    assert await started(gated) == [*NAMES]


async def test_a_part_that_is_deleted_while_it_waits_does_not_run_behind_an_error(
    gated: Client, store_path: Path
) -> None:
    executions = await three(gated)
    await gated("DELETE", f"/_api/job/{executions[1]}")
    await gated("POST", f"{KILL}/{executions[0]}")
    await ended(gated, executions[2])
    assert states(store_path)[executions[1]] == ("cancelled", "deleted")
    check_sound(store_path)


async def test_a_chain_whose_definitions_are_deleted_meanwhile_goes_on(gated: Client) -> None:
    definitions = [await defined(gated, path=f"/{n}", target=f"/wait/{n}") for n in NAMES]
    executions = await chained(gated, *definitions)
    await gated.when("one", "started")
    for definition in definitions:
        assert (await gated("DELETE", f"/rest/workbook/{definition['id']}")).status == 200
    for name in NAMES:
        await gated.let(name)
    assert await all_ended(gated, executions) == ["COMPLETED"] * 3
    assert {(await details(gated, execution))["name"] for execution in executions} == {"daily"}


async def test_secrets_of_parts_that_never_ran_are_forgotten(
    gated: Client, store_path: Path
) -> None:
    executions = await three(gated, headers={"Authorization": "Basic c2VjcmV0"})
    await gated("POST", f"{KILL}/{executions[0]}")
    await all_ended(gated, executions)
    kept = rows(store_path, "SELECT secrets FROM request")
    assert [secrets.strip() for (secrets,) in kept] == ["", "", ""]


async def test_parts_belong_to_who_made_the_chain(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    await with_accounts(store_path)
    client = Client(http, (await serve(target=GATED)).url)
    draft = {"name": "a", "path": "/a", "target": "/wait/it"}
    answer = await client("POST", "/_jobs/definitions", json=draft, headers=bearer("alice"))
    one = f"configuration={value(answer, 201)['id']}"
    call = ("POST", f"{SEQUENTIAL}?{one}&{one}")
    _, waiting = said(await client(*call, headers=bearer("alice")))["job-execution-ids"]
    told: dict[str, Answer] = {
        name: await client("GET", f"{DETAILS}/{waiting}", headers=bearer(name))
        for name in ("alice", "bob", "boss")
    }
    assert {name: answer.status for name, answer in told.items()} == {
        "alice": 200,
        "bob": 404,
        "boss": 200,
    }
    for name, status in (("bob", 404), ("alice", 200)):
        answer = await client("POST", f"{KILL}/{waiting}", headers=bearer(name))
        assert answer.status == status


# --- on a store ---------------------------------------------------------------------------------


@pytest.mark.file  # a server goes on beside the copy of its file
async def test_the_end_of_a_part_and_the_release_of_the_next_are_one_step(store_path: Path) -> None:
    names = [f"/{name}" for name in NAMES]
    capacities, routes = dict.fromkeys(names, 1), [route(name) for name in names]
    async with opened(store_path) as store:
        ids = await store.submissions.submit_chain(
            [submission(path=name, target=name) for name in names]
        )
        claim = await next_claim(orders_of(store, {names[0]: 1}))
        before = power_cut(store_path)
        async with opened(before) as cut:
            assert await recover(cut, *routes) == 1
            assert [state for state, _ in states(before).values()] == ["queued"] * 3
            again = await next_claim(orders_of(cut, capacities))
            assert (again.job_id, again.attempt) == (ids[0], 2)
        await finish(store, claim)
        after = power_cut(store_path)
    async with opened(after) as cut:
        assert await recover(cut, *routes) == 0
        assert [state for state, _ in states(after).values()] == ["done", "queued", "queued"]
        orders = orders_of(cut, capacities)
        for job_id in ids[1:]:
            claim = await next_claim(orders)
            assert claim.job_id == job_id
            await finish(cut, claim)
        assert {state for state, _ in states(after).values()} == {"done"}


# --- a real server that is killed ---------------------------------------------------------------


@pytest.fixture
async def real(
    server_process: Start, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> Restarting:
    """Give a real server whose work goes on when it is told to."""
    monkeypatch.setenv("JOBSTORE_SERVER__DIALECTS", "datameer")
    return Restarting(await server_process("--app", "tests.gates:create_app"), http)


async def come_to(real: Restarting, at: int, **members: Any) -> list[int]:
    """Start a chain, and return when one of its parts runs."""
    executions = await three(real.client, **members)
    for name in NAMES[:at]:
        await real.client.let(name)
    await real.client.when(NAMES[at], "started")
    return executions


@pytest.mark.parametrize("at", range(3))
async def test_a_get_that_ran_when_the_server_was_killed_runs_again_and_the_chain_goes_on(
    real: Restarting, store_path: Path, at: int
) -> None:
    executions = await come_to(real, at)
    await real.killed()
    await real.client.when(NAMES[at], "started")
    assert await words(real.client, executions) == [
        *["COMPLETED"] * at,
        "RUNNING",
        *[WAITING] * (2 - at),
    ]
    for name in NAMES:
        await real.client.let(name)
    assert await all_ended(real.client, executions) == ["COMPLETED"] * 3
    assert await started(real.client) == [*NAMES[at:]]
    attempts = [attempt for (attempt,) in rows(store_path, "SELECT attempt FROM job ORDER BY id")]
    assert attempts == [2 if part == at else 1 for part in range(3)]
    check_sound(store_path)


@pytest.mark.parametrize("at", range(3))
async def test_a_post_that_ran_when_the_server_was_killed_is_an_error_and_the_rest_is_canceled(
    real: Restarting, store_path: Path, at: int
) -> None:
    executions = await come_to(real, at, method="POST")
    await real.killed()
    assert await all_ended(real.client, executions) == [
        *["COMPLETED"] * at,
        "ERROR",
        *["CANCELED"] * (2 - at),
    ]
    why = await causes(real.client, executions)
    assert re.search(r"interrupted by .* at attempt 1", why[at])
    assert why[at + 1 :] == [not_before(executions[at])] * (2 - at)
    assert await started(real.client) == []
    failures = rows(store_path, "SELECT failure FROM job WHERE state = 'failed'")
    assert failures == [("interrupted",)]
    check_sound(store_path)


async def test_a_definition_may_say_that_what_was_interrupted_runs_again(
    real: Restarting,
) -> None:
    executions = await come_to(real, 1, method="POST", replay="always")
    await real.killed()
    for name in NAMES:
        await real.client.let(name)
    assert await all_ended(real.client, executions) == ["COMPLETED"] * 3


async def test_a_part_that_was_being_stopped_when_the_server_was_killed_is_canceled_with_the_rest(
    real: Restarting, store_path: Path
) -> None:
    executions = await three(real.client, kind="linger")
    await real.client.when("one", "started")
    await real.client("POST", f"{KILL}/{executions[0]}")
    await real.client.when("one", "cancelled")
    assert await words(real.client, executions) == ["RUNNING", WAITING, WAITING]
    await real.killed()
    assert await all_ended(real.client, executions) == ["CANCELED"] * 3
    assert (await causes(real.client, executions))[1:] == [not_before(executions[0])] * 2
    check_sound(store_path)


async def test_a_server_that_is_killed_between_two_parts_goes_on_with_the_second(
    server_process: Start, http: ClientSession, store_path: Path
) -> None:
    config = store_path.with_name("two.toml")
    config.write_text(
        '[server]\ndialects = ["datameer"]\n[[target]]\napp = "tests.gates:create_app"\n'
        '[[target]]\nprefix = "/import"\napp = "jobstore.demo:create_app"\nconcurrency = 1\n'
    )
    real = Restarting(await server_process("--config", str(config)), http)
    # It takes the one slot that the second part would need.
    busy = await real.client.submit("/import?seconds=3600", "POST")
    executions = await three_on_two_targets(real.client)
    await real.client.let("one")
    await ended(real.client, executions[0])
    assert await words(real.client, executions) == ["COMPLETED", "QUEUED", WAITING]
    await real.killed()
    await real.client.let("three")
    assert await all_ended(real.client, executions) == ["COMPLETED"] * 3
    assert (await real.client.fetched(busy)).status == 503
    check_sound(store_path)


async def test_a_waiting_part_that_was_stopped_stays_canceled_when_the_server_is_killed(
    real: Restarting, store_path: Path
) -> None:
    executions = await come_to(real, 0)
    await real.client("POST", f"{KILL}/{executions[1]}")
    await real.killed()
    await real.client.let("one")
    assert await all_ended(real.client, executions) == ["COMPLETED", "CANCELED", "CANCELED"]
    check_sound(store_path)


async def test_a_chain_goes_on_after_definitions_were_deleted_and_the_server_killed(
    real: Restarting,
) -> None:
    executions = await come_to(real, 0)
    for execution in executions:
        told = await details(real.client, execution)
        await real.client("DELETE", f"/rest/workbook/{told['configurationId']}")
    await real.killed()
    for name in NAMES:
        await real.client.let(name)
    assert await all_ended(real.client, executions) == ["COMPLETED"] * 3


async def test_a_server_that_stops_finishes_the_part_that_runs_and_starts_no_other(
    real: Restarting, store_path: Path
) -> None:
    executions = await come_to(real, 0)
    stopping = asyncio.create_task(real.server.terminate())
    definition = (await details(real.client, executions[0]))["configurationId"]
    while (await real.client("POST", f"{RUN}?configuration={definition}")).status != 503:
        pass
    await real.client.let("one")
    assert await stopping == 0
    assert [state for state, _ in states(store_path).values()][:3] == ["done", "queued", "queued"]
    await real.server.start()
    for name in NAMES:
        await real.client.let(name)
    assert await all_ended(real.client, executions) == ["COMPLETED"] * 3
    check_sound(store_path)
