"""Heads of messages on their way through and into jobs: every byte of them, or a plain refusal."""

import asyncio
import json
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web

from jobstore.store.codec import decode_reason, encode_reason
from tests.commands import said
from tests.conftest import Serve, running
from tests.peers import Origin, Services
from tests.raw import Front
from tests.stores import states
from trials.sockets import field_of, fields_of, say, status_of, values_of

BODY = b"Content-Length: 2\r\n\r\nok"
OPAQUE = [
    b"M\xfcller",
    b'attachment; filename="\xe4.txt"',
    "Müller ☃".encode(),
    b"\xed\xa0\x80\xff",
]
both = pytest.mark.parametrize("job", [False, True], ids=["passed through", "as a job"])

Before = Callable[..., Awaitable[Front]]


@pytest.fixture
def before(serve: Serve, services: Services) -> Before:
    """Give a function that starts a server before an origin."""

    async def start(origin: Origin, **sections: object) -> Front:
        target = {"upstream": await services.listen(origin.talk)}
        return Front((await serve(target=target, **sections)).url)

    return start


async def command(*arguments: object) -> str:
    """Call a command beside the server; the last argument is the store."""
    return await asyncio.to_thread(said, *arguments[:-1], "--store", arguments[-1])


# --- bytes --------------------------------------------------------------------------------------


@both
@pytest.mark.parametrize("value", OPAQUE)
async def test_each_byte_of_a_requests_header_reaches_the_service(
    before: Before, value: bytes, *, job: bool
) -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\n" + BODY)
    front = await before(origin)
    if job:
        await front.fetch(await front.submit("POST", "/x", b"X-Name: " + value))
    else:
        await front.ask("POST", "/x", b"X-Name: " + value)
    (head,) = origin.heads
    assert field_of(head, b"X-Name") == value


@both
@pytest.mark.parametrize("value", OPAQUE)
async def test_each_byte_of_an_answers_header_reaches_the_client(
    before: Before, value: bytes, *, job: bool
) -> None:
    front = await before(Origin(b"HTTP/1.1 200 OK\r\nX-Name: " + value + b"\r\n" + BODY))
    answer = await front.answer("GET", "/x", job=job)
    assert (field_of(answer, b"X-Name"), answer[-2:]) == (value, b"ok")


@both
@pytest.mark.parametrize("reason", [b"Tr\xe8s bien", "Très bien".encode()])
async def test_each_byte_of_a_reason_reaches_the_client(
    before: Before, reason: bytes, *, job: bool
) -> None:
    front = await before(Origin(b"HTTP/1.1 200 " + reason + b"\r\n" + BODY))
    answer = await front.answer("GET", "/x", job=job)
    assert answer.split(b"\r\n")[0] == b"HTTP/1.1 200 " + reason


async def test_a_body_goes_out_behind_a_head_that_is_no_text(
    serve: Serve, services: Services
) -> None:
    got: list[bytes] = []

    async def read(request: web.Request) -> web.Response:
        got.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/", read)
    server = await serve(target={"upstream": await services.application(app)})
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nX: \xfc\r\nConnection: close\r\n"
    await say(server.url, head + b"Content-Length: 4\r\n\r\nbody")
    await say(server.url, head + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
    assert got == [b"body", b"body"]


async def test_a_host_that_is_no_text_travels_on_quoted(before: Before) -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\n" + BODY)
    front = await before(origin)
    await say(front.url, b'GET / HTTP/1.1\r\nHost: \xff"\\\r\nConnection: close\r\n\r\n')
    quoted = b'for=127.0.0.1;host="\xff\\"\\\\";proto=http'
    assert field_of(origin.heads[0], b"Forwarded") == quoted
    assert field_of(origin.heads[0], b"Host") == b'\xff"\\'


async def test_each_byte_of_a_header_reaches_a_handler_in_process(serve: Serve) -> None:
    front = Front((await serve(target={"app": "tests.webapp:create_app"})).url)
    answer = await front.fetch(await front.submit("GET", "/mirror/", b"X-Name: M\xfcller"))
    raw = dict(json.loads(answer.partition(b"\r\n\r\n")[2])["raw"])
    assert raw["x-name"] == "Müller"  # the mirror shows bytes as Latin-1


async def test_a_message_that_is_no_text_is_shown_as_json_that_is_some(
    before: Before, store_path: Path
) -> None:
    front = await before(Origin(b"HTTP/1.1 200 Tr\xe8s bien\r\nX-Name: M\xfcller\r\n" + BODY))
    job_id = await front.submit("GET", "/x", b"X-Mine: \xe4")
    await front.ended(job_id)
    shown = json.loads(await command("show", job_id, "--json", store_path))
    assert ["X-Mine", r"\xe4"] in shown["request"]["headers"]
    assert ["X-Name", r"M\xfcller"] in shown["response"]["headers"]
    assert shown["response"]["reason"] == r"Tr\xe8s bien"


@pytest.mark.parametrize("raw", [b"OK", "Très ☃".encode(), b"Tr\xe8s", b"\x1f", b"\xff\x00\x1f"])
def test_a_reason_comes_out_of_the_store_as_it_went_in(raw: bytes) -> None:
    reason = raw.decode("utf-8", "surrogateescape")
    assert decode_reason(encode_reason(reason)) == reason
    encode_reason(reason).encode()


# --- heads that cannot be sent ------------------------------------------------------------------

UNSENDABLE = [
    b"HTTP/1.1 200 OK\r\nX: a\x01b\r\n",
    b"HTTP/1.1 200 OK\r\nX: \x07\r\n",
    b"HTTP/1.1 200 OK\r\nX: \x1b[31m\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x7f\r\n",
    b"HTTP/1.1 200 O\x1bK\r\n",
    b"HTTP/1.1 200 OK\r\nX Y: a\r\n",
]


@both
@pytest.mark.parametrize("head", UNSENDABLE)
async def test_an_answer_that_could_not_be_sent_on_is_a_502_at_once(
    before: Before, store_path: Path, head: bytes, *, job: bool
) -> None:
    front = await before(Origin(head + BODY))
    assert status_of(await front.answer("GET", "/x", job=job)) == 502
    assert {state for state, _ in states(store_path).values()} <= {"failed"}


@pytest.mark.parametrize("field", ["X-Bad=a%1Bb", "X%20Bad=a", "X:Bad=a", "=a"])
async def test_a_handler_in_process_cannot_give_such_an_answer_either(
    serve: Serve, field: str
) -> None:
    front = Front((await serve(target={"app": "tests.web.test_heads:create_app"})).url)
    assert status_of(await front.answer("GET", f"/set?{field}", job=True)) == 502


def create_app() -> web.Application:
    """Make an application whose answers have the fields that its queries name."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(headers=request.query)

    app = web.Application()
    app.router.add_get("/set", answer)
    return app


async def test_a_result_of_an_earlier_version_that_cannot_be_sent_is_no_internal_error(
    before: Before, services: Services, store_path: Path
) -> None:
    origin = Origin(b"HTTP/1.1 200 OK\r\n" + BODY)
    async with running(store_path, target={"upstream": await services.listen(origin.talk)}) as old:
        job_id = await Front(old.url).submit("GET", "/x")
        await Front(old.url).ended(job_id)
    with sqlite3.connect(store_path) as connection:
        connection.execute("UPDATE response SET headers = ?", (json.dumps([["X", "a\x01"]]),))
    connection.close()
    front = await before(origin)
    for path in (f"/_api/job/{job_id}", f"/_api/job/{job_id}"):
        answer = await front.ask("PUT", path)
        assert (status_of(answer), b"control character" in answer) == (502, True)
    shown = await front.ask("GET", f"/_jobs/{job_id}/response")
    assert (status_of(shown), b"control character" in shown) == (502, True)
    assert states(store_path) == {job_id: ("done", "held")}
    assert await command("show", job_id, "--body", "response", store_path) == "ok"


# --- where an answer ends -----------------------------------------------------------------------

EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
WHOLE = [
    ("GET", EMPTY + b"0\r\n\r\n", 204),
    ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\nhello", 304),
    ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200),
    ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + EMPTY + b"0\r\n\r\n", 204),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nhello", 200),
    ("GET", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok, hello", 200),
    ("GET", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nhello", 200),
]


@both
@pytest.mark.parametrize(("method", "said", "status"), WHOLE)
async def test_what_follows_the_end_of_an_answer_does_not_cost_the_answer(
    before: Before, method: str, said: bytes, status: int, *, job: bool
) -> None:
    origin = Origin(said)
    front = await before(origin)
    for asked in (1, 2):
        answer = await front.answer(method, "/x", job=job)
        assert (status_of(answer), b"hello" in answer) == (status, False)
        assert origin.connections == asked  # each was dropped after its answer


@both
@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"chunked,chunked", b"GZIP,chunked"])
async def test_an_answer_with_a_transfer_coding_that_is_not_undone_here_is_a_502(
    before: Before, coding: bytes, *, job: bool
) -> None:
    chunk = b"\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    front = await before(Origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + coding + chunk))
    assert status_of(await front.answer("GET", "/x", job=job)) == 502


async def test_the_length_that_an_answer_to_head_names_is_kept(before: Before) -> None:
    front = await before(Origin(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"))
    direct = await front.ask("HEAD", "/x")
    result = await front.answer("HEAD", "/x", job=True)
    assert field_of(direct, b"Content-Length") == b"1234"
    assert field_of(result, b"Jobstore-Content-Length") == b"1234"
    assert field_of(result, b"Content-Length") == b"0"  # its reader shall not wait for more


async def test_the_length_of_a_body_is_not_said_twice(before: Before) -> None:
    front = await before(Origin(b"HTTP/1.1 200 OK\r\n" + BODY))
    result = await front.answer("GET", "/x", job=True)
    assert values_of(result, b"Jobstore-Content-Length") == []


# --- how much a head may be ---------------------------------------------------------------------


@both
async def test_many_fields_and_long_ones_are_taken_both_ways(before: Before, *, job: bool) -> None:
    fields = [b"X-%d: a" % number for number in range(300)] + [b"X-Long: " + b"a" * 9 * 1024]
    origin = Origin(b"HTTP/1.1 200 OK\r\n" + b"\r\n".join(fields) + b"\r\n" + BODY)
    front = await before(origin)
    if job:
        answer = await front.fetch(await front.submit("GET", "/x", *fields))
    else:
        answer = await front.ask("GET", "/x", *fields)
    assert set(fields) <= set(fields_of(origin.heads[0]))
    assert set(fields) <= set(fields_of(answer))


TOO_MUCH = [
    ({"fields": 10}, b"X: a\r\n" * 11, b"more than 10 fields: see [http] fields"),
    ({"field_size": "2KiB"}, b"X: " + b"a" * 2100 + b"\r\n", b"see [http] field_size"),
    ({"head_size": "2KiB"}, (b"X: " + b"a" * 500 + b"\r\n") * 5, b"see [http] head_size"),
]


@both
@pytest.mark.parametrize(("limit", "fields", "said"), TOO_MUCH)
async def test_an_answer_that_exceeds_a_limit_is_a_502_that_names_it(
    before: Before, limit: dict[str, object], fields: bytes, said: bytes, *, job: bool
) -> None:
    front = await before(Origin(b"HTTP/1.1 200 OK\r\n" + fields + BODY), http=limit)
    answer = await front.answer("GET", "/x", job=job)
    assert (status_of(answer), said in answer) == (502, True)


async def test_trailers_that_exceed_a_limit_break_the_answer_off_and_say_so(
    before: Before,
) -> None:
    chunks = b"2\r\nok\r\n0\r\nX: " + b"a" * 3000 + b"\r\n\r\n"
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
    front = await before(Origin(said), http={"field_size": "2KiB"})
    answer = await front.answer("GET", "/x", job=True)
    assert (status_of(answer), b"see [http] field_size" in answer) == (502, True)


@pytest.mark.parametrize(("limit", "fields", "_"), TOO_MUCH)
async def test_a_request_that_exceeds_a_limit_is_answered_431(
    before: Before, limit: dict[str, object], fields: bytes, _: bytes
) -> None:
    front = await before(Origin(b"HTTP/1.1 200 OK\r\n" + BODY), http=limit)
    answer = await say(
        front.url, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" + fields + b"\r\n"
    )
    assert (status_of(answer), b"expected" in answer) == (431, True)


async def test_a_body_does_not_count_as_a_head(serve: Serve) -> None:
    server = await serve(target={"app": "tests.webapp:create_app"}, http={"head_size": "1KiB"})
    head = b"POST /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 300000\r\n\r\n"
    answer = await say(server.url, head + b"a" * 300_000)
    assert (status_of(answer), len(answer.partition(b"\r\n\r\n")[2])) == (200, 300_000)
