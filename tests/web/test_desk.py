"""The desk: what it answers itself reads like aiohttp's own answers, in whatever pieces it came."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import cast

import pytest
from aiohttp import ClientSession, web
from hypothesis import given, settings
from hypothesis import strategies as st

from jobstore.live.meters import RequestMeters, Traffic
from jobstore.model.message import HeadLimits
from jobstore.store import waited
from jobstore.web import answers
from jobstore.web.ask import Ask
from jobstore.web.desk import Desk, DeskServer
from jobstore.web.door import Door
from jobstore.web.patience import PatientDoor
from tests.client import Client
from tests.conftest import Serve
from tests.loop import turns
from trials.services import site
from trials.sockets import connected, field_of, message, say

PLAIN = [("Content-Type", "text/plain; charset=utf-8")]
DATE = re.compile(rb"Date: [^\r]+")


def echoed(method: str, path: str, body: bytes) -> bytes:
    return f"{method} {path} ".encode() + body


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    """Answer as aiohttp has it: the long way."""
    body = echoed(request.method, request.raw_path, await request.read())
    return web.Response(body=body, headers=PLAIN)


@dataclass
class Hand:
    """A door that takes on what its path says, one way or another.

    Attributes:
        taken: how many requests it has taken on.
        kept: those that it has not answered yet.
        requests: what counts them, which is nothing.
    """

    taken: int = 0
    kept: "asyncio.Queue[Ask]" = field(default_factory=asyncio.Queue)
    requests: dict[Traffic, RequestMeters] = field(default_factory=dict)

    def at_once(self, ask: Ask) -> bool:
        """Take on a request, unless it is to be refused."""
        way = ask.path.strip("/")
        if way == "refused":
            return False
        self.taken += 1
        loop = asyncio.get_running_loop()
        data = answers.own(200, tuple(PLAIN), echoed(ask.method, ask.path, ask.body()))
        match way:
            case "later":
                loop.call_soon(loop.call_soon, ask.answer, data)
            case "passed-on":
                loop.call_soon(ask.pass_on)
            case "handed-over":
                loop.call_soon(ask.hand_over, data, lambda _: None)
            case "kept":
                self.kept.put_nowait(ask)
            case "broken":
                raise RuntimeError("nobody has thought of this")
            case _:
                ask.answer(data)
        return True


def listening(server: web.Server) -> AbstractAsyncContextManager[str]:
    """Serve on any free port; give the URL."""
    return site(web.ServerRunner(server))


def desk(hand: Hand, handler: Callable[..., Awaitable[web.StreamResponse]] = handle) -> DeskServer:
    limits = HeadLimits()
    return DeskServer(handler, door=hand, limits=limits, access_log=None)


async def conversation(url: str, pieces: Sequence[bytes]) -> bytes:
    """Send something piece by piece; return what is answered until the connection ends."""
    async with connected(url) as client:
        with suppress(ConnectionError):
            for piece in pieces:
                await client.send(piece)
                await turns(1)
            return DATE.sub(b"Date: now", await client.rest())
    return b""


CHUNKED = (
    b"POST /at-once HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\n"
)
LAST = message("GET", "/at-once", "Connection: close")
WAYS = st.sampled_from(["/at-once", "/later", "/refused", "/passed-on", "/handed-over"])
REQUESTS = st.builds(
    message,
    st.sampled_from(["GET", "POST", "PUT", "HEAD", "OPTIONS"]),
    WAYS,
    body=st.one_of(st.just(b""), st.binary(max_size=300), st.just(b"x" * 70_000)),
)


@st.composite
def talks(draw: st.DrawFn, what: st.SearchStrategy[bytes]) -> list[bytes]:
    """Give requests in a row, cut into pieces anywhere."""
    data = b"".join(draw(st.lists(what, min_size=1, max_size=5))) + LAST
    cuts = draw(st.lists(st.integers(0, len(data)), max_size=6).map(sorted))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@given(talks(st.one_of(REQUESTS, st.just(CHUNKED))))
@settings(max_examples=100, deadline=None)
def test_any_requests_in_any_pieces_are_answered_as_by_aiohttp_itself(pieces: list[bytes]) -> None:
    async def both() -> tuple[bytes, bytes]:
        plain = web.Server(handle, access_log=None)
        async with listening(plain) as reference, listening(desk(Hand())) as url:
            return await conversation(reference, pieces), await conversation(url, pieces)

    expected, found = asyncio.run(both())
    assert found == expected


@given(talks(st.one_of(REQUESTS, st.binary(max_size=200), st.just(b"GET / HTTP/3.9\r\n\r\n"))))
@settings(max_examples=100, deadline=None)
def test_what_is_no_request_is_refused_as_without_a_desk(pieces: list[bytes]) -> None:
    class Nobody(Hand):
        def at_once(self, ask: Ask) -> bool:
            return ask.path == "no such path"

    async def both() -> tuple[bytes, bytes]:
        async with listening(desk(Nobody())) as reference, listening(desk(Hand())) as url:
            return await conversation(reference, pieces), await conversation(url, pieces)

    expected, found = asyncio.run(both())
    assert found == expected


async def test_a_body_that_comes_in_a_second_piece_is_still_answered_at_once() -> None:
    hand = Hand()
    async with listening(desk(hand)) as url, connected(url) as client:
        head, body = message("POST", "/at-once", body=b"abc").split(b"abc")[0], b"abc"
        await client.send(head)
        await client.send(body)
        assert "HTTP/1.1 200 OK" in await client.head()
    assert hand.taken == 1


async def test_a_body_that_keeps_one_waiting_goes_the_long_way() -> None:
    hand, begun = Hand(), asyncio.Event()

    async def long_way(request: web.BaseRequest) -> web.StreamResponse:
        begun.set()
        return await handle(request)

    async with listening(desk(hand, long_way)) as url, connected(url) as client:
        await client.send(message("POST", "/at-once", body=b"abc").removesuffix(b"c"))
        await begun.wait()
        await client.send(b"c")
        assert "HTTP/1.1 200 OK" in await client.head()
        assert await client.reader.readexactly(17) == b"POST /at-once abc"
    assert hand.taken == 0


class Passing(Door):
    """A door that keeps, for each request, what that has waited for the store, on both ways."""

    def __init__(self) -> None:
        """Begin."""
        self.kept: list[waited.Waits | None] = []
        self.requests = {}

    def at_once(self, ask: Ask) -> bool:
        """Accept a request, and pass it on a moment later."""
        self.kept.append(waited.of_request())
        asyncio.get_running_loop().call_soon(ask.pass_on)
        return True

    def answer_anything(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Answer a request that was passed on."""
        cast("Desk", request.protocol).taken_over()
        self.kept.append(waited.of_request())
        return handle(request)


class PatientPassing(PatientDoor, Passing):
    """The same before a database."""


async def test_a_request_that_is_passed_on_gets_no_patience_anew() -> None:
    door = PatientPassing()
    server = DeskServer(door.answer_anything, door=door, limits=HeadLimits(), access_log=None)
    async with listening(server) as url, connected(url) as client:
        for _ in range(2):
            await client.send(message("GET", "/"))
            assert "HTTP/1.1 200 OK" in await client.head()
            await client.reader.readexactly(len(b"GET / "))
    first, passed_on, second, passed_on_again = door.kept
    assert first is passed_on
    assert second is passed_on_again
    assert first is not second


async def test_who_waits_for_an_answer_is_not_idle() -> None:
    hand = Hand()
    server = desk(hand)
    async with listening(server) as url, connected(url) as client:
        await client.send(message("GET", "/kept"))
        ask = await hand.kept.get()
        (connection,) = server.connections
        assert not connection.idle  # type: ignore[attr-defined]
        server.shed()
        ask.answer(answers.own(200, tuple(PLAIN), b"here"))
        assert "HTTP/1.1 200 OK" in await client.head()
        assert connection.idle  # type: ignore[attr-defined]


async def test_what_follows_waits_until_the_answer_is_given() -> None:
    hand = Hand()
    async with listening(desk(hand)) as url, connected(url) as client:
        await client.send(message("GET", "/kept"))
        ask = await hand.kept.get()
        await client.send(message("GET", "/refused") + message("GET", "/at-once"))
        ask.answer(answers.own(202, tuple(PLAIN)))
        first = await client.head()
        assert first[0] == "HTTP/1.1 202 Accepted"
        for path in (b"refused", b"at-once"):
            await client.head()
            assert await client.reader.readexactly(len(b"GET / ") + len(path)) == b"GET /%b " % path


async def test_what_breaks_at_the_door_is_answered_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with listening(desk(Hand())) as url, connected(url) as client:
        await client.send(message("GET", "/broken"))
        assert (await client.head())[0] == "HTTP/1.1 500 Internal Server Error"
    (record,) = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert record.exc_info is not None
    assert "nobody has thought of this" in str(record.exc_info[1])


async def test_nobody_can_answer_a_request_twice() -> None:
    hand = Hand()
    async with listening(desk(hand)) as url, connected(url) as client:
        await client.send(message("GET", "/kept"))
        ask = await hand.kept.get()
        ask.answer(answers.own(200, tuple(PLAIN)))
        with pytest.raises(RuntimeError):
            ask.answer(answers.own(200, tuple(PLAIN)))
        assert "HTTP/1.1 200 OK" in await client.head()


async def test_a_delivery_to_a_client_that_is_gone_is_told_to_have_failed() -> None:
    hand, told = Hand(), asyncio.get_running_loop().create_future()
    async with listening(desk(hand)) as url, connected(url) as client:
        await client.send(message("GET", "/kept"))
        ask = await hand.kept.get()
        client.vanish()
        while not ask.gone:
            await say(url, LAST)
        ask.hand_over(answers.own(200, tuple(PLAIN)), told.set_result)
    assert isinstance(await told, ConnectionError)


# --- the server's own ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        [b"POST /echo HTTP/1.1", b"x-arango-async: store", b"Content-Length: 0"],
        [b"POST /echo HTTP/1.1", b"x-arango-async: true"],
        [b"POST /echo HTTP/1.1", b"Prefer: respond-async"],
        [b"HEAD /echo HTTP/1.1", b"Prefer: respond-async"],
        [b"GET /elsewhere/../.. HTTP/1.1", b"x-arango-async: store"],
        [b"PUT /_api/job/77 HTTP/1.1"],
        [b"PUT /_api/job/1 HTTP/1.1"],
        [b"PUT /_api/job/2 HTTP/1.1"],
        [b"PUT /_api/job/1 HTTP/1.1", b"Prefer: wait=1"],
        [b"POST /_jobs/1/take HTTP/1.1"],
        [b"POST /_jobs/1/take HTTP/1.1", b"Prefer: wait=1"],
        [b"POST /_jobs/77/take HTTP/1.1"],
        [b"GET /_jobs/1/take HTTP/1.1"],
    ],
)
async def test_the_same_is_answered_at_the_desk_and_the_long_way(
    serve: Serve, http: ClientSession, asked: list[bytes]
) -> None:
    client = Client(http, (await serve()).url)
    results = [await client.done("/echo") for _ in range(4)]
    assert results == [1, 2, 3, 4]
    found = []
    for job_id, way in ((3, b"X-Plain: 1"), (4, b"Sec-Fetch-Site: none")):
        first, *fields = asked
        first = re.sub(rb"(jobs?/)1\b", rb"\g<1>%d" % job_id, first)
        last = b"\r\n".join(
            [b"GET /_jobs/livez HTTP/1.1", b"Host: localhost", b"Connection: close"]
        )
        data = b"\r\n".join([first, b"Host: localhost", way, *fields, b"", last, b"", b""])
        async with connected(client.url) as asking:
            await asking.send(data)
            answer = DATE.sub(b"Date: now", await asking.rest())
        found.append(re.sub(rb"(?i)(id: |_jobs/|\"id\": )\d+", rb"\1N", answer))
        if b"job/2 " in first:
            await client("POST", "/_jobs/2/restore")
    assert found[0] == found[1]
    assert field_of(found[0].partition(b"\r\n\r\n")[0] + b"\r\n\r\n", b"Date") == b"now"
