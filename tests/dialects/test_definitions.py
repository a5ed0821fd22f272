"""Definitions over HTTP: how they are made, read, changed, listed, deleted and run."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

from jobstore.model.account import Role
from jobstore.model.passwords import digest
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import owned, rows
from trials.clients import Answer

DEFINITIONS = "/_jobs/definitions"
DRAFT = {"name": "daily", "path": "/Imports/daily", "target": "/import?records=10"}
DEFAULTS: dict[str, Any] = {
    "method": "GET",
    "headers": {},
    "retries": None,
    "schedule": None,
    "fires_at": None,
    "body": None,
    "timeout": None,
    "replay": None,
}
SECRET = "Basic YWxpY2U6c2VjcmV0"
ABSENT = "0b8f0a52-7e8c-4f0e-8d5e-3f6f6d4c1a11"


async def defined(client: Client, **members: Any) -> dict[str, Any]:
    """Put a definition in, and return it as the server has it."""
    answer = await client("POST", DEFINITIONS, json={**DRAFT, **members})
    assert answer.status == 201, answer
    definition: dict[str, Any] = json.loads(answer.body)
    return definition


def problem(answer: Answer) -> str:
    """Give what a problem document says; anything else is an error of the test."""
    assert answer.headers["Content-Type"].startswith("application/problem+json"), answer
    document = json.loads(answer.body)
    assert document["status"] == answer.status
    return str(document["detail"])


def value(answer: Answer, status: int = 200) -> Any:
    """Give the JSON value of an answer with a status."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"].startswith("application/json")
    return json.loads(answer.body)


def streamed(said: Any) -> io.BytesIO:
    """Write JSON so that the client sends it piece by piece, however large it is."""
    return io.BytesIO(json.dumps(said).encode())


async def listed(client: Client, query: str = "") -> list[str]:
    """List the paths of definitions."""
    found = value(await client("GET", DEFINITIONS + query))
    return [definition["path"] for definition in found["definitions"]]


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server whose work goes on when it is told to."""
    return Client(http, (await serve(target=GATED)).url)


@pytest.fixture
async def ordinary(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server with an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


# --- create and read ----------------------------------------------------------------------------


async def test_a_definition_is_created_with_defaults_for_what_it_does_not_say(
    client: Client,
) -> None:
    answer = await client("POST", DEFINITIONS, json=DRAFT)
    created = value(answer, 201)
    assert answer.headers["Location"] == f"{DEFINITIONS}/{created['id']}"
    own = ("id", "file_id", "uuid", "owner", "created_at", "changed_at")
    assert {name: created[name] for name in created if name not in own} == {**DRAFT, **DEFAULTS}
    assert (created["owner"], created["changed_at"]) == ("", created["created_at"])
    assert created["file_id"] != created["id"]


async def test_all_that_a_definition_says_comes_back(client: Client) -> None:
    said = {
        "name": "Größte Läufe ☂",
        "path": "/Ünïcode/größte läufe.v2.wbk",
        "method": "POST",
        "target": "/import?records=1&x=%C3%A9",
        "headers": {"Accept": "text/csv", "X-Tag": ["a", "b"]},
        "body": "ein Körper\r\n",
        "timeout": 1.5,
        "replay": "always",
    }
    created = value(await client("POST", DEFINITIONS, json=said), 201)
    assert {name: created[name] for name in said} == said
    assert value(await client("GET", f"{DEFINITIONS}/{created['id']}")) == created


async def test_a_definition_is_found_by_its_id_and_by_its_uuid_in_any_case(client: Client) -> None:
    created = await defined(client)
    for reference in (created["id"], created["uuid"], created["uuid"].upper()):
        assert value(await client("GET", f"{DEFINITIONS}/{reference}")) == created
    assert (await client("GET", f"{DEFINITIONS}/0{created['id']}")).status == 404
    head = await client("HEAD", f"{DEFINITIONS}/{created['id']}")
    assert (head.status, head.body) == (200, b"")


async def test_who_creates_a_definition_owns_it(client: Client) -> None:
    headers = {"Authorization": "Basic YW5hbHlzdDp4"}
    created = value(await client("POST", DEFINITIONS, json=DRAFT, headers=headers), 201)
    assert created["owner"] == "analyst"


async def test_a_body_that_is_no_text_is_said_in_base64(ordinary: Client) -> None:
    body = bytes(range(256))
    encoded = base64.b64encode(body).decode()
    created = await defined(ordinary, method="POST", target="/mirror/it", body_base64=encoded)
    assert (created["body_base64"], "body" in created) == (encoded, False)
    mirrored = json.loads((await run_to_its_end(ordinary, created)).body)
    assert mirrored["body"].encode("latin-1") == body


async def test_a_duration_is_said_with_its_unit(client: Client) -> None:
    assert (await defined(client, timeout="15m"))["timeout"] == 900


async def test_a_path_is_compared_in_one_way_however_its_letters_are_composed(
    client: Client,
) -> None:
    composed, apart = "/Übung", "/U\u0308bung"
    assert (await defined(client, path=apart))["path"] == composed
    answer = await client("POST", DEFINITIONS, json={**DRAFT, "path": composed})
    assert (answer.status, composed in problem(answer)) == (409, True)
    for written in (composed, apart):
        assert await listed(client, f"?path={written}") == [composed]


async def test_two_definitions_cannot_have_the_same_path(client: Client) -> None:
    await defined(client)
    answer = await client("POST", DEFINITIONS, json={**DRAFT, "name": "another"})
    assert (answer.status, problem(answer)) == (
        409,
        "a definition with the path /Imports/daily already exists",
    )
    assert await listed(client) == ["/Imports/daily"]


@pytest.mark.parametrize("path", ["/a.b/.c/d..e", "/100%2Fpart", "/a b", "/~", "/x" * 512, "/..."])
async def test_a_path_may_hold_dots_and_percent_signs_and_is_not_decoded(
    client: Client, path: str
) -> None:
    assert (await defined(client, path=path))["path"] == path
    answer = await client.http.get(client.url + DEFINITIONS, params={"path": path})
    assert [one["path"] for one in (await answer.json())["definitions"]] == [path]


# --- what is no definition ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "said"),
    [
        ("name", ["", " ", "\n", "a\tb", "x" * 256, None, 7]),
        ("path", ["", "x", "/", "//a", "/a/", "/a//b", "/a/./b", "/../a", "/a/ /b", "/\n"]),
        ("path", [None, 1, ["/a"], "/" + "x" * 1024]),
        ("method", ["", "get", "GET ", "G-T", "CONNECT", "A" * 21, None, 5]),
        ("target", ["", "x", "http://x/", "/a b", "/é", "/a#b", "/\n", "/" + "x" * 8192, None]),
        ("headers", [[], "A: b", {"A b": "c"}, {"": "c"}, {"A": "b\r\nC: d"}, {"A": 1}]),
        ("headers", [{"A": None}, {"A": ["b", 1]}]),
        ("headers", [{"Host": "x"}, {"content-length": "1"}, {"Connection": "close"}]),
        ("headers", [{"Prefer": "respond-async"}, {"X-Arango-Async": "store"}]),
        ("headers", [{"A": "[redacted]"}, {"A": ["[redacted]"]}]),
        ("body", [1, ["a"], {"a": "b"}]),
        ("body_base64", ["a", "ä", "====", "YQ==\n", 5]),
        ("timeout", [0, -1, "0s", "soon", "never", "1 year", True, [1], 1e300]),
        ("replay", ["", "sometimes", "ALWAYS", 1, True]),
    ],
)
@pytest.mark.file
async def test_a_member_that_cannot_be_used_is_named(
    client: Client, member: str, said: list[Any]
) -> None:
    for one in said:
        answer = await client("POST", DEFINITIONS, data=streamed({**DRAFT, member: one}))
        assert (answer.status, member in problem(answer)) == (400, True), one
    assert await listed(client) == []


async def test_a_body_of_more_than_a_mebibyte_is_refused(client: Client) -> None:
    encoded = base64.b64encode(bytes(2**20 + 1)).decode()
    for body in ({"body": "x" * (2**20 + 1)}, {"body_base64": encoded}):
        answer = await client("POST", DEFINITIONS, data=streamed({**DRAFT, **body}))
        assert answer.status == 413
        assert problem(answer) == "the request's body is larger than 1048576 bytes"


async def test_an_unknown_member_is_told_the_nearest_known_one(client: Client) -> None:
    answer = await client("POST", DEFINITIONS, json={**DRAFT, "timeot": 5})
    assert (answer.status, problem(answer)) == (
        400,
        "timeot: no such member; did you mean timeout?",
    )


async def test_every_problem_is_told_at_once(client: Client) -> None:
    answer = await client("POST", DEFINITIONS, json={"method": "get", "pth": "/a"})
    lines = problem(answer).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["method", "target", "name", "path", "pth"]


async def test_very_many_problems_are_not_all_told(client: Client) -> None:
    members = {f"{number}": 0 for number in range(4_000)} | {"x" * 10**5: 0}
    answer = await client("POST", DEFINITIONS, data=streamed({**members, **DRAFT}))
    assert (answer.status, len(problem(answer).splitlines()) <= 20) == (400, True)


async def test_a_body_cannot_be_said_twice(client: Client) -> None:
    answer = await client("POST", DEFINITIONS, json={**DRAFT, "body": "a", "body_base64": "YQ=="})
    assert (answer.status, "either body or body_base64" in problem(answer)) == (400, True)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"\xff\xfe\xfd", b'{"name": }', b"[" * 9_000, b'{"timeout": ' + b"9" * 5000],
)
@pytest.mark.file
async def test_what_is_not_json_is_refused(client: Client, body: bytes) -> None:
    for method, path in [("POST", ""), ("PATCH", f"/{(await defined(client))['id']}")]:
        answer = await client(method, DEFINITIONS + path, data=body)
        assert (answer.status, problem(answer)) == (400, "the body is not valid JSON")


@pytest.mark.parametrize("said", [[], "text", 7, None, True, [DRAFT]])
@pytest.mark.file
async def test_what_is_json_but_no_object_is_refused(client: Client, said: Any) -> None:
    for method, path in [("POST", ""), ("PATCH", f"/{(await defined(client))['id']}")]:
        answer = await client(method, DEFINITIONS + path, data=json.dumps(said))
        assert (answer.status, "expected an object" in problem(answer)) == (400, True)


async def test_json_is_read_whatever_its_content_type_says(client: Client) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await client("POST", DEFINITIONS, data=json.dumps(DRAFT), headers=headers)
    assert answer.status == 201


async def test_what_is_too_large_to_be_a_definition_is_refused(client: Client) -> None:
    answer = await client("POST", DEFINITIONS, data=io.BytesIO(b" " * (2**20 + 1)))
    assert (answer.status, "larger than" in problem(answer)) == (413, True)


async def test_a_definition_is_a_mebibyte_of_json_at_most(client: Client) -> None:
    said = json.dumps({**DRAFT, "body": "\x01" * 170_000}).encode()
    for blanks, status in [(2**20 - len(said), 201), (2**20 - len(said) + 1, 413)]:
        answer = await client("POST", DEFINITIONS, data=io.BytesIO(said + b" " * blanks))
        assert answer.status == status


# --- change -------------------------------------------------------------------------------------


async def test_a_change_leaves_what_it_does_not_name(client: Client) -> None:
    created = await defined(client, timeout=5, headers={"A": "b"})
    answer = await client("PATCH", f"{DEFINITIONS}/{created['id']}", json={"name": "nightly"})
    changed = value(answer)
    assert {**created, "name": "nightly", "changed_at": changed["changed_at"]} == changed
    assert value(await client("GET", f"{DEFINITIONS}/{created['id']}")) == changed


async def test_null_takes_a_member_back_to_its_default(client: Client) -> None:
    created = await defined(
        client, method="POST", timeout=5, replay="never", headers={"A": "b"}, body="x"
    )
    answer = await client("PATCH", f"{DEFINITIONS}/{created['id']}", json=dict.fromkeys(DEFAULTS))
    assert {name: value(answer)[name] for name in DEFAULTS} == DEFAULTS


@pytest.mark.parametrize("changes", [{"name": None}, {"path": None}, {"target": None}])
async def test_what_has_no_default_cannot_be_taken_back(
    client: Client, changes: dict[str, Any]
) -> None:
    created = await defined(client)
    answer = await client("PATCH", f"{DEFINITIONS}/{created['id']}", json=changes)
    assert (answer.status, next(iter(changes)) in problem(answer)) == (400, True)
    assert value(await client("GET", f"{DEFINITIONS}/{created['id']}")) == created


@pytest.mark.parametrize(
    ("before", "changes", "after"),
    [
        ({"body": "a"}, {"body_base64": "/w=="}, {"body_base64": "/w=="}),
        ({"body_base64": "/w=="}, {"body": "a"}, {"body": "a"}),
        ({"body_base64": "/w=="}, {"body": None}, {"body": None}),
        ({"body_base64": "/w=="}, {"name": "b"}, {"body_base64": "/w=="}),
    ],
)
async def test_a_body_may_change_between_text_and_bytes(
    client: Client, before: dict[str, Any], changes: dict[str, Any], after: dict[str, Any]
) -> None:
    created = await defined(client, **before)
    changed = value(await client("PATCH", f"{DEFINITIONS}/{created['id']}", json=changes))
    assert {name: changed[name] for name in changed if name.startswith("body")} == after


async def test_a_definition_cannot_take_the_path_of_another(client: Client) -> None:
    await defined(client)
    other = await defined(client, path="/Imports/other")
    answer = await client("PATCH", f"{DEFINITIONS}/{other['id']}", json={"path": "/Imports/daily"})
    assert (answer.status, "/Imports/daily" in problem(answer)) == (409, True)
    same = await client("PATCH", f"{DEFINITIONS}/{other['id']}", json={"path": "/Imports/other"})
    assert same.status == 200


async def test_what_a_run_sends_is_what_its_definition_said_when_it_was_started(
    gated: Client,
) -> None:
    created = await defined(gated, target="/wait/old")
    job_id = await run(gated, created)
    await gated("PATCH", f"{DEFINITIONS}/{created['id']}", json={"target": "/wait/new"})
    await gated.let("old")
    assert (await gated.fetched(job_id)).body == b"old is done"


# --- list ---------------------------------------------------------------------------------------


async def test_definitions_are_listed_page_by_page_in_the_order_in_which_they_were_made(
    client: Client,
) -> None:
    paths = [(await defined(client, path=f"/{number}"))["path"] for number in (3, 1, 2)]
    assert await listed(client) == paths
    first = value(await client("GET", f"{DEFINITIONS}?limit=2"))
    assert [one["path"] for one in first["definitions"]] == paths[:2]
    second = value(await client("GET", f"{DEFINITIONS}?limit=2&after={first['next']}"))
    assert ([one["path"] for one in second["definitions"]], second["next"]) == (paths[2:], None)


async def test_one_definition_is_listed_by_its_path_and_none_if_there_is_none(
    client: Client,
) -> None:
    await defined(client)
    assert await listed(client, "?path=/Imports/daily") == ["/Imports/daily"]
    for path in ("/Imports", "/imports/daily", "Imports/daily", "", "/../x"):
        assert await listed(client, f"?path={path}") == []


@pytest.mark.parametrize(
    "query", ["limit=x", "limit=-1", "after=1.5", "after=", "limit=" + "9" * 30]
)
@pytest.mark.file
async def test_a_page_that_cannot_be_read_is_refused(client: Client, query: str) -> None:
    answer = await client("GET", f"{DEFINITIONS}?{query}")
    assert (answer.status, problem(answer)) == (
        400,
        f"{query.partition('=')[0]}: expected a whole number",
    )


@pytest.mark.parametrize("name", ["limit", "after", "path"])
@pytest.mark.file
async def test_a_page_that_is_said_in_two_ways_is_refused(client: Client, name: str) -> None:
    answer = await client("GET", f"{DEFINITIONS}?{name}=1&{name}=2")
    assert (answer.status, problem(answer)) == (400, f"{name}: expected one value")


@pytest.mark.parametrize("query", ["?limit=0", "?after=999999999999999999", "?unknown=1&limit=5"])
async def test_an_empty_page_is_an_empty_list(client: Client, query: str) -> None:
    assert value(await client("GET", DEFINITIONS + query)) == {"definitions": [], "next": None}


# --- delete -------------------------------------------------------------------------------------


async def test_a_deleted_definition_is_gone_and_its_path_is_free(client: Client) -> None:
    created = await defined(client)
    one = f"{DEFINITIONS}/{created['id']}"
    answer = await client("DELETE", one)
    assert (answer.status, answer.body) == (204, b"")
    for method, path in [("GET", one), ("PATCH", one), ("DELETE", one), ("POST", f"{one}/run")]:
        assert (await client(method, path, json={})).status == 404
    again = await defined(client)
    assert (again["path"], again["id"] > created["id"]) == (created["path"], True)


async def test_nothing_secret_of_a_deleted_definition_stays_in_the_store(
    client: Client, store_path: Path
) -> None:
    created = await defined(client, headers={"Authorization": SECRET})
    await client("DELETE", f"{DEFINITIONS}/{created['id']}")
    assert rows(store_path, "SELECT headers, secrets FROM definition") == [("[]", None)]


# --- run ----------------------------------------------------------------------------------------


async def run(client: Client, definition: dict[str, Any]) -> int:
    """Start a run, and return the job's id."""
    started = value(await client("POST", f"{DEFINITIONS}/{definition['id']}/run"), 202)
    job_id: int = started["id"]
    return job_id


async def run_to_its_end(client: Client, definition: dict[str, Any]) -> Answer:
    """Start a run, and fetch its result."""
    return await client.fetched(await run(client, definition))


async def test_a_run_is_a_job_that_sends_the_definitions_request(ordinary: Client) -> None:
    created = await defined(
        ordinary,
        method="PUT",
        target="/mirror/it?a=%2F&b=1",
        headers={"X-Tag": ["a", "b"], "Accept": "text/csv"},
        body="ein Körper",
    )
    mirrored = json.loads((await run_to_its_end(ordinary, created)).body)
    assert (mirrored["method"], mirrored["path"]) == ("PUT", "/mirror/it?a=%2F&b=1")
    assert mirrored["body"].encode("latin-1").decode() == "ein Körper"
    sent = [item for item in mirrored["headers"] if item[0] in {"x-tag", "accept"}]
    assert sent == [["x-tag", "a"], ["x-tag", "b"], ["accept", "text/csv"]]


async def test_the_answer_to_a_run_says_where_its_result_will_be(client: Client) -> None:
    created = await defined(client)
    answer = await client("POST", f"{DEFINITIONS}/{created['uuid']}/run")
    job_id = value(answer, 202)["id"]
    assert value(answer, 202)["location"] == answer.headers["Location"] == f"/_jobs/{job_id}"
    await client.ended(job_id)
    assert (await client("POST", answer.headers["Location"] + "/take")).status == 200


async def test_secrets_are_hidden_in_every_answer_and_sent_with_every_run(
    serve: Serve, http: ClientSession, services: Services, store_path: Path
) -> None:
    seen: list[tuple[str | None, str | None]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.headers.get("Authorization"), request.headers.get("X-Key")))
        return web.Response()

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", note)
    target = {"upstream": await services.application(app)}
    server = await serve(target=target, privacy={"redact": ["x-key"]})
    client = Client(http, server.url)
    created = await defined(client, headers={"Authorization": SECRET, "X-Key": "k1", "A": "b"})
    one = f"{DEFINITIONS}/{created['id']}"
    changed = value(await client("PATCH", one, json={"name": "b", "target": "/other"}))
    found = value(await client("GET", f"{DEFINITIONS}?path=/Imports/daily"))["definitions"][0]
    for shown in (created, changed, found, value(await client("GET", one))):
        assert shown["headers"] == {"Authorization": "[redacted]", "X-Key": "[redacted]", "A": "b"}

    for _ in range(2):
        await client.ended(await run(client, created))
    assert seen == [(SECRET, "k1")] * 2
    kept = rows(store_path, "SELECT secrets FROM request")
    assert [secrets.strip() for (secrets,) in kept] == ["", ""], "the jobs have forgotten them"


async def test_what_comes_back_redacted_is_not_taken_for_the_value(client: Client) -> None:
    created = await defined(client, headers={"Authorization": SECRET})
    one = f"{DEFINITIONS}/{created['id']}"
    answer = await client("PATCH", one, json={"headers": created["headers"]})
    assert (answer.status, "give its value" in problem(answer)) == (400, True)


async def test_a_run_takes_no_longer_than_its_definition_allows(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**GATED, "timeout": "1h"})).url)
    created = await defined(client, target="/wait/it", timeout="50ms")
    answer = await run_to_its_end(client, created)
    assert (answer.status, json.loads(answer.body)["detail"]) == (
        504,
        "the target did not answer within 0.05 s",
    )


async def test_a_definition_may_allow_more_time_than_its_target_does(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**GATED, "timeout": "50ms"})).url)
    hasty = await defined(client, target="/wait/hasty")
    patient = await defined(client, path="/patient", target="/wait/patient", timeout="1h")
    job_id = await run(client, patient)
    assert (await run_to_its_end(client, hasty)).status == 504
    await client.let("patient")
    assert (await client.fetched(job_id)).status == 200


async def test_a_run_for_which_there_is_no_target_is_refused(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**GATED, "prefix": "/wait"})).url)
    created = await defined(client, target="/elsewhere")
    answer = await client("POST", f"{DEFINITIONS}/{created['id']}/run")
    assert (answer.status, "no target" in problem(answer)) == (404, True)


async def test_a_run_that_the_queue_has_no_room_for_is_refused_for_now(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1, "queue_limit": 1})
    client = Client(http, server.url)
    created = await defined(client, target="/wait/it")
    await run(client, created)
    await run(client, created)
    answer = await client("POST", f"{DEFINITIONS}/{created['id']}/run")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert "the queue is full" in problem(answer)


async def test_a_run_may_be_asked_for_by_a_job(client: Client) -> None:
    created = await defined(client)
    path = f"{DEFINITIONS}/{created['id']}/run"
    answer = await client.fetched(await client.submit(path, "POST"))
    assert answer.status == 202
    assert (await client.fetched(json.loads(answer.body)["id"])).status == 200


# --- how it is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "reference",
    [
        "0",
        "01",
        "7",
        "-1",
        "1.0",
        "9" * 19,
        "9" * 30,
        "9" * 5000,
        "x",
        "%00",
        "%C3%A9",
        "%FF",
        ABSENT,
    ],
)
async def test_what_is_not_there_is_not_found(client: Client, reference: str) -> None:
    one = f"{DEFINITIONS}/{reference}"
    for method, path in [("GET", one), ("PATCH", one), ("DELETE", one), ("POST", f"{one}/run")]:
        answer = await client(method, path, json={})
        assert (answer.status, "no definition" in problem(answer)) == (404, True)


@pytest.mark.parametrize(
    ("path", "methods", "allowed"),
    [
        ("", ["PUT", "PATCH", "DELETE"], "GET, POST"),
        ("/1", ["PUT", "POST"], "GET, PATCH, DELETE"),
        ("/1/run", ["GET", "PUT", "DELETE"], "POST"),
    ],
)
async def test_a_wrong_method_is_told_the_right_ones(
    client: Client, path: str, methods: list[str], allowed: str
) -> None:
    for method in methods:
        answer = await client(method, DEFINITIONS + path)
        assert (answer.status, answer.headers["Allow"]) == (405, allowed)
        assert allowed in problem(answer)


# --- whose they are -----------------------------------------------------------------------------


async def test_users_have_their_own_definitions_and_readers_change_nothing(
    serve: Serve, http: ClientSession, store_path: Path
) -> None:
    await with_accounts(store_path)
    client = Client(http, (await serve()).url)
    alices = value(await client("POST", DEFINITIONS, json=DRAFT, headers=bearer("alice")), 201)
    one = f"{DEFINITIONS}/{alices['id']}"
    seen = {
        name: (await client("GET", one, headers=bearer(name))).status
        for name in ("alice", "bob", "boss", "reader")
    }
    assert seen == {"alice": 200, "bob": 404, "boss": 200, "reader": 200}
    for name, status in (("bob", 404), ("reader", 403)):
        calls = [("PATCH", one), ("DELETE", one), ("POST", f"{one}/run")]
        answers = [await client(*call, json={}, headers=bearer(name)) for call in calls]
        assert [answer.status for answer in answers] == [status] * 3
    assert (await client("POST", DEFINITIONS, json=DRAFT, headers=bearer("bob"))).status == 201
    assert (await client("DELETE", one, headers=bearer("boss"))).status == 204


ROLES = {"alice": "user", "bob": "user", "boss": "admin", "reader": "reader"}


def bearer(name: str) -> dict[str, str]:
    """Give the header by which one of the accounts asks."""
    return {"Authorization": f"Bearer {name}'s token"}


async def with_accounts(store_path: Path) -> None:
    """Make a store with an account of each role, and a second user."""
    async with owned(store_path) as store:
        for name, role in ROLES.items():
            await store.accounts.add(name, Role(role), "no password")
            await store.accounts.add_token(name, "", digest(f"{name}'s token"))
