import asyncio
import math
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient
from pytest_aiohttp import AiohttpClient

from jobstore.demo.app import create_app, is_collection_name
from jobstore.demo.queries import query_result, query_seconds
from jobstore.model.handle import JobHandle
from jobstore.model.job import Report
from jobstore.model.message import Request, Response, chunks
from jobstore.targets.inprocess import InProcess

Client = TestClient[web.Request, web.Application]

SEED = "FOR i IN 1..10 FOR j IN 1..10 LET x = sleep(1.0) FILTER i == 5 && j == 5 RETURN 42"
JSON = "application/json; charset=utf-8"
MEBIBYTE = 1 << 20


class Listener:
    """All that a handler reports, in order."""

    def __init__(self) -> None:
        self.progress: list[float] = []
        self.warnings: list[str] = []
        self.begun = asyncio.Event()

    def reported(self, handle: JobHandle) -> None:
        """Note the progress, if it has changed."""
        if handle.progress is not None and handle.progress not in self.progress[-1:]:
            self.progress.append(handle.progress)
        self.begun.set()

    def warned(self, report: Report) -> None:
        """Note a warning."""
        self.warnings.extend(report.warnings)


@pytest.fixture
async def client(aiohttp_client: AiohttpClient) -> Client:
    return await aiohttp_client(create_app())


@pytest.fixture
async def target() -> AsyncIterator[InProcess]:
    runner = web.AppRunner(create_app())
    await runner.setup()
    assert runner.server is not None
    yield InProcess(runner.server)
    await runner.cleanup()


async def answer(client: Client, method: str, path: str, **options: Any) -> tuple[int, Any]:
    """Send a request, and return the status and the JSON body of its answer."""
    async with client.request(method, path, **options) as response:
        assert response.headers["Content-Type"] == JSON
        return response.status, await response.json()


def failure(status: int, number: int, message: str) -> tuple[int, dict[str, Any]]:
    """Build the answer that ArangoDB gives about an error."""
    body = {"error": True, "code": status, "errorNum": number, "errorMessage": message}
    return status, body


async def numbers(*, of: int) -> AsyncIterator[bytes]:
    """Generate a body of so many chunks, no two of them alike."""
    for number in range(of):
        yield number.to_bytes(4, "big") * (MEBIBYTE // 64)


async def test_the_version_is_that_of_the_seed_to_the_byte(client: Client) -> None:
    response = await client.get("/_api/version")
    assert await response.text() == '{"server":"arango","version":"2.1.0"}'


@pytest.mark.parametrize("path", ["/_api/version?details=undefined", "/_db/_system/_api/version"])
async def test_the_version_is_told_whatever_the_database_and_the_details(
    client: Client, path: str
) -> None:
    expected = {"server": "arango", "version": "2.1.0"}
    assert await answer(client, "GET", path) == (200, expected)


async def test_head_is_answered_like_get_without_the_body(client: Client) -> None:
    response = await client.head("/_api/version")
    assert (response.status, await response.read()) == (200, b"")
    assert response.headers["Content-Length"] == "37"


async def test_an_unknown_path_is_named_in_the_answer(client: Client) -> None:
    expected = failure(404, 404, "unknown path '/_api/nothing'")
    assert await answer(client, "PATCH", "/_api/nothing") == expected


async def test_an_unknown_method_is_refused_and_the_allowed_ones_are_named(client: Client) -> None:
    response = await client.delete("/_api/version")
    assert (response.status, await response.json()) == failure(405, 405, "method not supported")
    assert response.headers["Allow"] == "GET,HEAD"


@pytest.mark.parametrize("path", ["/_db/mine/_api/version", "/_db/mine", "/_db/a%20b/nothing"])
async def test_another_database_than_the_one_there_is_is_not_found(
    client: Client, path: str
) -> None:
    assert await answer(client, "GET", path) == failure(404, 1228, "database not found")


@pytest.mark.parametrize("path", ["/_api/database", "/_db/_system/_api/database/user"])
async def test_there_is_one_database(client: Client, path: str) -> None:
    expected = {"error": False, "code": 200, "result": ["_system"]}
    assert await answer(client, "GET", path) == (200, expected)


async def test_a_user_may_do_all_in_it_as_pyarango_asks_when_it_connects(client: Client) -> None:
    expected = {"error": False, "code": 200, "result": {"_system": "rw"}}
    assert await answer(client, "GET", "/_api/user/j%C3%BCrgen/database") == (200, expected)


async def test_who_opens_it_in_a_browser_is_told_what_it_is(client: Client) -> None:
    response = await client.get("/")
    assert (response.status, response.content_type) == (200, "text/plain")
    assert "/_admin/sleep" in await response.text()


async def test_the_time_is_in_seconds_since_1970(client: Client) -> None:
    status, body = await answer(client, "GET", "/_admin/time")
    assert (status, body["error"], body["code"]) == (200, False, 200)
    assert isinstance(body["time"], float)
    assert 1_700_000_000 < body["time"] < 10_000_000_000


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PROPFIND"])
async def test_sleep_answers_any_method_when_its_time_is_over(client: Client, method: str) -> None:
    expected = {"error": False, "code": 200, "duration": 0.01}
    assert await answer(client, method, "/_admin/sleep?duration=0.01") == (200, expected)


async def test_sleep_takes_no_time_by_default(client: Client) -> None:
    expected = {"error": False, "code": 200, "duration": 0.0}
    assert await answer(client, "GET", "/_admin/sleep") == (200, expected)


@pytest.mark.parametrize("duration", ["-1", "nan", "inf", "1e999", "soon", "", "1_0", "\u0661"])
async def test_sleep_refuses_what_is_no_time(client: Client, duration: str) -> None:
    expected = failure(400, 400, "bad parameter 'duration': expected seconds, 0 or more")
    got = await answer(client, "GET", "/_admin/sleep", params={"duration": duration})
    assert got == expected


async def test_there_are_no_collections(client: Client) -> None:
    expected = {"error": False, "code": 200, "result": []}
    assert await answer(client, "GET", "/_db/_system/_api/collection") == (200, expected)


async def test_a_collection_with_a_good_name_is_answered_as_if_it_had_been_made(
    client: Client,
) -> None:
    status, body = await answer(client, "POST", "/_api/collection", json={"name": "books"})
    assert body.pop("id").isdecimal()
    kind = {"name": "books", "status": 3, "type": 2, "isSystem": False}
    assert (status, body) == (200, {**kind, "error": False, "code": 200})


async def test_a_bad_name_is_refused_as_in_the_seed_though_curl_calls_it_a_form(
    client: Client,
) -> None:
    response = await client.post(
        "/_api/collection",
        data=b'{"name":" this name is invalid "}',
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    expected = failure(400, 1208, "cannot create collection: illegal name")
    assert (response.status, await response.json()) == expected


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": 7}, {"name": "_users"}])
async def test_a_missing_name_is_an_illegal_one(client: Client, body: dict[str, Any]) -> None:
    expected = failure(400, 1208, "cannot create collection: illegal name")
    assert await answer(client, "POST", "/_api/collection", json=body) == expected


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_refused(client: Client, body: bytes) -> None:
    expected = failure(400, 600, "the body is not valid JSON")
    assert await answer(client, "POST", "/_api/collection", data=body) == expected


async def test_a_body_that_is_no_object_is_refused(client: Client) -> None:
    expected = failure(400, 600, "the body is not a JSON object")
    assert await answer(client, "POST", "/_api/cursor", json=["query"]) == expected


async def test_a_json_body_of_more_than_a_mebibyte_is_refused(client: Client) -> None:
    status, body = await answer(client, "POST", "/_api/cursor", data=BytesIO(b" " * (MEBIBYTE + 1)))
    assert (status, body["errorNum"]) == (413, 413)


@pytest.mark.parametrize("name", ["a", "Z9", "with_-both", "x" * 256])
def test_a_name_is_a_letter_and_up_to_255_letters_digits_underscores_and_hyphens(
    name: str,
) -> None:
    assert is_collection_name(name)


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "a\n", "9a", "-a", "_a", "a.b", "ä", "x" * 257, None, 7]
)
def test_any_other_name_is_illegal(name: object) -> None:
    assert not is_collection_name(name)


def test_only_a_system_collection_may_begin_with_an_underscore() -> None:
    assert is_collection_name("_users", system=True)
    assert not is_collection_name("_us ers", system=True)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        (SEED, 100),
        ("RETURN 1", 0),
        ("return SLEEP( 2.5 )", 2.5),
        ("RETURN sleep(.5) + sleep(1e1)", 10.5),
        ("LET a = sleep(1) FOR i IN 1..3 LET b = sleep(2) RETURN i", 7),
        ("FOR i IN 3 .. -3 RETURN sleep(1)", 7),
        ("FOR u IN users FOR i IN 1..2 RETURN sleep(1)", 2),
        ("RETURN sleep(@seconds)", 0),
        ("RETURN sleep(1_0)", 0),
        ("FOR i IN 1..999999999999999 " * 30 + "RETURN sleep(0)", 0),
        ("RETURN sleep(1e999)", math.inf),
    ],
)
def test_a_query_takes_the_time_of_its_sleeps_once_for_each_row_of_the_ranges_before(
    query: str, seconds: float
) -> None:
    assert query_seconds(query) == seconds


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (SEED, [42]),
        ('FOR i IN 1..2 return {"a": [1, null]}\n', [{"a": [1, None]}]),
        ("RETURN", []),
        ("RETURN i", []),
        ("RETURN NaN", []),
        ("RETURN 1e999", []),
        ("RETURN " + "[" * 100_000, []),
        ("INSERT {} INTO books", []),
    ],
)
def test_a_query_gives_the_literal_that_it_ends_with_or_nothing(
    query: str, result: list[Any]
) -> None:
    assert query_result(query) == result


async def test_a_query_answers_with_a_cursor_that_has_no_more(client: Client) -> None:
    status, body = await answer(
        client, "POST", "/_api/cursor", json={"query": "LET x = sleep(0.01) RETURN 42"}
    )
    assert status == 201
    result = {"result": [42], "hasMore": False, "cached": False, "extra": {}}
    assert body == {**result, "error": False, "code": 201}


@pytest.mark.parametrize("body", [{}, {"query": ""}, {"query": " "}, {"query": 1}])
async def test_a_missing_query_is_refused(client: Client, body: dict[str, Any]) -> None:
    expected = failure(400, 1502, "query is empty")
    assert await answer(client, "POST", "/_api/cursor", json=body) == expected


async def test_a_query_reports_progress_and_stops_when_it_is_cancelled(target: InProcess) -> None:
    report = Listener()
    query = b'{"query": "FOR i IN 1..10 RETURN sleep(0.011)"}'
    request = Request(method="POST", path="/_api/cursor", body=query)

    async def run() -> None:
        async with target.send(request, JobHandle(1, 1, report)):
            pytest.fail("the query ended before it was cancelled")

    task = asyncio.create_task(run())
    async with asyncio.timeout(100):
        await report.begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert report.progress == [50.0]


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
async def test_echo_gives_body_and_content_type_back_as_they_are(
    client: Client, method: str
) -> None:
    kind = {"Content-Type": "Text/X-Odd;  charset=latin-1"}
    response = await client.request(method, "/echo", data=b"\x00\xff\r\n", headers=kind)
    assert await response.read() == b"\x00\xff\r\n"
    assert response.headers["Content-Type"] == kind["Content-Type"]
    assert response.headers["Content-Length"] == "4"


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_echo_gives_nothing_back_for_no_body(client: Client, method: str) -> None:
    response = await client.request(method, "/_db/_system/echo")
    assert (response.status, await response.read()) == (200, b"")
    assert response.headers["Content-Length"] == "0"


async def test_echo_answers_head_with_the_length_alone(client: Client) -> None:
    response = await client.head("/echo", data=b"four")
    assert (await response.read(), response.headers["Content-Length"]) == (b"", "4")


async def test_echo_gives_a_body_of_unknown_length_back_in_chunks(client: Client) -> None:
    response = await client.post("/echo", data=numbers(of=64))
    assert "Content-Length" not in response.headers
    assert await response.read() == b"".join([chunk async for chunk in numbers(of=64)])


async def test_echo_begins_to_answer_before_the_body_has_ended(client: Client) -> None:
    answered = asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"first"
        await answered.wait()
        yield b"last"

    response = await client.post("/echo", data=body())
    assert await response.content.readexactly(5) == b"first"
    answered.set()
    assert await response.read() == b"last"


async def test_echo_gives_a_compressed_body_back_whole_though_its_length_changes(
    client: Client,
) -> None:
    response = await client.post("/echo", data=b"a" * MEBIBYTE, compress=True)
    assert await response.read() == b"a" * MEBIBYTE


async def test_an_import_reports_its_counters_and_warnings_while_it_goes_on(
    target: InProcess,
) -> None:
    report = Listener()
    job = JobHandle(1, 1, report)
    status, body = await ran(target, job, "/import?records=10&seconds=0.11&warnings=2")
    assert status == 200
    assert body == b'{"error":false,"code":200,"records":10,"droppedRecords":2}'
    assert report.progress == [50.0, 100.0]
    assert len(report.warnings) == 2
    assert job.counters == {
        "IMPORT_RECORDS": 10,
        "IMPORT_BYTES": 480,
        "IMPORT_DROPPED_RECORDS": 2,
    }


async def test_an_import_that_is_told_to_fail_does_so_after_the_work(target: InProcess) -> None:
    job = JobHandle(1)
    status, body = await ran(target, job, "/import?records=5&seconds=0&fail=true")
    assert status == 500
    assert b'"errorMessage":"the import failed after 5 records, as requested"' in body
    assert job.counters["IMPORT_RECORDS"] == 5


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_import_that_is_no_job_reports_to_nobody(client: Client, method: str) -> None:
    expected = {"error": False, "code": 200, "records": 0, "droppedRecords": 1}
    assert await answer(client, method, "/_db/_system/import?warnings=1") == (200, expected)


@pytest.mark.parametrize(
    "query",
    [
        "records=-1",
        "records=1.5",
        "records=1000000000001",
        "records=" + "9" * 5000,
        "seconds=-1",
        "seconds=nan",
        "warnings=many",
        "warnings=10001",
        "fail=perhaps",
    ],
)
async def test_an_import_refuses_numbers_that_make_no_sense(client: Client, query: str) -> None:
    status, body = await answer(client, "POST", f"/import?{query}")
    name = query.partition("=")[0]
    assert (status, body["errorNum"]) == (400, 400)
    assert body["errorMessage"].startswith(f"bad parameter '{name}': expected")


async def ran(target: InProcess, job: JobHandle, path: str) -> tuple[int, bytes]:
    """Run a job, and return the status and the body of its response."""
    async with target.send(Request(method="POST", path=path), job) as response:
        return response.status, await content(response)


async def content(response: Response) -> bytes:
    """Read a response's body to its end."""
    return b"".join([chunk async for chunk in chunks(response.body)])
