"""Many jobs at once: operations on them, and batches of submissions."""

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve, Start
from tests.dialects.test_native_jobs import accepted, done, listed, problem, settled, value
from tests.stores import check_sound
from trials.clients import Answer


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "cancel_grace": "1h"}
    return Client(http, (await serve(target=GATED, executor=executor)).url)


async def asked(client: Client, **members: Any) -> Answer:
    """Ask for an operation."""
    return await client("POST", "/_jobs/operations", data=json.dumps(members))


async def made(client: Client, **members: Any) -> dict[str, Any]:
    """Make an operation, and give what is said of it when it is over."""
    return await over(client, value(await asked(client, **members), 202)["id"])


async def over(client: Client, operation: int) -> dict[str, Any]:
    """Give what is said of an operation when it is over."""
    while True:
        said: dict[str, Any] = value(await client("GET", f"/_jobs/operations/{operation}"))
        if said["state"] != "running":
            return said


async def refused(client: Client, **members: Any) -> str:
    """Ask for an operation that is none."""
    return problem(await asked(client, **members), 400)


async def failed(client: Client, count: int) -> list[int]:
    """Submit jobs that are answered with 500, and wait for their ends."""
    return [await done(client, target="/status/500") for _ in range(count)]


async def events(client: Client, job_id: int) -> list[tuple[str, str | None]]:
    """Give what happened to a job."""
    told = value(await client("GET", f"/_jobs/{job_id}/timeline"))
    return [(each["event"], each["detail"]) for each in told["timeline"]]


# --- operations ---------------------------------------------------------------------------------


async def test_what_matches_is_counted_first_and_then_done(client: Client) -> None:
    ids = await failed(client, 3)
    await done(client, target="/greet/world")
    counted = await asked(client, action="retry", filter={"status": "5xx"}, dry_run=True)
    assert value(counted) == {"action": "retry", "count": 3, "forgotten": 0}
    answer = await asked(client, action="retry", filter={"status": 500}, expect=3)
    told = value(answer, 202)
    assert answer.headers["Location"] == f"/_jobs/operations/{told['id']}"
    assert (told["count"], told["forgotten"]) == (3, 0)
    said = await over(client, told["id"])
    assert (said["state"], said["done"], said["skipped"], said["reasons"]) == ("done", 3, 0, {})
    assert (said["filter"], said["action"]) == ({"status": 500}, "retry")
    assert said["finished_at"] >= said["created_at"]
    assert len(await listed(client, "?path=/status")) == 6
    assert ("tried again", "as job 5, by operation 1") in await events(client, ids[0])


async def test_what_was_tried_again_already_is_not_once_more(client: Client) -> None:
    (first, second) = await failed(client, 2)
    value(await client("POST", f"/_jobs/{first}/retry"), 202)
    await settled(client, 3)
    assert (await made(client, action="retry", filter={"status": 500}))["done"] == 2  # 2 and 3
    for job_id in (4, 5):
        await settled(client, job_id)
    said = await made(client, action="retry", ids=[first, second])
    assert said["reasons"] == {"was already run again": 2}


async def test_nothing_is_done_if_another_number_matches_than_was_expected(client: Client) -> None:
    await failed(client, 2)
    answer = await asked(client, action="retry", filter={"status": 500}, expect=1)
    assert "expected 1 job to match, but 2 do" in problem(answer, 409)
    assert json.loads(answer.body)["count"] == 2
    assert value(await client("GET", "/_jobs/operations"))["operations"] == []


async def test_what_waits_is_cancelled_and_what_runs_is_stopped(gated: Client) -> None:
    ids = [await accepted(gated, target=f"/wait/{name}") for name in "abc"]
    await gated.when("a", "started")
    said = await made(gated, action="cancel", filter={"path": "/wait"})
    assert (said["done"], said["skipped"]) == (3, 0)
    for job_id in ids:
        assert (await settled(gated, job_id))["state"] == "cancelled"
    assert value(await gated("GET", f"/_jobs/{ids[2]}"))["cancel_asked_at"]
    again = await made(gated, action="cancel", ids=[ids[0], 99])
    assert again["reasons"] == {
        "has already ended: it is cancelled": 1,
        "there is no such job": 1,
    }


async def test_what_an_operation_deletes_comes_back_and_what_a_client_deletes_does_not(
    client: Client,
) -> None:
    kept, gone = await done(client, target="/greet/a"), await done(client, target="/greet/b")
    assert (await made(client, action="delete", ids=[kept]))["done"] == 1
    assert (await client("DELETE", f"/_jobs/{gone}")).status == 204
    for job_id in (kept, gone):
        problem(await client("GET", f"/_jobs/{job_id}/response"), 404)
        problem(await client("POST", f"/_jobs/{job_id}/take"), 410)
        assert (await client("GET", f"/_api/job/{job_id}")).status == 404
    said = await made(client, action="restore", ids=[kept, gone])
    assert said["reasons"] == {"it was deleted, and its payload is not kept": 1}
    answer = await client("POST", f"/_jobs/{kept}/take")
    assert (answer.status, json.loads(answer.body)["name"]) == (200, "a")
    assert ("restored", "by operation 2") in await events(client, kept)
    assert (await made(client, action="restore", filter={"state": "done"}))["done"] == 1


async def test_a_single_restore_undoes_a_deletion_as_well(client: Client) -> None:
    job_id = await done(client, target="/greet/a")
    await made(client, action="delete", ids=[job_id])
    assert value(await client("POST", f"/_jobs/{job_id}/restore"))["result"] == "held"
    assert (await client("POST", f"/_jobs/{job_id}/take")).status == 200


async def test_secret_headers_are_missed_before_anything_is_sent_without_them(
    client: Client,
) -> None:
    headers = {"Authorization": "Basic b25lOnR3bw==", "X-Plain": "1"}
    await done(client, target="/greet/a", headers=headers)
    counted = await asked(client, action="retry", filter={"path": "/greet"}, dry_run=True)
    assert value(counted) == {"action": "retry", "count": 1, "forgotten": 1}
    said = await made(client, action="retry", filter={"path": "/greet"})
    assert said["reasons"] == {"had secret headers that are not kept: Authorization": 1}
    said = await made(client, action="retry", filter={"path": "/greet"}, without_secrets=True)
    assert said["done"] == 1


async def test_a_filter_that_leaves_no_job_out_has_to_say_so(client: Client) -> None:
    await failed(client, 2)
    states = ["queued", "running", "done", "failed", "cancelled"]
    for everything in ({}, {"path": "/"}, {"state": states}, {"path": "", "state": states}):
        said = await refused(client, action="delete", filter=everything)
        assert said == 'filter: this matches every job; say {"all": true} if you mean all jobs'
    assert (await made(client, action="delete", filter={"all": True}))["done"] == 2


async def test_an_operation_for_no_job_is_over_at_once(client: Client) -> None:
    told = value(await asked(client, action="cancel", filter={"tag": "nobody"}), 202)
    assert (told["state"], told["count"]) == ("done", 0)
    assert told["finished_at"]


async def test_it_is_for_the_jobs_that_matched_when_it_was_made(gated: Client) -> None:
    await accepted(gated, target="/wait/a")
    await gated.when("a", "started")
    said = await made(gated, action="cancel", filter={"path": "/wait"})
    later = await accepted(gated, target="/wait/b")
    assert (said["count"], said["done"]) == (1, 1)
    await gated.let("b")
    assert (await settled(gated, later))["state"] == "done"


async def test_a_large_body_is_sent_again_whole(client: Client) -> None:
    body = b"0123456789abcdef" * 40_000
    await client.done("/upload", "POST", data=body)
    await client.done("/greet/a")
    said = await made(client, action="retry", filter={"state": "done"})
    assert (said["done"], said["skipped"]) == (2, 0)
    await settled(client, 3)
    answer = await client("GET", "/_jobs/3/request")
    assert answer.body == body


async def test_it_waits_for_room_in_the_queue(serve: Serve, http: ClientSession) -> None:
    executor = {"concurrency": 1, "queue_limit": 3}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    for name in "abcd":
        job_id = await accepted(client, target=f"/wait/{name}")
        await client.let(name)
        await settled(client, job_id)
    await accepted(client, target="/wait/last")  # which takes the slot
    told = value(await asked(client, action="retry", filter={"state": "done"}), 202)
    while not (said := value(await client("GET", f"/_jobs/operations/{told['id']}")))["waits"]:
        assert said["state"] == "running"
    assert "queue is full" in said["waits"]
    await client.let("last")
    said = await over(client, told["id"])
    assert (said["done"], said["waits"]) == (4, None)


async def test_it_is_stopped_and_what_it_has_done_stays_done(
    serve: Serve, http: ClientSession
) -> None:
    executor = {"concurrency": 1, "queue_limit": 1}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    for name in "abcd":
        job_id = await accepted(client, target=f"/wait/{name}")
        await client.let(name)
        await settled(client, job_id)
    await accepted(client, target="/wait/last")  # which takes the slot
    told = value(await asked(client, action="retry", filter={"state": "done"}), 202)
    path = f"/_jobs/operations/{told['id']}"
    while not value(await client("GET", path))["waits"]:
        pass
    said = value(await client("DELETE", path))
    assert (said["state"], said["stopped_by"], said["waits"]) == ("stopped", "", None)
    assert 0 < said["done"] < 4
    assert value(await client("DELETE", path)) == said  # which is over already
    assert value(await client("GET", path)) == said


async def test_two_operators_on_one_selection_do_nothing_twice(client: Client) -> None:
    *_, last = await failed(client, 4)
    # Only these: the jobs that take their place soon fail as well.
    until = value(await client("GET", f"/_jobs/{last}"))["finished_at"]
    first, second = [
        value(await asked(client, action="retry", filter={"status": 500, "until": until}), 202)
        for _ in range(2)
    ]
    one, other = await over(client, first["id"]), await over(client, second["id"])
    assert one["done"] + other["done"] == 4
    assert len(await listed(client, "?path=/status")) == 8


async def test_operations_are_listed_newest_first_page_by_page(client: Client) -> None:
    ids = [
        value(await asked(client, action="cancel", filter={"tag": str(n)}), 202)["id"]
        for n in range(3)
    ]
    page = value(await client("GET", "/_jobs/operations?limit=2"))
    assert [each["id"] for each in page["operations"]] == [ids[2], ids[1]]
    page = value(await client("GET", f"/_jobs/operations?limit=2&before={page['next']}"))
    assert ([each["id"] for each in page["operations"]], page["next"]) == ([ids[0]], None)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "action: expected one of"),
        ({"action": "rety", "filter": {"tag": "x"}}, 'action: expected one of "cancel", "retry"'),
        ({"action": 1, "ids": [1]}, "action: expected one of"),
        ({"action": "retry"}, "expected either filter or ids"),
        ({"action": "retry", "ids": [1], "filter": {"tag": "x"}}, "expected either filter or ids"),
        ({"action": "retry", "ids": []}, "ids: expected a list of 1 to 1000 ids"),
        ({"action": "retry", "ids": [*range(1, 1002)]}, "ids: expected a list of 1 to 1000 ids"),
        ({"action": "retry", "ids": ["1"]}, "ids: expected a list"),
        ({"action": "retry", "ids": [True]}, "ids: expected a list"),
        ({"action": "retry", "ids": [0]}, "ids: expected a list"),
        ({"action": "retry", "ids": [2**63]}, "ids: expected a list"),
        ({"action": "retry", "ids": 1}, "ids: expected a list"),
        ({"action": "retry", "filter": "state=failed"}, "filter: expected an object of filters"),
        ({"action": "retry", "filter": {"stat": "failed"}}, "filter.stat: no such filter; did you"),
        ({"action": "retry", "filter": {"state": "bad"}}, "filter.state: expected one or more of"),
        ({"action": "retry", "filter": {"state": [1, {}]}}, "filter.state: expected text or a"),
        ({"action": "retry", "filter": {"state": []}}, "filter.state: expected text or a list"),
        ({"action": "retry", "filter": {"tag": None}}, "filter.tag: expected text"),
        ({"action": "retry", "filter": {"status": True}}, "filter.status: expected text or a num"),
        ({"action": "retry", "filter": {"status": "9xx"}}, "filter.status: expected a status"),
        ({"action": "retry", "filter": {"since": "soon"}}, "filter.since: expected a time"),
        ({"action": "retry", "filter": {"all": False}}, "filter.all: expected true"),
        ({"action": "retry", "filter": {"all": None}}, "filter.all: expected true"),
        ({"action": "retry", "filter": {"all": {}}}, "filter.all: expected true"),
        ({"action": "retry", "filter": {"all": 1}}, "filter.all: expected true"),
        (
            {"action": "retry", "filter": {"all": True, "tag": "x"}},
            "filter.all: expected true, and",
        ),
        (
            {"action": "retry", "ids": [1], "expect": "1"},
            "expect: expected a whole number, or null",
        ),
        ({"action": "retry", "ids": [1], "expect": -1}, "expect: expected a whole number, or null"),
        ({"action": "retry", "ids": [1], "dry_run": 1}, "dry_run: expected true or false"),
        (
            {"action": "retry", "ids": [1], "dryrun": True},
            "dryrun: no such member; did you mean dr",
        ),
        (
            {"action": "cancel", "ids": [1], "without_secrets": True},
            "expected only with the action retry",
        ),
    ],
)
async def test_what_is_no_operation_is_refused_with_what_was_expected(
    client: Client, members: dict[str, Any], expected: str
) -> None:
    assert expected in await refused(client, **members)


async def test_what_is_no_operation_that_one_could_look_at_is_refused(client: Client) -> None:
    for word in ("0", "abc", "99", "9" * 30, str(2**63)):
        for method in ("GET", "DELETE"):
            assert "no operation" in problem(await client(method, f"/_jobs/operations/{word}"), 404)
    for query in ("limit=0", "limit=x", "before=0", f"before={2**63}", "befor=1"):
        problem(await client("GET", f"/_jobs/operations?{query}"), 400)


async def test_who_may_act_on_whose_jobs_is_as_for_single_actions(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=ORDINARY), stack)
        admin = await people.with_token("root", Role.ADMIN)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        reader = await people.with_token("watch", Role.READER)
        own, other = await failed(alice, 1), await failed(bob, 1)
        problem(await asked(reader, action="retry", filter={"status": 500}), 403)
        said = await made(alice, action="retry", filter={"status": 500})
        assert (said["count"], said["done"], said["owner"]) == (1, 1, "alice")
        assert (await made(alice, action="delete", ids=[*own, *other]))["reasons"] == {
            "there is no such job": 1
        }
        for stranger, method in ((bob, "GET"), (bob, "DELETE"), (reader, "DELETE")):
            answer = await stranger(method, f"/_jobs/operations/{said['id']}")
            problem(answer, 403 if stranger is reader else 404)
        assert value(await bob("GET", "/_jobs/operations"))["operations"] == []
        assert len(value(await reader("GET", "/_jobs/operations"))["operations"]) == 2
        assert (await made(admin, action="delete", filter={"all": True}))["done"] == 2


async def test_it_goes_on_where_it_was_after_kill_9(
    server_process: Start, http: ClientSession, store_path: Any
) -> None:
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    jobs = [{"target": f"/wait/{number}"} for number in range(1000)]
    value(await client("POST", "/_jobs/batch", data=json.dumps({"jobs": jobs})), 202)
    told = value(await asked(client, action="cancel", filter={"path": "/wait"}), 202)
    path = f"/_jobs/operations/{told['id']}"
    while not (done := value(await client("GET", path))["done"]):
        pass
    await server.kill()
    assert done < 1000, "it was on its way"
    server = await server_process("--app", "tests.gates:create_app")
    client = Client(http, server.url)
    await client.ended(1000)
    said = await over(client, told["id"])
    assert (said["done"], said["count"]) == (1000, 1000)
    await server.kill()
    check_sound(store_path)


# --- batches ------------------------------------------------------------------------------------


async def batch(client: Client, *jobs: object) -> Answer:
    """Submit several jobs at once."""
    return await client("POST", "/_jobs/batch", data=json.dumps({"jobs": jobs}))


async def test_a_batch_is_taken_in_with_one_commit(client: Client) -> None:
    jobs = [{"target": f"/greet/{number}"} for number in range(1000)]
    told = value(await batch(client, *jobs), 202)
    assert told["jobs"] == [{"id": n, "location": f"/_jobs/{n}"} for n in range(1, 1001)]
    assert (await settled(client, 1000))["status"] == 200
    times = {job["submitted_at"] for job in value(await client("GET", "/_jobs?limit=1000"))["jobs"]}
    assert len(times) == 1


async def test_all_of_a_batch_is_refused_with_the_place_of_what_is_wrong(gated: Client) -> None:
    client, fine = gated, {"target": "/wait/a"}
    answer = await batch(client, fine, fine, {"target": "/wait/b", "prioritty": 1})
    expected = "jobs[2]: prioritty: no such member; did you mean priority?"
    assert (problem(answer, 400), json.loads(answer.body)["index"]) == (expected, 2)
    await accepted(client, target="/wait/a", tag="mine")
    answer = await batch(client, fine, {"target": "/wait/b", "tag": "mine"})
    assert problem(answer, 409).startswith("jobs[1]: a job with the tag mine")
    assert await listed(client) == [1]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({}, "expected an object with jobs"),
        ([], "expected an object with jobs"),
        ({"jobs": []}, "a list of 1 to 1000 jobs"),
        ({"jobs": {}}, "a list of 1 to 1000 jobs"),
        ({"jobs": [{"target": "/"}], "dry_run": True}, "and nothing else"),
        ({"jobs": [{"target": "/"}] * 1001}, "these are 1001"),
        ({"jobs": [1]}, "jobs[0]: expected an object with a target"),
        ({"jobs": [{"target": "/"}, {}]}, "jobs[1]: target: expected the path"),
    ],
)
async def test_what_is_no_batch_is_refused_with_what_was_expected(
    client: Client, document: object, expected: str
) -> None:
    answer = await client("POST", "/_jobs/batch", data=json.dumps(document))
    assert expected in problem(answer, 400)


async def test_a_key_in_a_batch_is_its_jobs_own(client: Client) -> None:
    keyed = {"target": "/greet/a", "idempotency_key": "one"}
    first = value(await batch(client, keyed, {"target": "/greet/b"}), 202)["jobs"]
    again = value(await batch(client, {"target": "/greet/c"}, keyed), 202)["jobs"]
    assert again[1] == first[0]
    answer = await batch(client, {**keyed, "target": "/greet/d"})
    assert problem(answer, 422).startswith("jobs[0]: ")
    answer = await client(
        "POST", "/_jobs/batch", data='{"jobs": [{"target": "/"}]}', headers={"Idempotency-Key": "x"}
    )
    assert "an idempotency_key in each job" in problem(answer, 400)


# --- bodies that are JSON -----------------------------------------------------------------------


@pytest.mark.parametrize("body", [{"x": [1, 2.5, "é", None, True]}, [], "text", 0, None, False])
async def test_a_job_may_have_json_for_its_body(client: Client, body: object) -> None:
    job_id = await done(client, method="POST", target="/upload", json=body)
    answer = await client("GET", f"/_jobs/{job_id}/request")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.body) == body


async def test_json_stands_in_for_a_body_and_not_beside_one(client: Client) -> None:
    answer = await client(
        "POST", "/_jobs", data=json.dumps({"target": "/upload", "json": 1, "body": "x"})
    )
    assert "expected either json or body or body_base64" in problem(answer, 400)
    typed = {"headers": {"content-type": "application/vnd.api+json"}, "json": {}}
    job_id = await done(client, method="POST", target="/upload", **typed)
    answer = await client("GET", f"/_jobs/{job_id}/request")
    assert answer.headers["Content-Type"] == "application/vnd.api+json"
