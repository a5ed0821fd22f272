"""Clients that have said all and wait for their answers, and those that are gone."""

import asyncio
import json
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.web import connection
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.stores import held_up, rows, states, timeline
from tests.webapp import CHUNK
from trials.sockets import connected, message

LARGE = "/stream?sized&chunks=32"  # 2 MiB
HUGE = "/stream?sized&chunks=800"  # 50 MiB


async def answered(client: Client, data: bytes) -> bytes:
    """Send something and then nothing more; return what the server says until it closes."""
    async with connected(client.url) as half_closed:
        half_closed.writer.write(data)
        return await half_closed.said_all()


@pytest.mark.parametrize(
    "submission",
    [
        message("GET", "/greet/a", "x-arango-async: store"),
        message("POST", "/echo", "x-arango-async: store", body=b"abc"),
        message("POST", "/echo", "Prefer: respond-async", body=bytes(600 * 1024)),
        message("POST", "/_jobs", body=b'{"target": "/greet/a"}'),
        message("GET", "/greet/a", "x-arango-async: true", version="1.0"),
    ],
    ids=["header", "body", "large body", "JSON", "HTTP/1.0"],
)
async def test_a_submission_is_answered_though_its_client_sends_nothing_more(
    serve: Serve, store_path: Path, http: ClientSession, submission: bytes
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    async with held_up(store_path):
        asking = asyncio.create_task(answered(client, submission))
        await client("GET", "/_api/job/pending")
    status_line = (await asking).split(b"\r\n")[0]
    assert status_line[8:] == b" 202 Accepted"
    assert len(states(store_path)) == 1


@pytest.mark.parametrize("path", ["/greet/a", LARGE, HUGE])
async def test_a_reader_who_sends_nothing_more_gets_the_whole_result_and_has_it_then(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    expected = (await client("GET", path)).body
    job_id = await client.done(path)
    answer = await answered(client, message("PUT", f"/_api/job/{job_id}"))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n" + expected)
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404
    assert timeline(store_path, job_id)[-1] == "fetched"


@pytest.mark.parametrize("path", ["/greet/a", LARGE])
async def test_a_result_is_not_delivered_to_a_reader_who_is_gone(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    expected = (await client("GET", path)).body
    job_id = await client.done(path)
    async with held_up(store_path), connected(client.url) as reader:
        await reader.send(message("PUT", f"/_api/job/{job_id}"))
        await client("GET", f"/_api/job/{job_id}")
        await reader.leave()
    answer = await client.told(job_id)
    assert (answer.status, answer.body) == (200, expected)


async def test_a_request_that_passes_through_is_answered_though_its_client_sends_nothing_more(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    asking = asyncio.create_task(answered(client, message("GET", "/wait/a")))
    await client.when("a", "started")
    await client.let("a")
    assert (await asking).endswith(b"\r\n\r\na is done")


async def test_an_answer_that_comes_late_comes_after_the_question_whether_anybody_is_there(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    async with connected(client.url) as half_closed:
        half_closed.writer.write(message("GET", "/wait/a"))
        half_closed.writer.write_eof()
        assert await half_closed.head() == ["HTTP/1.1 100 Continue"]
        await client.let("a")
        assert (await half_closed.head())[0] == "HTTP/1.1 200 OK"
        assert await half_closed.rest() == b"a is done"


async def test_a_half_closed_client_that_waits_for_a_result_gets_it(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    job_id = await client.submit("/wait/a")
    await client.when("a", "started")
    waiting = message("PUT", f"/_api/job/{job_id}", "Prefer: wait=600")
    async with connected(client.url) as half_closed:
        half_closed.writer.write(waiting)
        half_closed.writer.write_eof()
        assert await half_closed.head() == ["HTTP/1.1 100 Continue"]
        await client.let("a")
        assert (await half_closed.head())[0] == "HTTP/1.1 200 OK"
        assert await half_closed.rest() == b"a is done"


async def test_requests_that_were_sent_one_behind_the_other_are_all_answered(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    names = [f"number{number}" for number in range(40)]
    answers = await answered(client, b"".join(message("GET", f"/greet/{name}") for name in names))
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == len(names)
    assert all(f'"{name}"'.encode() in answers for name in names)


@pytest.mark.parametrize("fields", [("x-arango-async: store",), ()], ids=["job", "passed through"])
@pytest.mark.parametrize("body", [b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked"])
async def test_a_body_that_is_not_all_there_is_a_bad_request_and_nothing_is_kept(
    serve: Serve, store_path: Path, http: ClientSession, fields: tuple[str, ...], body: bytes
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    head = message("POST", "/echo", *fields).removesuffix(b"\r\n")
    rest = body if body.endswith(b"half") else body + b"\r\n\r\na\r\nhalf"
    answer = await answered(client, head + rest)
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert rows(store_path, "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM body)") == [
        (0, 0)
    ]


async def test_the_last_of_several_requests_may_be_the_one_that_is_not_all_there(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    broken = message("POST", "/echo", "Content-Length: 10", "x-arango-async: store") + b"half"
    answers = await answered(client, message("GET", "/greet/a") * 3 + broken)
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == 3
    assert answers.count(b"HTTP/1.1 400 Bad Request\r\n") == 1


async def test_a_client_that_sends_nothing_at_all_is_not_waited_for(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    assert await answered(client, b"") == b""
    assert await answered(client, b"GET /greet/a HTT") == b""


async def test_a_client_that_is_gone_is_noticed_before_there_is_an_answer(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    async with connected(client.url) as leaving:
        await leaving.send(message("GET", "/wait/a"))
        await client.when("a", "started")
        await leaving.leave()
    await client.when("a", "cancelled")


async def test_a_client_that_is_gone_is_not_waited_for_by_its_long_poll(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED)
    client = Client(http, server.url)
    job_id = await client.submit("/wait/a")
    async with connected(client.url) as leaving:
        await leaving.send(message("GET", f"/_jobs/{job_id}", "Prefer: wait=3600"))
        while not server.store.waits.watched(job_id):
            await client("GET", "/started")
        await leaving.leave()
    while server.store.waits.watched(job_id):
        await client("GET", "/started")
    assert json.loads((await client("GET", "/started")).body) == ["a"]


async def test_an_answer_that_has_begun_goes_on_though_its_client_sends_nothing_more(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    answer = await answered(client, message("GET", "/stream?chunks=64", "Connection: close"))
    assert answer.count(CHUNK) == 64


def test_the_names_of_aiohttps_protocol_that_are_used_are_still_there() -> None:
    taken = {"_messages", "_waiter", "_current_request", "_request_in_progress", "_loop"}
    slots = {
        name
        for kind in connection.ClientConnection.__mro__
        for name in vars(kind).get("__slots__", ())
    }
    assert taken <= slots
