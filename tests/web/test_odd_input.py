"""What JSON and queries can say but nothing can store or send: refused in a sentence, never 500."""

import json
from typing import Any

import pytest
from aiohttp import ClientSession
from yarl import URL

from jobstore.web import documents
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.raw import Front
from trials.clients import Answer
from trials.sockets import status_of

HALF = '"\\ud800"'  # half of a surrogate pair, as JSON writes it
HALVES = [HALF, '"\\uDFFF"', '"\\udc00\\ud800"', '"fine \\ud83d\\ude00, but \\ud83d"']
DRAFT = '"name": "a", "path": "/a", "target": "/wait/a"'
# The calls that take a document, and what such a document needs.
DOCUMENTS = {
    "POST /_jobs": '"target": "/wait/a"',
    "POST /_jobs/definitions": DRAFT,
    "PATCH /_jobs/definitions/1": '"name": "b"',
    "POST /_jobs/1/report": '"progress": 1',
}
QUERIES = [
    "GET /_jobs?owner={}",
    "GET /_jobs?tag={}",
    "GET /_jobs?path={}",
    "GET /_jobs?since={}",
    "GET /_jobs?cursor={}",
    "GET /_jobs?{}=1",
    "GET /_jobs/definitions?path={}",
    "GET /_jobs/definitions?limit={}",
    "GET /_jobs/definitions/1?fires={}",
    "GET /_api/job/done?count={}",
    "DELETE /_api/job/expired?stamp={}",
    "GET /rest/job-configuration/job-history/1?length={}",
    "POST /rest/job-execution?configuration={}",
    "GET /_jobs/{}",
    "POST /_jobs/{}/take",
    "GET /_jobs/definitions/{}",
    "DELETE /_jobs/definitions/{}",
    "PUT /_api/job/{}",
    "DELETE /_api/job/{}",
    "GET /_db/{}/_api/job/1",
    "GET /rest/job-configuration/job-status/{}",
    "GET /api/job-execution/{}/status",
    "GET /api/job-execution/a/{}/b/status",
    "POST /rest/job-execution/job-kill/{}",
    "DELETE /rest/data/{}",
]
ODD = ["%FF", "%ED%A0%80", "%C3", "%00", "a%00b", "%F4%90%80%80", "%EF%BF%BE", "1e999", "NaN"]


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server with a job that runs and a definition."""
    client = Client(http, (await serve(target=GATED)).url)
    await client("POST", "/_jobs/definitions", json={"name": "x", "path": "/x", "target": "/a"})
    await client.submit("/wait/it")
    await client.when("it", "started")
    return client


async def sent(client: Client, call: str, body: bytes | None = None) -> Answer:
    """Send a request with a target that is quoted already."""
    method, target = call.split(" ", 1)
    url = URL(client.url + target, encoded=True)
    headers = {"Jobstore-Attempt": "1"}
    async with client.http.request(method, url, data=body, headers=headers) as response:
        return Answer(response.status, response.headers, await response.read())


async def refused(client: Client, call: str, document: str | bytes) -> str:
    """Send a document that is refused; give the sentence that says why."""
    body = document if isinstance(document, bytes) else document.encode()
    answer = await sent(client, call, body)
    problem: dict[str, Any] = json.loads(answer.body)
    assert (answer.status, problem["status"]) == (400, 400), problem
    detail: str = problem["detail"]
    detail.encode()
    return detail


@pytest.mark.parametrize(("call", "needed"), DOCUMENTS.items())
async def test_half_of_a_surrogate_pair_as_a_name_is_refused(
    client: Client, call: str, needed: str
) -> None:
    for half in HALVES:
        for document in (
            f"{{{half}: 1}}",
            f"{{{needed}, {half}: 1}}",
            f'{{{needed}, "headers": {{{half}: "a"}}}}',
            f'{{{needed}, "schedule": {{"cron": "* * * * *", {half}: 1}}}}',
            f'{{{needed}, "counters": {{{half}: 1}}}}',
        ):
            told = await refused(client, call, document)
            assert told.endswith("expected whole characters, not half of a surrogate pair")


@pytest.mark.parametrize(("call", "needed"), DOCUMENTS.items())
@pytest.mark.parametrize("member", ["tag", "body", "path", "warnings", "unknown"])
async def test_half_of_a_surrogate_pair_as_a_value_is_refused(
    client: Client, call: str, needed: str, member: str
) -> None:
    for value in (HALF, f"[{HALF}]", f'{{"a": [{HALF}]}}'):
        await refused(client, call, f'{{{needed}, "{member}": {value}}}')


@pytest.mark.parametrize("call", DOCUMENTS)
async def test_bytes_that_are_no_characters_are_refused(client: Client, call: str) -> None:
    for document in (b'{"\xed\xa0\x80": 1}', b'{"tag": "\xff"}', b"\xff\xfe\x00\xd8", b""):
        assert (await refused(client, call, document)).startswith("the body is not valid JSON")


@pytest.mark.parametrize(("call", "needed"), DOCUMENTS.items())
@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999", "-1e999", "1" + "0" * 5000])
async def test_numbers_that_are_none_are_refused(
    client: Client, call: str, needed: str, number: str
) -> None:
    for member in ("timeout", "priority", "progress", "unknown"):
        told = await refused(client, call, f'{{{needed}, "{member}": {number}}}')
        assert told.startswith("the body is not valid JSON")


@pytest.mark.parametrize(("call", "needed"), DOCUMENTS.items())
async def test_numbers_that_are_too_large_are_refused_by_the_name_of_their_member(
    client: Client, call: str, needed: str
) -> None:
    for member in ("progress",) if call.endswith("report") else ("timeout", "retries"):
        assert member in await refused(client, call, f'{{{needed}, "{member}": 1{"0" * 400}}}')


@pytest.mark.parametrize("call", QUERIES)
async def test_odd_queries_and_paths_are_answered_in_words_that_can_be_sent(
    client: Client, call: str
) -> None:
    for odd in ODD:
        answer = await sent(client, call.format(odd))
        assert answer.status < 500, (call, odd)
        answer.body.decode()


async def test_a_whole_pair_is_a_character_like_any(client: Client) -> None:
    document = b'{"target": "/wait/b", "tag": "\\ud83d\\ude00"}'
    answer = await sent(client, "POST /_jobs", document)
    assert answer.status == 202
    tagged = await sent(client, "GET /_jobs?tag=%F0%9F%98%80")
    assert len(json.loads(tagged.body)["jobs"]) == 1


@pytest.mark.parametrize("authorization", [b"Bearer \xff", b"Basic \xff", b"Basic gD4AOg=="])
async def test_odd_credentials_are_answered(client: Client, authorization: bytes) -> None:
    front = Front(client.url)
    answer = await front.ask("GET", "/_jobs", b"Authorization: " + authorization)
    assert status_of(answer) == 200


def test_what_can_be_stored_is_read_as_it_stands() -> None:
    assert documents.loads(b'{"a": [1, -1.5e300, true, null, "\\u0000"]}') == {
        "a": [1, -1.5e300, True, None, "\0"]
    }
    assert documents.loads('{"a": "ä\\ud83d\\ude00"}'.encode()) == {"a": "ä😀"}
    assert documents.loads(rb'"a backslash and its neighbour: \\ud800"') == (
        "a backslash and its neighbour: \\ud800"
    )
