"""Our own API: jobs as JSON, submitted, listed, looked at, taken, cancelled, retried, deleted."""

import asyncio
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from jobstore.model.passwords import digest
from jobstore.server import Server
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from trials.clients import Answer

STORE = {"x-arango-async": "store"}
PROBLEM = "application/problem+json"
UNKNOWN_IDS = ["0", "-1", "01", "abc", "999", str(2**63), "9" * 5000, "%20", "1.0"]
CALLS = [
    "GET /_jobs/{id}",
    "DELETE /_jobs/{id}",
    "GET /_jobs/{id}/timeline",
    "GET /_jobs/{id}/attempts",
    "GET /_jobs/{id}/events",
    "GET /_jobs/{id}/request",
    "GET /_jobs/{id}/response",
    "POST /_jobs/{id}/take",
    "POST /_jobs/{id}/cancel",
    "POST /_jobs/{id}/retry",
    "POST /_jobs/{id}/restore",
]
CHANGING = [call for call in CALLS if not call.startswith("GET")]
LOOKED_AT = [
    *(f"/_jobs{path}" for path in ("", "/1", "/99", "/x", "/definitions", "/definitions/1")),
    *(f"/_jobs/1/{part}" for part in ("timeline", "attempts", "events", "messages")),
    *(f"/_jobs/{name}" for name in ("operations", "activity", "statistics", "store", "targets")),
    *(f"/_jobs/{name}" for name in ("audit", "livez", "readyz", "metrics", "openapi.json")),
]


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "cancel_grace": "1h"}
    return Client(http, (await serve(target=GATED, executor=executor)).url)


async def submit(client: Client, **members: Any) -> Answer:
    """Submit a job as JSON."""
    return await client("POST", "/_jobs", data=json.dumps(members))


async def accepted(client: Client, **members: Any) -> int:
    """Submit a job as JSON, and return its id."""
    answer = await submit(client, **members)
    assert answer.status == 202, answer
    return int(json.loads(answer.body)["id"])


async def settled(client: Client, job_id: int) -> dict[str, Any]:
    """Wait until a job has ended, and return what is said of it."""
    answer = await client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=60"})
    job: dict[str, Any] = json.loads(answer.body)
    assert (answer.status, bool(job["finished_at"])) == (200, True)
    return job


async def done(client: Client, **members: Any) -> int:
    """Submit a job as JSON, and return its id when it has ended."""
    job_id = await accepted(client, **members)
    await settled(client, job_id)
    return job_id


async def taken(client: Client, job_id: int) -> Answer:
    """Take a result when it is there."""
    return await client("POST", f"/_jobs/{job_id}/take", headers={"Prefer": "wait=60"})


def problem(answer: Answer, status: int) -> str:
    """Check that an answer is a problem document, and return what it says."""
    document = json.loads(answer.body)
    assert (answer.status, document["status"]) == (status, status), answer
    assert answer.headers["Content-Type"].split(";")[0] == PROBLEM
    assert (document["type"], bool(document["title"])) == ("about:blank", True)
    return str(document["detail"])


def value(answer: Answer, status: int = 200) -> Any:
    """Check an answer's status, and return what it says."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    return json.loads(answer.body)


async def listed(client: Client, query: str = "") -> list[int]:
    """List the ids of jobs."""
    return [job["id"] for job in value(await client("GET", f"/_jobs{query}"))["jobs"]]


# --- submit -------------------------------------------------------------------------------------


async def test_a_job_is_taken_in_and_its_place_is_told(client: Client) -> None:
    answer = await submit(client, target="/greet/world")
    assert value(answer, 202) == {"id": 1, "location": "/_jobs/1"}
    assert answer.headers["Location"] == "/_jobs/1"
    result = await taken(client, 1)
    assert (result.status, json.loads(result.body)["name"]) == (200, "world")
    assert result.headers["Jobstore-Id"] == "1"


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({}, ""),
        ({"body": "gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n"}, "gr\u00c3\u00bcn"),
        ({"body_base64": b64encode(b"\x00\xff").decode()}, "\x00\xff"),
    ],
)
async def test_the_target_gets_the_request_as_it_was_written(
    client: Client, body: dict[str, str], sent: str
) -> None:
    headers = {"Content-Type": "text/plain", "X-Tag": ["a", "b"]}
    written = {"method": "PUT", "target": "/mirror/a%2Fb?c=d", "headers": headers, **body}
    seen = json.loads((await taken(client, await accepted(client, **written))).body)
    assert (seen["method"], seen["path"], seen["body"]) == ("PUT", "/mirror/a%2Fb?c=d", sent)
    assert ["content-type", "text/plain"] in seen["headers"]
    assert [each for name, each in seen["headers"] if name == "x-tag"] == ["a", "b"]


async def test_a_job_says_all_that_is_known_of_it(client: Client) -> None:
    job_id = await accepted(client, target="/progress", tag="mine", priority=-5)
    job = await settled(client, job_id)
    assert {
        name: job[name] for name in ("id", "state", "result", "dialect", "tag", "priority")
    } == {
        "id": job_id,
        "state": "done",
        "result": "held",
        "dialect": "native",
        "tag": "mine",
        "priority": -5,
    }
    assert (job["method"], job["path"], job["target"]) == ("GET", "/progress", "/")
    assert (job["status"], job["attempt"], job["failure"]) == (200, 1, None)
    assert (job["progress"], job["counters"], job["warnings"]) == (50.0, {"RECORDS": 3}, 1)
    assert job["submitted_at"] <= job["started_at"] <= job["finished_at"]


async def test_a_lower_priority_runs_first(gated: Client) -> None:
    await accepted(gated, target="/wait/first")
    await gated.when("first", "started")
    later = [await accepted(gated, target=f"/wait/{n}", priority=n) for n in (3, -1, 2)]
    for name in ("first", "3", "-1", "2"):
        await gated.let(name)
    for job_id in later:
        await settled(gated, job_id)
    assert value(await gated("GET", "/started")) == ["first", "-1", "2", "3"]


async def test_a_job_can_wait_for_its_time(client: Client) -> None:
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    for members in ({"delay": "24h"}, {"not_before": tomorrow.isoformat()}):
        job_id = await accepted(client, target="/greet/world", **members)
        job = value(await client("GET", f"/_jobs/{job_id}"))
        assert (job["state"], job["not_before"][:10]) == ("queued", f"{tomorrow:%Y-%m-%d}")


@pytest.mark.parametrize(
    "members",
    [
        {"not_before": "1999-12-31T23:59:59+01:00"},
        {"not_before": "0001-01-01T00:00:00Z"},
        {"delay": "0s"},
        {"delay": None, "not_before": None},
    ],
)
async def test_a_time_in_the_past_is_now(client: Client, members: dict[str, Any]) -> None:
    job_id = await accepted(client, target="/greet/world", **members)
    assert (await settled(client, job_id))["state"] == "done"


async def test_a_jobs_own_timeout_holds(gated: Client) -> None:
    job = await settled(gated, await accepted(gated, target="/wait/x", timeout="20ms"))
    assert (job["state"], job["failure"], job["status"]) == ("failed", "timeout", 504)


async def test_a_jobs_own_retries_hold(client: Client) -> None:
    job_id = await accepted(client, target="/status/503", retries=1, replay="always")
    job = await settled(client, job_id)
    assert (job["retried"], job["attempt"], job["status"]) == (1, 2, 503)
    attempts = value(await client("GET", f"/_jobs/{job_id}/attempts"))["attempts"]
    assert [(each["number"], each["status"]) for each in attempts] == [(1, 503), (2, 503)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, "target: expected the path"),
        ({"target": "greet"}, "target: expected the path"),
        ({"target": "/a b"}, "target: expected the path"),
        ({"method": "get"}, "method: expected a method"),
        ({"method": "CONNECT"}, "method: expected a method"),
        ({"headers": {"a b": "c"}}, "headers: expected an object"),
        ({"headers": {"a": "b\r\nc"}}, "headers: expected an object"),
        ({"headers": {"Host": "x"}}, "Host is set by jobstore"),
        ({"headers": {"Prefer": "x"}}, "Prefer is set by jobstore; leave it out"),
        ({"headers": {"Cookie": "[redacted]"}}, "Cookie is [redacted]"),
        ({"body": 1}, "body: expected a string"),
        ({"body_base64": "!"}, "body_base64: expected bytes in base64"),
        ({"body": "", "body_base64": ""}, "expected either body or body_base64"),
        ({"priority": 1.5}, "priority: expected a whole number"),
        ({"priority": True}, "priority: expected a whole number"),
        ({"priority": "1"}, "priority: expected a whole number"),
        ({"priority": 2**63}, "priority: expected a whole number"),
        ({"delay": "soon"}, "delay: expected a duration"),
        ({"delay": "-1s"}, "delay: expected a duration"),
        ({"delay": "36501d"}, "at most a hundred years"),
        ({"delay": "1s", "not_before": "2000-01-01T00:00:00Z"}, "either delay or not_before"),
        ({"not_before": "tomorrow"}, "not_before: expected a time with its zone"),
        ({"not_before": "2030-01-01T00:00:00"}, "not_before: expected a time with its zone"),
        ({"not_before": 1800000000}, "not_before: expected a time with its zone"),
        ({"not_before": "2999-01-01T00:00:00Z"}, "in less than a hundred years"),
        ({"timeout": 0}, "timeout: expected a duration"),
        ({"replay": "sometimes"}, 'replay: expected "idempotent"'),
        ({"retries": -1}, "retries: expected a whole number from 0 to 1000"),
        ({"tag": ""}, "tag: expected a handle"),
        ({"tag": "a\nb"}, "tag: expected a handle"),
        ({"tag": "x" * 256}, "tag: expected a handle"),
        ({"idempotency_key": ""}, "not an empty one"),
        ({"idempotency_key": 7}, "idempotency_key: expected a key"),
        ({"retrys": 1}, "did you mean retries?"),
    ],
)
@pytest.mark.file
async def test_what_is_no_job_is_refused_with_what_was_expected(
    client: Client, members: dict[str, Any], expected: str
) -> None:
    target = {} if not members else {"target": "/greet/world"}
    assert expected in problem(await submit(client, **{**target, **members}), 400)
    assert await listed(client) == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"null", b"\xff", b"[" * 100_000])
@pytest.mark.file
async def test_a_body_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    assert problem(await client("POST", "/_jobs", data=body), 400)


async def test_a_body_that_is_too_large_is_refused(client: Client) -> None:
    answer = await client("POST", "/_jobs", data=BytesIO(b" " * (2**20 + 1)))
    assert "larger than" in problem(answer, 413)


async def test_a_tag_that_is_taken_is_refused(client: Client) -> None:
    await accepted(client, target="/greet/world", tag="mine", delay="1h")
    assert "mine" in problem(await submit(client, target="/", tag="mine"), 409)


async def test_a_tag_is_free_again_once_its_job_has_ended(client: Client) -> None:
    first = await accepted(client, target="/greet/world", tag="mine")
    await client.ended(first)
    assert await accepted(client, target="/greet/world", tag="mine") > first


async def test_a_path_that_nobody_answers_is_refused(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target={"prefix": "/here", **ORDINARY})).url)
    assert "no target" in problem(await submit(client, target="/elsewhere"), 404)


async def test_a_full_queue_is_a_problem_to_try_again(serve: Serve, http: ClientSession) -> None:
    executor = {"concurrency": 1, "queue_limit": 1}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    await accepted(client, target="/wait/running")
    await client.when("running", "started")
    await accepted(client, target="/wait/waiting")
    answer = await submit(client, target="/wait/refused")
    assert "queue is full" in problem(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0


# --- list ---------------------------------------------------------------------------------------


async def test_jobs_are_listed_the_newest_first_page_by_page(client: Client) -> None:
    ids = [await done(client, target="/greet/world") for _ in range(5)]
    first = value(await client("GET", "/_jobs?limit=2"))
    await done(client, target="/greet/new")
    second = value(await client("GET", f"/_jobs?limit=2&cursor={first['next']}"))
    third = value(await client("GET", f"/_jobs?limit=2&cursor={second['next']}"))
    pages = [[job["id"] for job in page["jobs"]] for page in (first, second, third)]
    assert pages == [[ids[4], ids[3]], [ids[2], ids[1]], [ids[0]]]
    assert third["next"] is None


async def test_a_listed_job_is_written_like_any_other(client: Client) -> None:
    job_id = await done(client, target="/greet/world")
    (job,) = value(await client("GET", "/_jobs"))["jobs"]
    assert job == value(await client("GET", f"/_jobs/{job_id}"))


async def test_jobs_are_listed_by_what_is_asked_for(gated: Client) -> None:
    definition = {"name": "d", "path": "/d", "target": "/let/d"}
    await gated("POST", "/_jobs/definitions", data=json.dumps(definition))
    run = json.loads((await gated("POST", "/_jobs/definitions/1/run")).body)["id"]
    await settled(gated, run)
    missing = await done(gated, target="/no/such/path", tag="gone")
    let = await done(gated, target="/let/z")
    await taken(gated, let)
    running = await accepted(gated, target="/wait/x")
    queued = await accepted(gated, target="/wait/y")
    for query, found in {
        "": [queued, running, let, missing, run],
        "?state=queued": [queued],
        "?state=queued,running": [queued, running],
        "?state=queued&state=done": [queued, let, missing, run],
        "?result=taken": [let],
        "?result=none,held": [queued, running, missing, run],
        "?path=/let": [let, run],
        "?path=%2Fwait%2Fx": [running],
        "?path=/LET": [],
        "?target=/": [queued, running, let, missing, run],
        "?target=/x": [],
        "?definition=1": [run],
        "?trigger=RESTAPI": [run],
        "?tag=gone": [missing],
        "?status=404": [missing],
        "?status=4xx": [missing],
        "?status=2xx&result=held": [run],
        "?owner=": [queued, running, let, missing, run],
        "?owner=somebody": [],
        "?since=2000-01-01T00:00:00Z&limit=1": [queued],
        "?since=2999-01-01T00:00:00%2B01:00": [],
        "?until=2000-01-01T00:00:00+01:00": [],
        "?state=done&path=/let&status=200&limit=1": [let],
    }.items():
        assert await listed(gated, query) == found, query


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("state=finished", "state: expected one or more of queued, running"),
        ("state=", "state: expected one or more of"),
        ("result=x", "result: expected one or more of"),
        ("trigger=x", "trigger: expected one of RESTAPI"),
        ("definition=x", "definition: expected a whole number"),
        ("status=600", "status: expected a status code"),
        ("status=6xx", "status: expected a status code"),
        ("status=5XX", "status: expected a status code"),
        ("since=yesterday", "since: expected a time with its zone"),
        ("since=2026-01-01T00:00:00", "since: expected a time with its zone"),
        ("until=2026-13-01T00:00:00Z", "until: expected a time with its zone"),
        ("since=2026-01-02T00:00:00Z&until=2026-01-01T00:00:00Z", "until: expected a time that"),
        ("limit=0", "limit: expected a whole number from 1 to 1000"),
        ("limit=1001", "limit: expected a whole number from 1 to 1000"),
        ("limit=-1", "limit: expected a whole number from 1 to 1000"),
        ("limit=" + "9" * 5000, "limit: expected a whole number from 1 to 1000"),
        ("limit=1&limit=2", "limit: expected one value"),
        ("path=/a&path=/b", "path: expected one value"),
        ("stat=done", "stat: no such parameter; did you mean state?"),
        ("cursor=x", "cursor: expected the next of an earlier page"),
        ("cursor=", "cursor: expected the next of an earlier page"),
        ("cursor=%FF", "cursor: expected the next of an earlier page"),
    ],
)
@pytest.mark.file
async def test_a_query_that_makes_no_sense_is_refused(
    client: Client, query: str, expected: str
) -> None:
    assert expected in problem(await client("GET", f"/_jobs?{query}"), 400)


async def test_a_cursor_belongs_to_its_query(client: Client) -> None:
    for _ in range(3):
        await done(client, target="/greet/world")
    cursor = value(await client("GET", "/_jobs?state=done&path=/greet&limit=1"))["next"]
    assert await listed(client, f"?path=/greet&state=done&limit=2&cursor={cursor}") == [2, 1]
    for query in ("path=/greet", "state=done", "state=done&path=/gree", "state=failed&path=/greet"):
        answer = await client("GET", f"/_jobs?{query}&limit=1&cursor={cursor}")
        assert "another query" in problem(answer, 400)


async def test_what_is_counted_is_told(gated: Client) -> None:
    await done(gated, target="/let/z")
    await accepted(gated, target="/wait/x")
    await accepted(gated, target="/wait/y", delay="1h")
    found = value(await gated("GET", "/_jobs/statistics"))
    assert found["jobs"] == {"queued": 1, "running": 1, "done": 1, "failed": 0, "cancelled": 0}
    assert found["results"]["none"] + found["results"]["held"] == 3
    assert found["targets"]["/"] == {"running": 1, "concurrency": 1}


# --- look ---------------------------------------------------------------------------------------


async def test_a_look_waits_for_the_end_if_it_is_asked_to(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    now = await gated("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=0"})
    assert (now.headers["Preference-Applied"], now.headers["Vary"]) == ("wait=0", "Prefer")
    assert value(now)["finished_at"] is None
    looking = asyncio.create_task(settled(gated, job_id))
    await gated.when("x", "started")
    await gated.let("x")
    assert (await looking)["state"] == "done"


async def test_a_look_without_a_preference_applies_none(client: Client) -> None:
    answer = await client("GET", f"/_jobs/{await accepted(client, target='/greet/world')}")
    assert (answer.headers["Vary"], "Preference-Applied" in answer.headers) == ("Prefer", False)


async def test_many_may_wait_for_the_same_job(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    looks = [asyncio.create_task(settled(gated, job_id)) for _ in range(50)]
    await gated.when("x", "started")
    await gated.let("x")
    assert {(await look)["state"] for look in looks} == {"done"}


async def test_a_job_whose_result_nobody_wants_can_be_waited_for(gated: Client) -> None:
    await gated("POST", "/wait/x", headers={"x-arango-async": "true"})
    looking = asyncio.create_task(settled(gated, 1))
    await gated.when("x", "started")
    await gated.let("x")
    assert (await looking)["result"] == "unwanted"
    assert "submitted without keeping the result" in problem(await taken(gated, 1), 410)


async def test_the_timeline_tells_what_happened(client: Client) -> None:
    job_id = await done(client, target="/progress")
    await taken(client, job_id)
    answer = value(await client("GET", f"/_jobs/{job_id}/timeline"))
    assert answer["id"] == job_id
    events = [moment["event"] for moment in answer["timeline"]]
    assert events == ["submitted", "started", "warned", "done", "fetched"]
    assert [m["detail"] for m in answer["timeline"] if m["event"] == "warned"] == ["careful"]
    times = [moment["at"] for moment in answer["timeline"]]
    assert times == sorted(times)


async def test_the_attempts_are_told(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    await gated.when("x", "started")
    (attempt,) = value(await gated("GET", f"/_jobs/{job_id}/attempts"))["attempts"]
    assert (attempt["number"], attempt["ended_at"], attempt["status"]) == (1, None, None)


async def test_a_request_is_shown_without_its_secrets(client: Client) -> None:
    headers = {"Content-Type": "text/html", "Content-Language": "en", "Cookie": "secret"}
    members = {"method": "POST", "target": "/echo", "headers": headers, "body": "<b>"}
    job_id = await done(client, **members)
    answer = await client("GET", f"/_jobs/{job_id}/request")
    assert (answer.status, answer.body) == (200, b"<b>")
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.headers["Content-Language"] == "en"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert "secret" not in str(answer.headers)


@pytest.mark.parametrize("size", [0, 1000, 3 * 2**20])
async def test_messages_are_shown_as_often_as_one_likes(client: Client, size: int) -> None:
    body = b"x" * size
    headers = {**STORE, "Content-Type": "text/plain"}
    submitted = await client("POST", "/echo", data=BytesIO(body), headers=headers)
    job_id = int(submitted.headers["x-arango-async-id"])
    await settled(client, job_id)
    for _ in range(2):
        for message in ("request", "response"):
            shown = await client("GET", f"/_jobs/{job_id}/{message}")
            assert (shown.status, shown.body == body) == (200, True)
            assert shown.headers["Content-Type"] == "text/plain"
    assert (await taken(client, job_id)).body == body


async def test_a_response_is_shown_with_its_status_but_not_acted_on(client: Client) -> None:
    job_id = await done(client, target="/redirect")
    answer = await client("GET", f"/_jobs/{job_id}/response")
    assert (answer.status, answer.headers["Jobstore-Status"]) == (200, "302")
    assert "Location" not in answer.headers
    cookies = await client("GET", f"/_jobs/{await done(client, target='/cookies')}/response")
    assert (cookies.body, "Set-Cookie" in cookies.headers) == (b"cookies", False)
    assert cookies.headers.getall("X-Twice") == ["one", "two"]


async def test_there_is_no_response_before_the_end_or_without_an_answer(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    await gated.when("x", "started")
    assert "has not ended yet" in problem(await gated("GET", f"/_jobs/{job_id}/response"), 409)
    await gated("POST", f"/_jobs/{job_id}/cancel")
    await settled(gated, job_id)
    said = problem(await gated("GET", f"/_jobs/{job_id}/response"), 404)
    assert "there was no answer: cancelled while it ran" in said


async def test_what_was_purged_says_so_and_since_when(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    fetched = await done(client, target="/greet/world")
    await taken(client, fetched)
    expired = await done(client, target="/greet/world")
    await server.store.results.expire(2**62)
    deleted = await done(client, target="/greet/world")
    await client("DELETE", f"/_jobs/{deleted}")
    await server.store.upkeep.purge(2**62)
    for job_id, why in {
        fetched: "delivered at 2",
        expired: "expired at 2",
        deleted: "deleted at 2",
    }.items():
        for message in ("request", "response"):
            said = problem(await client("GET", f"/_jobs/{job_id}/{message}"), 404)
            assert (why in said, "purged" in said) == (True, job_id != deleted)
        for change in ("restore", "retry", "take"):
            assert why in problem(await client("POST", f"/_jobs/{job_id}/{change}"), 410)


# --- take and restore ---------------------------------------------------------------------------


async def test_a_result_is_given_once_and_then_it_says_when(client: Client) -> None:
    job_id = await done(client, target="/cookies")
    result = await client("POST", f"/_jobs/{job_id}/take")
    assert (result.status, result.body) == (200, b"cookies")
    assert result.headers.getall("Set-Cookie")
    assert result.headers["Jobstore-Id"] == str(job_id)
    assert "its result was delivered at 2" in problem(await taken(client, job_id), 410)
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404


async def test_a_result_that_is_not_there_yet_is_to_be_asked_for_again(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    answer = await gated("POST", f"/_jobs/{job_id}/take", headers={"Prefer": "wait=0"})
    assert value(answer, 202)["id"] == job_id
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["Preference-Applied"] == "wait=0"
    taking = asyncio.create_task(taken(gated, job_id))
    await gated.when("x", "started")
    await gated.let("x")
    assert (await taking).body == b"x is done"


async def test_one_of_many_readers_gets_the_result(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    taking = [asyncio.create_task(taken(gated, job_id)) for _ in range(10)]
    await gated.when("x", "started")
    await gated.let("x")
    statuses = sorted([(await each).status for each in taking])
    assert statuses == [200] + [410] * 9


async def test_a_result_that_was_taken_can_be_held_again(client: Client) -> None:
    job_id = await done(client, target="/greet/world")
    assert "still has its result" in problem(await client("POST", f"/_jobs/{job_id}/restore"), 409)
    first = await taken(client, job_id)
    restored = value(await client("POST", f"/_jobs/{job_id}/restore"))
    assert (restored["result"], restored["fetched_at"]) == ("held", None)
    assert (await taken(client, job_id)).body == first.body


async def test_what_was_never_taken_cannot_be_restored(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    assert "not ended yet" in problem(await gated("POST", f"/_jobs/{job_id}/restore"), 409)


async def test_what_has_expired_says_when(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    job_id = await done(client, target="/greet/world")
    await server.store.results.expire(2**62)
    for change in ("take", "restore"):
        answer = await client("POST", f"/_jobs/{job_id}/{change}")
        assert "its result expired at 2" in problem(answer, 410)


# --- cancel, retry, delete ----------------------------------------------------------------------


async def test_a_queued_job_is_cancelled_at_once(client: Client) -> None:
    job_id = await accepted(client, target="/greet/world", delay="1h")
    job = value(await client("POST", f"/_jobs/{job_id}/cancel"))
    assert (job["state"], job["detail"]) == ("cancelled", "cancelled before it ran")
    assert "the job was cancelled" in problem(await taken(client, job_id), 410)
    assert "delivered at" in problem(await taken(client, job_id), 410)


async def test_a_running_job_is_asked_to_stop(gated: Client) -> None:
    job_id = await accepted(gated, target="/linger/x")
    await gated.when("x", "started")
    job = value(await gated("POST", f"/_jobs/{job_id}/cancel"), 202)
    assert (job["state"], bool(job["cancel_asked_at"])) == ("running", True)
    await gated.when("x", "cancelled")
    await gated.let("x")
    assert (await settled(gated, job_id))["state"] == "cancelled"


async def test_what_has_ended_cannot_be_cancelled(client: Client) -> None:
    job_id = await done(client, target="/greet/world")
    assert "has already ended: it is done" in problem(
        await client("POST", f"/_jobs/{job_id}/cancel"), 409
    )
    await taken(client, job_id)
    assert "delivered at" in problem(await client("POST", f"/_jobs/{job_id}/cancel"), 410)


@pytest.mark.parametrize("size", [5, 3 * 2**20])
async def test_a_job_is_tried_again_as_a_new_one(client: Client, size: int) -> None:
    headers = {**STORE, "Content-Type": "text/plain"}
    body = b"x" * size
    submitted = await client("POST", "/echo", data=BytesIO(body), headers=headers)
    job_id = int(submitted.headers["x-arango-async-id"])
    await taken(client, job_id)
    answer = await client("POST", f"/_jobs/{job_id}/retry")
    again = value(answer, 202)
    assert answer.headers["Location"] == again["location"] == f"/_jobs/{job_id + 1}"
    assert again["forgotten"] == []
    result = await taken(client, again["id"])
    assert (result.body == body, result.headers["Content-Type"]) == (True, "text/plain")


async def test_a_job_that_is_tried_again_keeps_its_own_terms(client: Client) -> None:
    members = {"timeout": "5s", "replay": "always", "retries": 1, "priority": 7}
    job_id = await done(client, target="/status/503", **members)
    again = value(await client("POST", f"/_jobs/{job_id}/retry"), 202)["id"]
    job = await settled(client, again)
    assert (job["retried"], job["priority"]) == (1, 7)


async def test_a_job_that_is_tried_again_names_the_secrets_that_are_forgotten(
    client: Client,
) -> None:
    headers = {"Cookie": "a=b", "X-Mine": "yes"}
    job_id = await done(client, target="/mirror/", headers=headers)
    why = problem(await client("POST", f"/_jobs/{job_id}/retry"), 409)
    assert "was sent with Cookie, which is not kept" in why
    assert "/retry?without_secrets=yes" in why
    assert await listed(client) == [job_id], "nothing was submitted"
    again = value(await client("POST", f"/_jobs/{job_id}/retry?without_secrets=yes"), 202)
    assert again["forgotten"] == ["Cookie"]
    seen = [name for name, _ in json.loads((await taken(client, again["id"])).body)["headers"]]
    assert ("x-mine" in seen, "cookie" in seen) == (True, False)


async def test_a_job_that_has_not_ended_cannot_be_tried_again(gated: Client) -> None:
    running = await accepted(gated, target="/wait/x")
    await gated.when("x", "started")
    queued = await accepted(gated, target="/wait/y")
    for job_id, state in {running: "running", queued: "queued"}.items():
        assert f"is {state};" in problem(await gated("POST", f"/_jobs/{job_id}/retry"), 409)


async def test_a_deleted_job_stays_in_the_history_and_says_when(client: Client) -> None:
    job_id = await done(client, target="/greet/world")
    answer = await client("DELETE", f"/_jobs/{job_id}")
    assert (answer.status, answer.body) == (204, b"")
    assert value(await client("GET", f"/_jobs/{job_id}"))["result"] == "deleted"
    for call in ("DELETE {}", "POST {}/take", "POST {}/restore", "POST {}/retry"):
        method, path = call.format(f"/_jobs/{job_id}").split()
        assert "it was deleted at 2" in problem(await client(method, path), 410)
    for message in ("request", "response"):
        assert "deleted at 2" in problem(await client("GET", f"/_jobs/{job_id}/{message}"), 404)


async def test_a_job_that_is_deleted_while_it_runs_goes_on(gated: Client) -> None:
    job_id = await accepted(gated, target="/wait/x")
    await gated.when("x", "started")
    assert (await gated("DELETE", f"/_jobs/{job_id}")).status == 204
    await gated.let("x")
    job = await settled(gated, job_id)
    assert (job["state"], job["result"]) == ("done", "deleted")


# --- who may do what ----------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("job_id", UNKNOWN_IDS)
@pytest.mark.file
async def test_a_job_that_does_not_exist_is_not_found(
    client: Client, call: str, job_id: str
) -> None:
    method, path = call.format(id=job_id).split()
    assert "no job" in problem(await client(method, path), 404)


@pytest.mark.parametrize("call", [*CALLS, "POST /_jobs", "GET /_jobs/statistics"])
@pytest.mark.file
async def test_any_other_method_is_not_allowed(client: Client, call: str) -> None:
    method, path = call.format(id=1).split()
    answer = await client("PATCH", path)
    assert method in answer.headers["Allow"]
    assert "expected one of the methods" in problem(answer, 405)


@pytest.mark.parametrize("path", LOOKED_AT)
@pytest.mark.file
async def test_head_is_answered_wherever_get_is(client: Client, path: str) -> None:
    await done(client, target="/greet/world")
    await client("POST", "/_jobs/definitions", json={"name": "a", "path": "/a", "target": "/a"})
    head, whole = await client("HEAD", path), await client("GET", path)
    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers["Content-Type"] == whole.headers["Content-Type"]


@pytest.mark.parametrize("path", ["/_jobs/1/other", "/_jobs/", "/_jobs/1/take/2", "/_jobs/1/"])
@pytest.mark.file
async def test_a_call_that_does_not_exist_says_so(client: Client, path: str) -> None:
    assert "no such call" in problem(await client("GET", path), 404)


@pytest.fixture
async def guarded(serve: Serve) -> Server:
    """Give a server with an account of each role; the token of each is its name."""
    server = await serve(target=ORDINARY)
    for name, role in {
        "ada": Role.ADMIN,
        "uma": Role.USER,
        "udo": Role.USER,
        "rea": Role.READER,
    }.items():
        await server.store.accounts.add(name, role, "unused")
        await server.store.accounts.add_token(name, "test", digest(name))
    return server


def holding(token: str) -> dict[str, dict[str, str]]:
    """Make the options of a request by whoever holds a token."""
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def test_the_jobs_of_others_do_not_exist(guarded: Server, http: ClientSession) -> None:
    client = Client(http, guarded.url)
    wanted = {**holding("uma")["headers"], "Prefer": "respond-async"}
    assert (await client("GET", "/greet/world", headers=wanted)).status == 202
    for call in CALLS:
        method, path = call.format(id=1).split()
        assert "no job 1" in problem(await client(method, path, **holding("udo")), 404)
    for who, found in {"udo": 0, "uma": 1, "ada": 1, "rea": 1}.items():
        assert len(value(await client("GET", "/_jobs", **holding(who)))["jobs"]) == found
        named = await client("GET", "/_jobs?owner=uma", **holding(who))
        assert len(value(named)["jobs"]) == found


async def test_a_cursor_is_no_good_to_somebody_else(guarded: Server, http: ClientSession) -> None:
    client = Client(http, guarded.url)
    for who in ("uma", "uma", "udo", "udo"):
        wanted = {**holding(who)["headers"], "Prefer": "respond-async"}
        await client("GET", "/greet/world", headers=wanted)
    cursor = value(await client("GET", "/_jobs?limit=1", **holding("uma")))["next"]
    answer = await client("GET", f"/_jobs?limit=1&cursor={cursor}", **holding("udo"))
    assert "another query" in problem(answer, 400)


async def test_a_reader_may_look_and_change_nothing(guarded: Server, http: ClientSession) -> None:
    client = Client(http, guarded.url)
    wanted = {**holding("uma")["headers"], "Prefer": "respond-async, wait=0"}
    await client("GET", "/greet/world", headers=wanted)
    for call in [*CHANGING, "POST /_jobs"]:
        method, path = call.format(id=1).split()
        assert "a reader may see" in problem(await client(method, path, **holding("rea")), 403)
    assert value(await client("GET", "/_jobs/1", **holding("rea")))["owner"] == "uma"


async def test_only_who_sees_all_jobs_may_count_them(guarded: Server, http: ClientSession) -> None:
    client = Client(http, guarded.url)
    assert problem(await client("GET", "/_jobs/statistics", **holding("uma")), 403)
    for who in ("ada", "rea"):
        assert value(await client("GET", "/_jobs/statistics", **holding(who)))["jobs"]


async def test_what_an_admin_tries_again_is_still_its_owners(
    guarded: Server, http: ClientSession
) -> None:
    client = Client(http, guarded.url)
    wanted = {**holding("uma")["headers"], "Prefer": "respond-async, wait=60"}
    await client("GET", "/greet/world", headers=wanted)
    again = value(await client("POST", "/_jobs/1/retry", **holding("ada")), 202)["id"]
    assert value(await client("GET", f"/_jobs/{again}", **holding("uma")))["owner"] == "uma"


async def test_a_stranger_is_turned_away(guarded: Server, http: ClientSession) -> None:
    answer = await Client(http, guarded.url)("GET", "/_jobs")
    assert (answer.status, "WWW-Authenticate" in answer.headers) == (401, True)


async def test_a_job_may_ask_this_api_itself(client: Client) -> None:
    job_id = await accepted(client, target="/_jobs?limit=1")
    result = await taken(client, job_id)
    assert [job["id"] for job in json.loads(result.body)["jobs"]] == [job_id]
    again = await taken(client, await accepted(client, target="/_jobs/1/take", method="POST"))
    assert again.status == 410
