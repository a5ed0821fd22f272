"""ArangoDB's jobs over the wire: the header that makes them, and the job manager's own API."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import cast

import pytest
from aiohttp import ClientSession
from multidict import CIMultiDict
from yarl import URL

from jobstore.dialects.arango.replies import refusal
from jobstore.model.errors import (
    AccountsUnavailable,
    JobstoreError,
    NoRoom,
    NotAccepting,
    StoreError,
)
from jobstore.model.job import Dialect, Submission
from jobstore.model.message import Request
from jobstore.server import Server
from pages.messages import MESSAGES
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Origin, Services
from trials.clients import Answer
from trials.sockets import connected

TEXT = "text/plain; charset=utf-8"
JSON = "application/json; charset=utf-8"
MICROSECONDS = 1_000_000

DONE = {"result": True}
BAD_PARAMETER = {"error": True, "errorMessage": "bad parameter", "code": 400, "errorNum": 400}
NOT_FOUND = {"error": True, "errorMessage": "not found", "code": 404, "errorNum": 404}
NOT_SUPPORTED = {
    "error": True,
    "errorMessage": "method not supported",
    "code": 405,
    "errorNum": 405,
}
QUEUE_FULL = {"error": True, "errorMessage": "queue is full", "code": 503, "errorNum": 21003}
CANCELED = {"error": True, "errorMessage": "canceled request", "code": 410, "errorNum": 21}

# What python-arango must not take for a host that is down, which is a 503 with this number.
FOR_NOW = [
    error
    for subject in MESSAGES.values()
    for error, _ in subject
    if error.status == 503 and isinstance(error, NotAccepting | StoreError | AccountsUnavailable)
]

STORE = {"x-arango-async": "store"}
TRUE = {"x-arango-async": "true"}

METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
DATABASES = ["", "/_db/_system", "/_db/another%20one", "/_db/a%2Fb"]
MANAGERS = [database + api for database in DATABASES for api in ("/_api/job", "/_admin/job")]

# Of these, nothing could ever have been handed out as an id.
NO_IDS = ["foobar", "0", "-1", "+1", "01", "1.0", "12abc", "0x1", "%D9%A3", "%20", "1%20", "1%00"]
UNKNOWN_IDS = ["999", str(2**63 - 1), str(2**63), str(2**64 - 1), str(2**64), "9" * 5000]
TOO_MANY_PARTS = ["PUT 1/other", "PUT 1/cancel/2", "PUT 1/2/3", "GET 1/2", "DELETE 1/2"]
# An empty part counts as one, but for that after a single slash at the end.
TOO_MANY_PARTS += ["PUT /1", "GET /1", "DELETE 1//", "PUT 1//cancel", "GET 1//"]


@pytest.fixture
async def demo(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


@pytest.fixture
async def gated(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that does one piece of work at a time, each behind a gate."""
    executor = {"concurrency": 1, "cancel_grace": "1h"}
    return Client(http, (await serve(target=GATED, executor=executor)).url)


@pytest.fixture
async def server(serve: Serve) -> Server:
    """Give a server itself, whose store can be asked what no client is told."""
    return await serve(target=GATED, executor={"concurrency": 3})


@pytest.fixture
async def ordinary(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


def is_empty(answer: Answer, status: int) -> bool:
    """Tell whether an answer is the job manager's own, with nothing in it."""
    return (
        answer.status == status
        and answer.body == b""
        and answer.headers.get("Content-Length", "0") == "0"
        and answer.headers["Content-Type"] == TEXT
        and "x-arango-async-id" not in answer.headers
    )


def says(answer: Answer, status: int, value: object) -> bool:
    """Tell whether an answer is the job manager's own, with a JSON value in it."""
    return (
        answer.status == status
        and json.loads(answer.body) == value
        and answer.headers["Content-Type"] == JSON
        and "x-arango-async-id" not in answer.headers
    )


def is_result(answer: Answer, job_id: int) -> bool:
    """Tell whether an answer is the result of a job, whatever it says."""
    return answer.headers.getall("x-arango-async-id", []) == [str(job_id)]


async def listed(client: Client, kind: str, query: str = "") -> list[int]:
    """Ask for a list of jobs; their ids are decimal strings."""
    answer = await client("GET", f"/_api/job/{kind}{query}")
    ids = json.loads(answer.body)
    assert says(answer, 200, ids)
    assert all(isinstance(job_id, str) for job_id in ids)
    return [int(job_id) for job_id in ids]


async def quoted(client: Client, method: str, path: str) -> Answer:
    """Call the job manager with a path that is quoted already, and must stay as it is."""
    url = URL(f"{client.url}/_api/job/{path}", encoded=True)
    async with client.http.request(method, url) as response:
        return Answer(response.status, response.headers, await response.read())


async def conversation(url: str, *lines: str, breaks_off: bool = False) -> str:
    """Send lines over a connection, and return what comes back until the server closes it."""
    async with connected(url) as client:
        await client.send("\r\n".join(lines).encode())
        said = await (client.said_all() if breaks_off else client.rest())
    return said.decode()


# --- any request can be made a job --------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
async def test_any_request_is_answered_202_with_an_id_and_nothing_else(
    demo: Client, method: str
) -> None:
    for path in ("/_api/version", "/no/such/path", "/_admin/sleep?duration=x"):
        answer = await demo(method, path, headers=STORE)
        assert (answer.status, answer.body) == (202, b"")
        assert answer.headers["Content-Type"] == TEXT
        assert answer.headers["x-arango-async-id"].isdecimal()


async def test_ids_grow_and_are_never_the_same(demo: Client) -> None:
    ids = [await demo.submit("/_api/version") for _ in range(5)]
    await demo("DELETE", "/_api/job/all")
    ids += [await demo.submit("/_api/version") for _ in range(5)]
    assert ids == sorted(set(ids))


@pytest.mark.parametrize("method", sorted(set(METHODS) - {"HEAD"}))
async def test_the_target_gets_the_request_as_it_was(ordinary: Client, method: str) -> None:
    job_id = await ordinary.submit("/mirror/a%2Fb?c=d%20e&f", method, headers={"X-Mine": "yes"})
    seen = json.loads((await ordinary.fetched(job_id)).body)
    assert seen["method"] == method
    assert seen["path"] == "/mirror/a%2Fb?c=d%20e&f"
    assert ["x-mine", "yes"] in seen["headers"]
    assert not [name for name, _ in seen["headers"] if name.startswith("x-arango")]


@pytest.mark.parametrize("name", ["x-arango-async", "X-Arango-Async", "X-ARANGO-ASYNC"])
async def test_the_headers_name_has_no_case(demo: Client, name: str) -> None:
    answer = await demo("GET", "/_api/version", headers={name: "store"})
    assert answer.status == 202


@pytest.mark.parametrize(
    "value",
    ["false", "1", "STORE", "True", "", "store,true", "stored", "0", "störe", "store" * 2048],
)
@pytest.mark.file
async def test_any_other_value_is_answered_at_once(demo: Client, value: str) -> None:
    answer = await demo("GET", "/_api/version", headers={"x-arango-async": value})
    assert (answer.status, json.loads(answer.body)["server"]) == (200, "arango")
    assert "x-arango-async-id" not in answer.headers
    assert await listed(demo, "done") == []


@pytest.mark.parametrize("second", ["store", "true", "false"])
@pytest.mark.file
async def test_of_a_repeated_header_the_first_counts_and_none_travels_on(
    ordinary: Client, second: str
) -> None:
    twice = CIMultiDict([("x-arango-async", "store"), ("x-arango-async", second)])
    answer = await ordinary("GET", "/mirror/", headers=twice)
    result = await ordinary.fetched(int(answer.headers["x-arango-async-id"]))
    seen = [name for name, _ in json.loads(result.body)["headers"]]
    assert not [name for name in seen if name.startswith("x-arango")]


async def test_without_the_header_the_answer_comes_at_once(demo: Client) -> None:
    answer = await demo("GET", "/_api/version")
    assert (answer.status, json.loads(answer.body)["server"]) == (200, "arango")
    assert "x-arango-async-id" not in answer.headers


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", ""])
async def test_a_body_arrives_whatever_its_content_type(demo: Client, content_type: str) -> None:
    job_id = await demo.submit(
        "/_api/collection", "POST", data=b'{"name":"fine"}', headers={"Content-Type": content_type}
    )
    assert json.loads((await demo.fetched(job_id)).body)["name"] == "fine"


async def test_a_chunked_body_without_a_length_arrives(demo: Client) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"piece by piece, "

    job_id = await demo.submit("/echo", "POST", data=pieces())
    assert (await demo.fetched(job_id)).body == b"piece by piece, " * 100


async def test_a_post_may_have_no_body(ordinary: Client) -> None:
    json_type = {"Content-Type": "application/json"}
    job_id = await ordinary.submit("/mirror/", "POST", headers=json_type)
    seen = json.loads((await ordinary.fetched(job_id)).body)
    assert (seen["method"], seen["body"]) == ("POST", "")


@pytest.mark.parametrize("framing", ["Content-Length: 10", "Transfer-Encoding: chunked"])
async def test_a_body_that_breaks_off_leaves_no_job(demo: Client, framing: str) -> None:
    lines = [
        "POST /echo HTTP/1.1",
        "Host: localhost",
        "x-arango-async: store",
        framing,
        "",
        "4",
        "half",
    ]
    said = await conversation(demo.url, *lines, breaks_off=True)
    assert " 202 " not in said.partition("\r\n")[0]
    assert await listed(demo, "pending") + await listed(demo, "done") == []


async def test_a_chunked_body_that_makes_no_sense_is_a_bad_request(demo: Client) -> None:
    said = await conversation(
        demo.url, "POST /echo HTTP/1.1", "Host: localhost", "x-arango-async: store",
        "Transfer-Encoding: chunked", "", "5", "whole", "what?", "",
    )  # fmt: skip
    assert said.partition("\r\n")[0].endswith(" 400 Bad Request")
    assert await listed(demo, "pending") + await listed(demo, "done") == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_refused(
    serve: Serve, http: ClientSession, *, chunked: bool
) -> None:
    client = Client(http, (await serve(capture={"body_limit": 1000})).url)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"." * 91

    body = pieces() if chunked else b"." * 1001
    answer = await client("POST", "/echo", headers=STORE, data=body)
    refusal = json.loads(answer.body)
    assert says(answer, 413, refusal)
    assert (refusal["error"], refusal["code"], refusal["errorNum"]) == (True, 413, 413)
    assert await listed(client, "pending") + await listed(client, "done") == []
    assert await client.submit("/echo", "POST", data=b"." * 1000)


@pytest.mark.parametrize(
    "credentials", ["Basic", "Basic !", "Basic \N{SNOWMAN}", "Basic /w==", "Basic eA==", "Bearer x"]
)
@pytest.mark.file
async def test_credentials_that_make_no_sense_are_no_hindrance(
    demo: Client, credentials: str
) -> None:
    job_id = await demo.submit("/_api/version", headers={"Authorization": credentials})
    assert (await demo.fetched(job_id)).status == 200


# --- jobs whose result nobody wants -------------------------------------------------------------


async def test_true_is_answered_202_without_an_id(demo: Client) -> None:
    assert is_empty(await demo("POST", "/echo", headers=TRUE, data=b"x"), 202)


async def test_a_job_whose_result_nobody_wants_runs_and_is_in_no_list(gated: Client) -> None:
    await gated("POST", "/wait/unwanted", headers=TRUE)
    await gated.when("unwanted", "started")
    assert await listed(gated, "pending") == []
    await gated.let("unwanted")
    await gated.when("unwanted", "finished")
    await gated.let("next")
    next_one = await gated.done("/wait/next")
    assert await listed(gated, "done") == [next_one]
    assert says(await gated("PUT", f"/_api/job/{next_one - 1}"), 404, NOT_FOUND)


async def test_five_hundred_such_jobs_in_a_row_are_all_taken(demo: Client) -> None:
    async def in_a_row() -> list[int]:
        return [(await demo("GET", "/_api/version", headers=TRUE)).status for _ in range(50)]

    rows = await asyncio.gather(*(in_a_row() for _ in range(10)))
    assert rows == [[202] * 50] * 10


# --- no job can be taken just now ---------------------------------------------------------------


@pytest.mark.parametrize("wish", [STORE, TRUE])
async def test_a_full_queue_is_a_503_to_try_again(
    serve: Serve, http: ClientSession, wish: dict[str, str]
) -> None:
    executor = {"concurrency": 1, "queue_limit": 2}
    client = Client(http, (await serve(target=GATED, executor=executor)).url)
    taken = [await client.submit("/wait/one", "POST")]
    await client.when("one", "started")
    taken += [await client.submit(f"/wait/{name}", "POST") for name in ("two", "three")]

    answer = await client("POST", "/wait/four", headers=wish)
    assert says(answer, 503, QUEUE_FULL)
    assert int(answer.headers["Retry-After"]) > 0
    assert await listed(client, "pending") == taken

    for name in ("one", "two", "three"):
        await client.let(name)
    await client.ended(taken[-1])
    assert (await client("POST", "/wait/four", headers=wish)).status == 202


@pytest.mark.parametrize("error", FOR_NOW, ids=lambda error: type(error).__name__)
def test_nothing_that_passes_makes_a_client_look_for_another_host(error: JobstoreError) -> None:
    said = json.loads(cast("bytes", refusal(error).body))
    assert (said["error"], said["code"], said["errorNum"] != 503) == (True, 503, True)


def test_too_many_large_requests_at_once_are_no_full_queue() -> None:
    assert json.loads(cast("bytes", refusal(NoRoom()).body)) == {
        **QUEUE_FULL, "errorMessage": "too many large requests at once; try again"
    }  # fmt: skip


async def test_a_server_that_shuts_down_takes_no_job_but_gives_results(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve()
    client = Client(http, server.url)
    job_id = await client.done("/_api/version")
    hurry = asyncio.Event()
    hurry.set()
    await server.drain(hurry)

    answer = await client("GET", "/_api/version", headers=STORE)
    assert says(answer, 503, {**QUEUE_FULL, "errorMessage": "the server is shutting down"})
    assert int(answer.headers["Retry-After"]) > 0
    assert is_result(await client.fetched(job_id), job_id)


# --- the status of a job ------------------------------------------------------------------------


async def test_a_pending_job_is_204_and_a_done_one_200(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    assert is_empty(await gated("GET", f"/_api/job/{job_id}"), 204)
    await gated.let("it")
    await gated.ended(job_id)
    assert is_empty(await gated("GET", f"/_api/job/{job_id}"), 200)
    assert is_empty(await gated("GET", f"/_api/job/{job_id}"), 200)


async def test_a_job_that_waits_for_its_turn_is_pending_too(gated: Client) -> None:
    await gated.submit("/wait/first")
    waiting = await gated.submit("/wait/second")
    assert is_empty(await gated("GET", f"/_api/job/{waiting}"), 204)
    assert is_empty(await gated("PUT", f"/_api/job/{waiting}"), 204)


async def test_a_job_without_an_answer_is_done(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED, executor={"timeout": 0.01})).url)
    job_id = await client.done("/wait/endless")
    assert await listed(client, "done") == [job_id]
    answer = await client("PUT", f"/_api/job/{job_id}")
    assert is_result(answer, job_id)
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"], problem["status"]) == (504, 504, 504)
    assert problem["error"] is True
    assert "0.01 s" in problem["errorMessage"]


# --- the result of a job ------------------------------------------------------------------------


async def test_a_result_is_not_there_while_the_job_is_pending(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    assert is_empty(await gated("PUT", f"/_api/job/{job_id}"), 204)
    assert is_empty(await gated("PUT", f"/_api/job/{job_id}"), 204)
    await gated.let("it")
    answer = await gated.fetched(job_id)
    assert is_result(answer, job_id)
    assert answer.body == b"it is done"


async def test_a_result_can_be_fetched_once(demo: Client) -> None:
    job_id = await demo.submit("/_api/version")
    result = await demo.fetched(job_id)
    assert is_result(result, job_id)
    assert "x-arango-async-job-id" not in result.headers
    for method, path in [("PUT", ""), ("GET", ""), ("DELETE", ""), ("PUT", "/cancel")]:
        assert says(await demo(method, f"/_api/job/{job_id}{path}"), 404, NOT_FOUND)
    assert await listed(demo, "done") == []


async def test_of_twenty_fetches_at_once_one_gets_the_result(demo: Client) -> None:
    job_id = await demo.done("/echo", "POST", data=b"for one")
    answers = await asyncio.gather(*(demo.told(job_id) for _ in range(20)))
    (winner,) = [answer for answer in answers if answer.status == 200]
    assert is_result(winner, job_id)
    assert winner.body == b"for one"
    assert sum(says(answer, 404, NOT_FOUND) for answer in answers if answer is not winner) == 19


@pytest.mark.parametrize(
    "path",
    [
        "/greet/world",
        "/cookies",
        "/redirect",
        "/refuse",
        "/unhandled",
        "/file",
        "/compressed",
        "/compressed-stream",
        "/stream?chunks=20&sized",
        "/stream?chunks=20",
        "/status/204",
        "/status/299?reason=Quite%20Fine",
        "/status/304",
        "/status/404",
        "/status/599",
        "/nowhere",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_result_is_what_the_target_would_have_answered(
    ordinary: Client, method: str, path: str
) -> None:
    direct = await ordinary(method, path)
    job_id = await ordinary.submit(path, method)
    result = await ordinary.fetched(job_id)
    assert is_result(result, job_id)
    assert (result.status, result.body) == (direct.status, direct.body)
    assert lasting(result) == lasting(direct)


@pytest.mark.parametrize("given", ["", "99"])
@pytest.mark.file
async def test_a_result_names_its_own_job_whatever_its_target_says(
    serve: Serve, services: Services, http: ClientSession, given: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nX-Arango-Async-Id: {given}\r\nContent-Length: 2\r\n\r\n"
    origin = Origin(head.encode() + b"ok")
    server = await serve(target={"upstream": await services.listen(origin.talk)})
    client = Client(http, server.url)
    job_id = await client.submit("/x")
    assert is_result(await client.fetched(job_id), job_id)


async def test_a_result_has_the_reason_that_the_target_gave(ordinary: Client) -> None:
    job_id = await ordinary.done("/status/299?reason=Quite%20Fine")
    async with ordinary.http.put(f"{ordinary.url}/_api/job/{job_id}") as answer:
        assert (answer.status, answer.reason) == (299, "Quite Fine")


@pytest.mark.parametrize("path", ["/greet/world", "/file", "/cookies", "/unhandled"])
async def test_the_result_of_head_has_status_and_headers_but_no_body(
    ordinary: Client, path: str
) -> None:
    direct = await ordinary("HEAD", path)
    job_id = await ordinary.submit(path, "HEAD")
    result = await ordinary.fetched(job_id)
    assert is_result(result, job_id)
    assert (result.status, result.body) == (direct.status, b"")
    length = ("jobstore-content-length", direct.headers["Content-Length"])
    assert lasting(result) == sorted([*lasting(direct), length])


def lasting(answer: Answer) -> list[tuple[str, str]]:
    """Return the headers that do not change with the time, the job or the connection."""
    passing = ("content-length", "date", "transfer-encoding", "x-arango-async-id")
    fields = ((name.lower(), value) for name, value in answer.headers.items())
    return sorted(field for field in fields if field[0] not in passing)


# --- lists --------------------------------------------------------------------------------------


async def test_there_are_no_jobs_at_first(demo: Client) -> None:
    assert await listed(demo, "pending") == []
    assert await listed(demo, "done") == []


async def test_a_job_is_either_pending_or_done(gated: Client) -> None:
    running, waiting = [await gated.submit(f"/wait/{name}") for name in ("one", "two")]
    assert await listed(gated, "pending") == [running, waiting]
    assert await listed(gated, "done") == []
    await gated.let("one")
    await gated.ended(running)
    assert await listed(gated, "pending") == [waiting]
    assert await listed(gated, "done") == [running]
    await gated.let("two")
    await gated.ended(waiting)
    assert await listed(gated, "pending") == []
    assert await listed(gated, "done") == [running, waiting]


@pytest.mark.parametrize("kind", ["pending", "done"])
async def test_a_list_has_the_first_hundred_ids_unless_asked_for_more(
    serve: Serve, http: ClientSession, kind: str
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    ids = sorted(await asyncio.gather(*(client.submit("/wait/it") for _ in range(101))))
    if kind == "done":
        await client.let("it")
        for job_id in ids:
            await client.ended(job_id)
    assert await listed(client, kind) == ids[:100]
    assert await listed(client, kind, "?count=101") == ids
    assert await listed(client, kind, "?count=999999") == ids
    assert await listed(client, kind, f"?count={10**17}") == ids
    assert await listed(client, kind, "?count=3") == ids[:3]
    assert await listed(client, kind, "?count=1") == ids[:1]
    assert await listed(client, kind, "?count=0") == []


@pytest.mark.parametrize(
    "count",
    ["", "-1", "1.5", "abc", "1e3", "%2B1", "1%20", "%D9%A3", "9" * 19, "9" * 5000, "1&count=2"],
)
@pytest.mark.file
async def test_a_count_that_is_none_is_a_bad_parameter(demo: Client, count: str) -> None:
    for kind in ("pending", "done"):
        assert says(await quoted(demo, "GET", f"{kind}?count={count}"), 400, BAD_PARAMETER)


async def test_unknown_query_parameters_are_ignored(demo: Client) -> None:
    job_id = await demo.done("/_api/version?details=undefined")
    assert await listed(demo, "done", "?details=0&stamp=x") == [job_id]
    assert is_empty(await demo("GET", f"/_api/job/{job_id}?count=x"), 200)
    assert is_result(await demo("PUT", f"/_api/job/{job_id}?stamp=x&count=-1"), job_id)


# --- cancel -------------------------------------------------------------------------------------


async def test_a_cancelled_job_is_done_and_its_result_says_that_it_is_gone(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    await gated.when("it", "started")
    assert says(await gated("PUT", f"/_api/job/{job_id}/cancel"), 200, DONE)
    await gated.when("it", "cancelled")
    await gated.ended(job_id)
    assert await listed(gated, "pending") == []
    assert await listed(gated, "done") == [job_id]

    answer = await gated("PUT", f"/_api/job/{job_id}")
    assert is_result(answer, job_id)
    assert (answer.status, json.loads(answer.body)) == (410, CANCELED)
    assert answer.headers["Content-Type"] == JSON
    assert says(await gated("PUT", f"/_api/job/{job_id}"), 404, NOT_FOUND)


async def test_a_cancelled_job_stays_pending_until_it_stops(gated: Client) -> None:
    job_id = await gated.submit("/linger/it")
    await gated.when("it", "started")
    assert says(await gated("PUT", f"/_api/job/{job_id}/cancel"), 200, DONE)
    await gated.when("it", "cancelled")
    assert await listed(gated, "pending") == [job_id]
    assert is_empty(await gated("GET", f"/_api/job/{job_id}"), 204)
    assert is_empty(await gated("PUT", f"/_api/job/{job_id}"), 204)
    await gated.let("it")
    assert (await gated.fetched(job_id)).status == 410


async def test_a_job_may_be_cancelled_again_while_it_stops(gated: Client) -> None:
    job_id = await gated.submit("/linger/it")
    await gated.when("it", "started")
    for _ in range(3):
        assert says(await gated("PUT", f"/_api/job/{job_id}/cancel"), 200, DONE)
        await gated.when("it", "cancelled")
    assert await listed(gated, "pending") == [job_id]
    await gated.let("it")
    assert (await gated.fetched(job_id)).status == 410


async def test_a_job_that_is_cancelled_before_its_turn_never_runs(gated: Client) -> None:
    first = await gated.submit("/wait/first")
    second = await gated.submit("/wait/second")
    third = await gated.submit("/wait/third")
    assert says(await gated("PUT", f"/_api/job/{second}/cancel"), 200, DONE)
    assert await listed(gated, "pending") == [first, third]
    assert await listed(gated, "done") == [second]
    answer = await gated("PUT", f"/_api/job/{second}")
    assert is_result(answer, second)
    assert (answer.status, json.loads(answer.body)) == (410, CANCELED)

    await gated.let("first")
    await gated.let("third")
    await gated.ended(third)
    assert json.loads((await gated("GET", "/started")).body) == ["first", "third"]


async def test_a_job_can_be_cancelled_in_the_very_moment_in_which_it_begins(
    server: Server, http: ClientSession
) -> None:
    client = Client(http, server.url)
    await client.let("earlier")
    earlier = await client.done("/wait/earlier")
    request = Request(method="GET", path="/wait/it")
    it = Submission(request=request, target="/", dialect=Dialect.ARANGO)
    # Both go into one transaction: the job begins and its cancellation is asked for.
    job_id, _ = await asyncio.gather(server.store.submit(it), server.store.cancel(earlier + 1))
    assert (await client.fetched(job_id)).status == 410


async def test_cancelling_a_done_job_leaves_its_result_alone(demo: Client) -> None:
    job_id = await demo.done("/_api/version")
    assert says(await demo("PUT", f"/_api/job/{job_id}/cancel"), 200, DONE)
    answer = await demo.fetched(job_id)
    assert is_result(answer, job_id)
    assert answer.status == 200


async def test_cancelling_a_cancelled_job_is_fine(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    await gated("PUT", f"/_api/job/{job_id}/cancel")
    await gated.ended(job_id)
    assert says(await gated("PUT", f"/_api/job/{job_id}/cancel"), 200, DONE)
    assert (await gated.fetched(job_id)).status == 410


# --- delete -------------------------------------------------------------------------------------


async def test_a_deleted_result_is_gone(demo: Client) -> None:
    job_id, other = [await demo.done("/_api/version") for _ in range(2)]
    assert says(await demo("DELETE", f"/_api/job/{job_id}"), 200, DONE)
    for method, path in [("DELETE", ""), ("PUT", ""), ("GET", ""), ("PUT", "/cancel")]:
        assert says(await demo(method, f"/_api/job/{job_id}{path}"), 404, NOT_FOUND)
    assert await listed(demo, "done") == [other]


@pytest.mark.parametrize("what", ["{job_id}", "all"])
async def test_deleting_a_running_job_lets_it_work_on_for_nobody(gated: Client, what: str) -> None:
    job_id = await gated.submit("/wait/it")
    await gated.when("it", "started")
    assert says(await gated("DELETE", f"/_api/job/{what.format(job_id=job_id)}"), 200, DONE)
    for method, path in [("DELETE", ""), ("PUT", ""), ("GET", ""), ("PUT", "/cancel")]:
        assert says(await gated(method, f"/_api/job/{job_id}{path}"), 404, NOT_FOUND)
    assert await listed(gated, "pending") == []

    await gated.let("it")
    await gated.when("it", "finished")
    await gated.let("next")
    next_one = await gated.done("/wait/next")
    assert await listed(gated, "done") == [next_one]
    assert says(await gated("PUT", f"/_api/job/{job_id}"), 404, NOT_FOUND)


@pytest.mark.parametrize("what", ["{job_id}", "all"])
async def test_deleting_a_job_before_its_turn_lets_it_run_for_nobody(
    gated: Client, what: str
) -> None:
    await gated.submit("/wait/first")
    job_id = await gated.submit("/wait/second")
    assert says(await gated("DELETE", f"/_api/job/{what.format(job_id=job_id)}"), 200, DONE)
    assert says(await gated("GET", f"/_api/job/{job_id}"), 404, NOT_FOUND)
    assert job_id not in await listed(gated, "pending")

    await gated.let("first")
    await gated.when("second", "started")
    await gated.let("second")
    await gated.when("second", "finished")
    await gated.let("third")
    await gated.done("/wait/third")
    assert job_id not in await listed(gated, "done")


async def test_everything_can_be_deleted_at_once(gated: Client) -> None:
    await gated.let("done")
    ids = [await gated.done("/wait/done") for _ in range(3)]
    ids += [await gated.submit("/wait/running"), await gated.submit("/wait/waiting")]
    assert says(await gated("DELETE", "/_api/job/all"), 200, DONE)
    assert await listed(gated, "pending") + await listed(gated, "done") == []
    for job_id in ids:
        assert says(await gated("GET", f"/_api/job/{job_id}"), 404, NOT_FOUND)


async def test_deleting_all_of_nothing_is_fine(demo: Client) -> None:
    for _ in range(2):
        assert says(await demo("DELETE", "/_api/job/all"), 200, DONE)


# --- expire -------------------------------------------------------------------------------------


async def test_results_finished_before_the_stamp_expire(
    server: Server, http: ClientSession
) -> None:
    client = Client(http, server.url)
    await client.let("it")
    first, second, third = [await client.done("/wait/it") for _ in range(3)]
    finished = (await server.store.results.peek(second)).finished_at
    assert finished is not None
    stamp = f"{finished // MICROSECONDS}.{finished % MICROSECONDS:06}"
    assert says(await client("DELETE", f"/_api/job/expired?stamp={stamp}"), 200, DONE)
    assert await listed(client, "done") == [second, third]
    assert says(await client("PUT", f"/_api/job/{first}"), 404, NOT_FOUND)

    # A fraction finer than the clock still counts: the second one was finished before this.
    assert says(await client("DELETE", f"/_api/job/expired?stamp={stamp}9"), 200, DONE)
    assert await listed(client, "done") == [third]


async def test_what_counts_is_when_a_job_was_finished_not_when_it_was_submitted(
    server: Server, http: ClientSession
) -> None:
    client = Client(http, server.url)
    slow = await client.submit("/wait/slow")
    await client.let("quick")
    quick = await client.done("/wait/quick")
    await client.let("slow")
    await client.ended(slow)
    finished = (await server.store.results.peek(slow)).finished_at
    assert finished is not None
    stamp = f"{finished // MICROSECONDS}.{finished % MICROSECONDS:06}"
    await client("DELETE", f"/_api/job/expired?stamp={stamp}")
    assert await listed(client, "done") == [slow]
    assert says(await client("GET", f"/_api/job/{quick}"), 404, NOT_FOUND)


async def test_pending_jobs_do_not_expire(gated: Client) -> None:
    ids = [await gated.submit("/wait/running"), await gated.submit("/wait/waiting")]
    assert says(await gated("DELETE", "/_api/job/expired?stamp=99999999999"), 200, DONE)
    assert await listed(gated, "pending") == ids


@pytest.mark.parametrize("stamp", ["0", "-1", "-1.5", "0.0", "1", "1401376184", "1.5e9", "-1e99"])
async def test_a_stamp_long_ago_expires_nothing(demo: Client, stamp: str) -> None:
    job_id = await demo.done("/_api/version")
    assert says(await demo("DELETE", f"/_api/job/expired?stamp={stamp}"), 200, DONE)
    assert await listed(demo, "done") == [job_id]


@pytest.mark.parametrize("stamp", ["99999999999", "99999999999.25", "1e11", "1E%2B12", "1e99"])
async def test_a_stamp_in_the_future_expires_every_result(demo: Client, stamp: str) -> None:
    await demo.done("/_api/version")
    assert says(await quoted(demo, "DELETE", f"expired?stamp={stamp}"), 200, DONE)
    assert await listed(demo, "done") == []


@pytest.mark.parametrize(
    "query",
    ["", "?", "?stamp", "?stamp=", "?Stamp=1", "?count=1"]
    + [f"?stamp={text}" for text in ("abc", "nan", "inf", "-inf", "Infinity", "1x", "1_0", "0x1")]
    + [f"?stamp={text}" for text in ("--1", "1.2.3", ".", "e5", "%20", "1%202", "%D9%A3")]
    + [f"?stamp={text}" for text in ("1e999", "9" * 5000, "1" + "." * 2, "1&stamp=9999999999")],
)
@pytest.mark.file
async def test_a_stamp_that_is_none_is_a_bad_parameter(demo: Client, query: str) -> None:
    job_id = await demo.done("/_api/version")
    assert says(await quoted(demo, "DELETE", f"expired{query}"), 400, BAD_PARAMETER)
    assert await listed(demo, "done") == [job_id]


# --- what cannot be understood ------------------------------------------------------------------


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.file
async def test_without_an_id_it_is_a_bad_parameter(demo: Client, manager: str) -> None:
    for method in ("PUT", "GET", "DELETE"):
        assert says(await demo(method, manager), 400, BAD_PARAMETER)
        assert says(await demo(method, f"{manager}/"), 400, BAD_PARAMETER)
        assert says(await demo(method, f"{manager}?type=done"), 400, BAD_PARAMETER)


@pytest.mark.parametrize("call", TOO_MANY_PARTS)
@pytest.mark.file
async def test_too_many_parts_are_a_bad_parameter(demo: Client, call: str) -> None:
    job_id = await demo.done("/_api/version")
    method, parts = call.split()
    path = f"/_api/job/{parts.replace('1', str(job_id), 1)}"
    assert says(await demo(method, path), 400, BAD_PARAMETER)
    assert await listed(demo, "done") == [job_id]


@pytest.mark.parametrize("call", ["PUT /", "PUT /cancel", "PUT /cancel/", "GET /", "DELETE /"])
@pytest.mark.file
async def test_where_nothing_stands_for_an_id_it_is_a_bad_parameter(
    demo: Client, call: str
) -> None:
    method, path = call.split()
    assert says(await demo(method, f"/_api/job/{path}"), 400, BAD_PARAMETER)


@pytest.mark.file
async def test_an_encoded_slash_sets_nothing_apart(demo: Client) -> None:
    job_id = await demo.done("/_api/version")
    for call in ("PUT {}%2Fcancel", "PUT {}%2F", "PUT %2F{}", "DELETE {}%2f", "DELETE all%2F"):
        method, path = call.format(job_id).split()
        assert says(await quoted(demo, method, path), 404, NOT_FOUND)
    for path in (f"{job_id}%2F", "done%2F", "%2Fdone"):
        assert says(await quoted(demo, "GET", path), 400, BAD_PARAMETER)
    encoded = "".join(f"%3{digit}" for digit in str(job_id))
    assert is_empty(await quoted(demo, "GET", encoded), 200)
    assert says(await quoted(demo, "GET", "%64one"), 200, [str(job_id)])


async def test_a_slash_at_the_end_makes_no_difference(demo: Client) -> None:
    job_id = await demo.done("/_api/version")
    assert await listed(demo, "done/") == [job_id]
    assert is_empty(await demo("GET", f"/_api/job/{job_id}/"), 200)
    assert says(await demo("PUT", f"/_api/job/{job_id}/cancel/"), 200, DONE)
    assert is_result(await demo("PUT", f"/_api/job/{job_id}/"), job_id)
    assert says(await demo("DELETE", "/_api/job/all/"), 200, DONE)


@pytest.mark.parametrize("text", [*NO_IDS, "all", "expired", "cancel", "DONE", "Pending"])
@pytest.mark.file
async def test_asking_for_the_status_of_no_id_is_a_bad_parameter(demo: Client, text: str) -> None:
    await demo.done("/_api/version")
    assert says(await quoted(demo, "GET", text), 400, BAD_PARAMETER)


@pytest.mark.parametrize("text", [*NO_IDS, "done", "pending", "cancel"])
@pytest.mark.file
async def test_to_fetch_cancel_or_delete_no_id_is_not_found(demo: Client, text: str) -> None:
    job_id = await demo.done("/_api/version")
    for method, path in [("PUT", text), ("PUT", f"{text}/cancel"), ("DELETE", text)]:
        assert says(await quoted(demo, method, path), 404, NOT_FOUND)
    assert await listed(demo, "done") == [job_id]


@pytest.mark.parametrize("text", UNKNOWN_IDS)
async def test_an_id_that_was_never_handed_out_is_not_found(demo: Client, text: str) -> None:
    await demo.done("/_api/version")
    for method, path in [("PUT", ""), ("GET", ""), ("DELETE", ""), ("PUT", "/cancel")]:
        assert says(await demo(method, f"/_api/job/{text}{path}"), 404, NOT_FOUND)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/done", "GET"),
        ("/pending/", "GET"),
        ("/all", "DELETE"),
        ("/expired", "DELETE"),
        ("/1/cancel", "PUT"),
        *((path, "PUT, GET, DELETE") for path in ("", "/", "/1", "/x", "/1/2/3")),
    ],
)
@pytest.mark.file
async def test_other_methods_are_not_supported(demo: Client, path: str, allowed: str) -> None:
    await demo.done("/_api/version")
    for method in ("POST", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        answer = await demo(method, f"/_api/job{path}")
        assert says(answer, 405, NOT_SUPPORTED)
        assert answer.headers["Allow"] == allowed
    head = await demo("HEAD", f"/_api/job{path}")
    assert (head.status, head.body, head.headers["Allow"]) == (405, b"", allowed)


# --- how it is asked ----------------------------------------------------------------------------


@pytest.mark.parametrize("manager", MANAGERS)
@pytest.mark.file
async def test_the_job_manager_answers_under_each_of_its_prefixes(
    demo: Client, manager: str
) -> None:
    job_id, other = [await demo.done("/_db/_system/_api/version") for _ in range(2)]
    assert is_empty(await demo("GET", f"{manager}/{job_id}"), 200)
    assert says(await demo("GET", f"{manager}/done"), 200, [str(job_id), str(other)])
    assert says(await demo("GET", f"{manager}/pending"), 200, [])
    assert says(await demo("PUT", f"{manager}/{job_id}/cancel"), 200, DONE)
    assert is_result(await demo("PUT", f"{manager}/{job_id}"), job_id)
    assert says(await demo("DELETE", f"{manager}/expired?stamp=1"), 200, DONE)
    assert says(await demo("DELETE", f"{manager}/{other}"), 200, DONE)
    assert says(await demo("DELETE", f"{manager}/all"), 200, DONE)
    assert says(await demo("DELETE", f"{manager}/foobar"), 404, NOT_FOUND)
    assert says(await demo("POST", manager), 405, NOT_SUPPORTED)


@pytest.mark.parametrize("path", ["/_api/jobs", "/_api/jobs/1", "/x/_api/job"])
async def test_what_only_looks_like_the_job_manager_is_the_targets(demo: Client, path: str) -> None:
    answer = await demo("GET", path)
    assert (answer.status, json.loads(answer.body)["errorMessage"]) == (
        404,
        f"unknown path '{path}'",
    )


async def test_requests_need_no_length_and_share_a_connection(demo: Client) -> None:
    job_id = await demo.done("/_admin/time")
    said = await conversation(
        demo.url,
        f"PUT /_api/job/{job_id} HTTP/1.1", "Host: localhost", "",
        "PUT /_api/job/1234 HTTP/1.1", "Host: localhost", "Content-Type: application/json", "",
        "PUT /_api/job HTTP/1.1", "Host: localhost", "Content-Length: 0", "",
        "POST /_api/job HTTP/1.1", "Host: localhost", "",
        "POST /nowhere HTTP/1.1", "Host: localhost", "x-arango-async: store", "",
        "DELETE /_api/job/all HTTP/1.1", "Host: localhost", "Connection: close", "", "",
    )  # fmt: skip
    assert re.findall(r"HTTP/1\.1 [^\r]*", said) == [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 400 Bad Request",
        "HTTP/1.1 405 Method Not Allowed",
        "HTTP/1.1 202 Accepted",
        "HTTP/1.1 200 OK",
    ]


async def test_a_whole_url_may_stand_for_a_path(demo: Client) -> None:
    job_id = await demo.done("/_api/version")
    line = f"PUT {demo.url}/_api/job/{job_id} HTTP/1.1"
    said = await conversation(demo.url, line, "Host: localhost", "Connection: close", "", "")
    assert said.startswith("HTTP/1.1 200 OK\r\n")
    assert f"x-arango-async-id: {job_id}\r\n" in said


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("size", [2, 300_000])
@pytest.mark.file
async def test_a_body_that_no_call_asks_for_is_passed_over(
    demo: Client, size: int, *, chunked: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"." * size

    async def told(method: str, path: str) -> Answer:
        body = pieces() if chunked else b"." * size
        return await demo(method, f"/_api/job/{path}", data=body)

    job_id = await demo.done("/_api/version")
    assert says(await told("GET", "done"), 200, [str(job_id)])
    assert is_empty(await told("GET", str(job_id)), 200)
    assert says(await told("PUT", f"{job_id}/cancel"), 200, DONE)
    assert says(await told("DELETE", "expired?stamp=1"), 200, DONE)
    assert says(await told("POST", "all"), 405, NOT_SUPPORTED)
    assert is_result(await told("PUT", str(job_id)), job_id)
    assert says(await told("DELETE", str(job_id)), 404, NOT_FOUND)


async def test_a_pending_job_is_204_with_a_length_of_zero(gated: Client) -> None:
    job_id = await gated.submit("/wait/it")
    said = await conversation(
        gated.url,
        f"PUT /_api/job/{job_id} HTTP/1.1",
        "Host: localhost",
        "Connection: close",
        "",
        "",
    )
    head, _, body = said.partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 204 No Content\r\n")
    assert "content-length: 0" in head.lower()
    assert body == ""


async def test_without_accounts_everybody_is_the_same_user(demo: Client) -> None:
    alices = {"Authorization": "Basic YWxpY2U6eA=="}
    bobs = {"Authorization": "Basic Ym9iOnk="}
    job_id = await demo.done("/_api/version", headers=alices)
    assert is_empty(await demo("GET", f"/_api/job/{job_id}", headers=bobs), 200)
    assert is_result(await demo("PUT", f"/_api/job/{job_id}", headers=bobs), job_id)


# --- the job manager's own calls as jobs --------------------------------------------------------


@pytest.mark.parametrize("manager", MANAGERS)
async def test_a_job_may_list_jobs(demo: Client, manager: str) -> None:
    done = await demo.done("/_api/version")
    listing = await demo.submit(f"{manager}/done")
    result = await demo.fetched(listing)
    assert is_result(result, listing)
    assert (result.status, json.loads(result.body)) == (200, [str(done)])
    assert result.headers["Content-Type"] == JSON


async def test_a_job_that_lists_pending_jobs_is_one_of_them(demo: Client) -> None:
    job_id = await demo.submit("/_api/job/pending")
    assert json.loads((await demo.fetched(job_id)).body) == [str(job_id)]


async def test_a_job_may_fetch_the_result_of_another(demo: Client) -> None:
    other = await demo.done("/_api/version")
    job_id = await demo.submit(f"/_api/job/{other}", "PUT")
    result = await demo.fetched(job_id)
    assert is_result(result, job_id)
    assert (result.status, json.loads(result.body)["server"]) == (200, "arango")
    assert says(await demo("PUT", f"/_api/job/{other}"), 404, NOT_FOUND)


async def test_a_job_cannot_have_its_own_result(demo: Client) -> None:
    job_id = await demo.done("/_api/version")
    itself = await demo.submit(f"/_api/job/{job_id + 1}", "PUT")
    result = await demo.fetched(itself)
    assert is_result(result, itself)
    assert (result.status, result.body) == (204, b"")


async def test_a_job_may_cancel_and_delete_others(gated: Client) -> None:
    running, waiting = [await gated.submit(f"/wait/{name}") for name in ("one", "two")]
    cancel = await gated.submit(f"/_api/job/{running}/cancel", "PUT")
    assert json.loads((await gated.fetched(cancel)).body) == DONE
    assert (await gated.fetched(running)).status == 410
    delete = await gated.submit(f"/_api/job/{waiting}", "DELETE")
    assert json.loads((await gated.fetched(delete)).body) == DONE
    assert says(await gated("GET", f"/_api/job/{waiting}"), 404, NOT_FOUND)


async def test_an_error_of_the_job_manager_is_a_result_like_any_other(demo: Client) -> None:
    job_id = await demo.submit("/_api/job/foobar", "PUT")
    result = await demo.fetched(job_id)
    assert is_result(result, job_id)
    assert (result.status, json.loads(result.body)) == (404, NOT_FOUND)
