import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from aiohttp import ClientSession, FormData, web
from yarl import URL

from jobstore.model.errors import BodyBroken, TargetBroken
from jobstore.model.handle import JobHandle
from jobstore.model.message import Body, Headers, Request, Response, chunks, header, without
from jobstore.targets.inprocess import InProcess, current
from jobstore.targets.pipe import BOUND
from tests.loop import turns
from tests.pieces import Pieces
from tests.stores import content
from tests.webapp import CHUNK, SEEN, Seen, create_app
from trials.clients import client
from trials.services import site

MEBIBYTE = 1 << 20
HOST = (("Host", "example.com"), ("Accept", "*/*"))
OF_ONE_CONNECTION = ("connection", "date", "keep-alive", "transfer-encoding")


@dataclass
class Both:
    """The same application, in process and on a socket."""

    target: InProcess
    seen: Seen
    client: ClientSession
    url: str

    async def in_process(self, request: Request) -> tuple[Response, bytes]:
        """Answer in process, and read the body."""
        async with self.target.send(request, JobHandle()) as response:
            return response, await content(response.body)

    async def on_socket(self, request: Request) -> tuple[Response, bytes]:
        """Answer over the socket, and read the body."""
        body = await content(request.body)
        async with self.client.request(
            request.method,
            URL(self.url + request.path, encoded=True),
            data=BytesIO(body) if body else None,
            headers=request.headers,
            allow_redirects=False,
        ) as answer:
            headers = tuple(answer.headers.items())
            response = Response(status=answer.status, reason=answer.reason, headers=headers)
            return response, await answer.read()


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    app = create_app()
    runner = web.AppRunner(app)
    skipped = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")
    async with site(runner) as url, client(skip_auto_headers=skipped) as http:
        assert runner.server is not None
        yield Both(InProcess(runner.server), app[SEEN], http, url)


def get(path: str, *headers: tuple[str, str]) -> Request:
    return Request(method="GET", path=path, headers=(*HOST, *headers))


def post(path: str, body: Body, *headers: tuple[str, str]) -> Request:
    return Request(method="POST", path=path, headers=(*HOST, *headers), body=body)


def lasting(headers: Headers) -> list[tuple[str, str]]:
    return sorted((name.lower(), value) for name, value in without(headers, OF_ONE_CONNECTION))


@pytest.mark.parametrize(
    "request_",
    [
        get("/greet/world"),
        get("/greet/a%2Fb%20c%C3%A4?x=%26&y=a+b&z"),
        get("//greet/world"),
        get("/greet/../greet/./dots"),
        get("/nowhere"),
        Request(method="HEAD", path="/greet/world", headers=HOST),
        Request(method="HEAD", path="/file", headers=HOST),
        Request(method="HEAD", path="/unhandled", headers=HOST),
        Request(method="DELETE", path="/echo", headers=HOST),
        post("/echo", b""),
        post("/echo", b"body", ("Content-Type", "text/x-own")),
        post("/echo", b"x" * MEBIBYTE, ("Content-Type", "text/x-own")),
        post("/echo", Pieces(b"piece", 100, size=500), ("Content-Type", "text/x-own")),
        post("/echo", gzip.compress(b"body" * 99), ("Content-Encoding", "gzip")),
        post("/echo", gzip.compress(b"body" * MEBIBYTE), ("Content-Encoding", "gzip")),
        post("/echo", b"not compressed", ("Content-Encoding", "gzip")),
        get("/stream?chunks=0"),
        get("/stream?chunks=2"),
        get("/stream?chunks=40"),
        get("/stream?chunks=40&sized"),
        get("/cookies"),
        get("/file"),
        get("/file", ("Range", "bytes=10-19")),
        get("/file", ("Range", "bytes=999999999-")),
        get("/file", ("If-None-Match", "*")),
        get("/compressed", ("Accept-Encoding", "gzip")),
        get("/compressed", ("Accept-Encoding", "deflate")),
        get("/compressed"),
        get("/compressed-stream", ("Accept-Encoding", "gzip")),
        get("/unhandled"),
        get("/unhandled", ("Accept", "text/html")),
        get("/timed-out"),
        get("/nothing"),
        get("/redirect"),
        get("/refuse"),
        get("/status/204"),
        get("/status/304"),
        get("/status/299"),
        get("/progress"),
    ],
    ids=lambda request: f"{request.method} {request.path}",
)
async def test_an_application_answers_in_process_as_on_a_socket(
    both: Both, request_: Request
) -> None:
    there, expected = await both.on_socket(request_)
    here, body = await both.in_process(request_)
    assert (here.status, body) == (there.status, expected)
    assert lasting(here.headers) == lasting(there.headers)
    assert not {name.lower() for name, _ in here.headers} & {"connection", "transfer-encoding"}
    assert header(here.headers, "date")
    assert header(here.headers, "server") == header(there.headers, "server")


async def test_an_application_sees_in_process_the_same_request_as_on_a_socket(both: Both) -> None:
    for request in (
        get("/mirror/a%2Fb?c=%20d+e&f", ("X-Twice", "1"), ("X-Twice", "2"), ("X-Bytes", "ä")),
        post("/mirror/", b"body", ("Content-Type", "text/plain")),
        post("/mirror/", b"longer", ("Content-Length", "6")),
    ):
        _, there = await both.on_socket(request)
        _, here = await both.in_process(request)
        assert here == there


async def test_the_answer_to_head_has_no_body_whatever_its_handler_writes(both: Both) -> None:
    # On a socket, aiohttp lets such a body through, and the next answer on it is garbage.
    for path in ("/stream?sized&chunks=40", "/stream?chunks=40", "/too-short"):
        response, _ = await both.in_process(Request(method="HEAD", path=path))
        assert (response.status, response.body) == (200, b"")


async def test_bytes_in_a_header_that_are_no_text_arrive_as_they_are(both: Both) -> None:
    request = get("/mirror/", ("X-Bytes", b"\xe9".decode("utf-8", "surrogateescape")))
    _, body = await both.in_process(request)
    assert b'["x-bytes", "\\u00e9"]' in body


async def test_a_body_of_unknown_length_comes_without_one(both: Both) -> None:
    request = post("/mirror/", Pieces(b"piece", 2), ("Content-Length", "3"))
    _, body = await both.in_process(request)
    assert b'"length": null' in body
    assert b'"body": "piecepiece"' in body


async def test_a_request_that_expects_100_continue_is_answered_once(both: Both) -> None:
    response, body = await both.in_process(post("/echo", b"body", ("Expect", "100-continue")))
    assert (response.status, body) == (200, b"body")


async def test_a_form_with_files_is_read_and_its_files_are_closed(both: Both) -> None:
    form = FormData()
    form.add_field("small", b"abc", filename="a.txt", content_type="text/plain")
    form.add_field("large", BytesIO(bytes(3 * MEBIBYTE)), filename="b.bin")
    form.add_field("word", "ä")
    payload = form()
    request = post("/upload", await payload.as_bytes(), ("Content-Type", payload.content_type))
    _, there = await both.on_socket(request)
    _, here = await both.in_process(request)
    assert here == there


async def test_the_standard_reason_is_not_repeated(both: Both) -> None:
    standard, _ = await both.in_process(get("/status/404"))
    own, _ = await both.in_process(get("/status/404?reason=Gone+fishing"))
    assert (standard.reason, own.reason) == (None, "Gone fishing")


async def test_a_complete_answer_is_one_value_and_a_long_one_a_stream(both: Both) -> None:
    complete, _ = await both.in_process(get("/stream?chunks=1"))
    long, _ = await both.in_process(get("/stream?chunks=40&sized"))
    endless, _ = await both.in_process(get("/stream?chunks=40"))
    assert complete.body == CHUNK
    assert not isinstance(long.body, bytes)
    assert long.body.size == 40 * len(CHUNK)
    assert not isinstance(endless.body, bytes)
    assert endless.body.size is None


async def test_a_stream_that_trickles_is_passed_on_at_once(both: Both) -> None:
    async with both.target.send(get("/trickle"), JobHandle()) as response:
        body = chunks(response.body)
        assert await anext(body) == b"first"
        both.seen.go_on.set()
        assert [chunk async for chunk in body] == [b"last"]


async def test_what_a_handler_does_after_its_last_byte_is_not_cut_off(both: Both) -> None:
    both.seen.go_on.set()
    async with both.target.send(get("/trickle"), JobHandle()) as response:
        await content(response.body)
    assert both.seen.finished.is_set()
    assert not both.seen.cancelled.is_set()


async def test_a_handler_writes_no_faster_than_its_reader_reads(both: Both) -> None:
    async with both.target.send(get("/stream?chunks=1024"), JobHandle()) as response:
        taken = 0
        async for chunk in chunks(response.body):
            taken += len(chunk)
            assert both.seen.written - taken <= BOUND
            await turns(1)
        assert taken == 64 * MEBIBYTE


async def test_a_request_body_is_read_no_faster_than_its_handler_reads(both: Both) -> None:
    body = Pieces(CHUNK, 1024)
    request = post("/count?wait", body)
    sending = asyncio.create_task(both.in_process(request))
    await both.seen.started.wait()
    await turns(100)
    assert BOUND < body.given * len(CHUNK) <= BOUND + len(CHUNK)
    both.seen.go_on.set()
    _, answer = await sending
    assert answer == b'{"size": 67108864}'


async def test_a_small_body_that_unpacks_to_a_large_one_stays_bounded(both: Both) -> None:
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    request = post("/count", bomb, ("Content-Encoding", "gzip"))
    _, answer = await both.in_process(request)
    assert answer == b'{"size": 67108864}'


async def test_leaving_before_the_end_cancels_the_handler(both: Both) -> None:
    async with both.target.send(get("/trickle"), JobHandle()):
        pass
    assert both.seen.cancelled.is_set()


async def test_what_is_read_after_leaving_says_that_it_is_broken(both: Both) -> None:
    async with both.target.send(get("/trickle"), JobHandle()) as response:
        body = chunks(response.body)
    with pytest.raises(TargetBroken):
        await anext(body)


@pytest.mark.parametrize("path", ["/slow", "/stubborn"])
async def test_cancelling_the_sender_cancels_the_handler(both: Both, path: str) -> None:
    sending = asyncio.create_task(both.in_process(get(path)))
    await both.seen.started.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    assert both.seen.cancelled.is_set()


async def test_a_handler_that_writes_into_the_void_does_not_hold_up_the_loop(both: Both) -> None:
    request = Request(method="HEAD", path="/stream?chunks=999999999999")
    sending = asyncio.create_task(both.in_process(request))
    while not both.seen.written:
        await turns(1)
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending


async def test_a_request_to_the_server_as_a_whole_reaches_the_application(both: Both) -> None:
    response, _ = await both.in_process(Request(method="OPTIONS", path="*"))
    assert response.status == 404


@pytest.mark.parametrize(
    "path", ["/too-late", "/too-short", "/gives-up", "/injected", "/status/999"]
)
async def test_an_answer_that_is_broken_off_is_an_error(both: Both, path: str) -> None:
    with pytest.raises(TargetBroken):
        await both.in_process(get(path))


async def test_a_response_given_a_second_time_is_an_error() -> None:
    response = web.Response(text="once")
    app = web.Application()

    async def reuse(_request: web.Request) -> web.Response:
        return response

    app.router.add_get("/", reuse)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    target = InProcess(runner.server)
    async with target.send(get("/"), JobHandle()) as first:
        assert first.body == b"once"
    with pytest.raises(TargetBroken):
        async with target.send(get("/"), JobHandle()):
            pass
    await runner.cleanup()


async def test_a_request_body_that_breaks_off_is_not_the_targets_fault(both: Both) -> None:
    with pytest.raises(BodyBroken):
        await both.in_process(post("/echo", Pieces(b"half", 1, error=BodyBroken())))


async def test_a_handler_need_not_read_the_body(both: Both) -> None:
    response, _ = await both.in_process(post("/refuse", Pieces(CHUNK, 1024)))
    assert response.status == 409


async def test_an_unhandled_exception_is_logged_and_not_shown(
    both: Both, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        response, body = await both.in_process(get("/unhandled"))
    assert response.status == 500
    assert b"swordfish" not in body
    assert "swordfish" in caplog.text


async def test_a_handler_reports_on_its_job(both: Both) -> None:
    job = JobHandle(7, 2)
    async with both.target.send(get("/progress"), job) as response:
        assert response.body == b'{"id": 7, "attempt": 2, "progress": 50.0}'
    assert (job.progress, job.counters) == (50, {"RECORDS": 3})


async def test_a_request_on_a_socket_has_a_handle_that_reports_nowhere(both: Both) -> None:
    _, body = await both.on_socket(get("/progress"))
    assert body == b'{"id": null, "attempt": 0, "progress": 50.0}'


async def test_a_request_keeps_its_handle() -> None:
    app = web.Application()

    async def ask_twice(request: web.Request) -> web.Response:
        return web.json_response(current(request) is current(request))

    app.router.add_get("/", ask_twice)
    runner = web.AppRunner(app)
    await runner.setup()
    assert runner.server is not None
    async with InProcess(runner.server).send(get("/"), JobHandle()) as response:
        assert response.body == b"true"
    await runner.cleanup()
