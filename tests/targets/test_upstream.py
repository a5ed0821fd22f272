import asyncio
import gzip
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, suppress

import pytest
from yarl import URL

from jobstore.model.errors import BodyBroken, TargetBroken, TargetUnreachable
from jobstore.model.handle import AttemptHandle
from jobstore.model.message import Body, Headers, Request, Response, chunks, header
from jobstore.targets.mount import front_of
from jobstore.targets.upstream import Upstream, outgoing
from tests.loop import turns
from tests.peers import OK, Origin, Services, nobodys_port
from tests.pieces import Pieces
from tests.stores import content
from tests.webapp import CHUNK, SEEN, Seen, create_app
from trials.services import Talk
from trials.sockets import hang_up, lines_of

MEBIBYTE = 1 << 20
NO_JOB = AttemptHandle()


class World(Services):
    """Services on free ports, and targets that lead to them; all closed at the end.

    Args:
        stack: what ends them.
    """

    def __init__(self, stack: AsyncExitStack) -> None:
        super().__init__(stack)
        self._stack = stack

    async def target(self, base: str) -> Upstream:
        """Open a target."""
        return await self._stack.enter_async_context(Upstream.open(base))

    async def leading_to(self, talk: Talk) -> Upstream:
        """Start a service that speaks for itself, and open a target that leads to it."""
        return await self.target(await self.listen(talk))

    async def ordinary(self) -> tuple[Upstream, Seen]:
        """Start the ordinary application, and open a target that leads to it."""
        app = create_app()
        return await self.target(await self.application(app)), app[SEEN]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


def get(path: str, *headers: tuple[str, str]) -> Request:
    return Request(method="GET", path=path, headers=headers)


def post(path: str, body: Body, *headers: tuple[str, str]) -> Request:
    return Request(method="POST", path=path, headers=headers, body=body)


async def ask(target: Upstream, request: Request) -> tuple[Response, bytes]:
    async with target.send(request, NO_JOB) as response:
        return response, await content(response.body)


def values(headers: Headers, name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name]


async def test_nothing_is_added_to_a_request_but_what_a_proxy_has_to_say(world: World) -> None:
    raw = Origin()
    base = await world.listen(raw.talk)
    await ask(await world.target(f"{base}/"), get("/", ("X-Own", "1")))
    assert lines_of(raw.heads[0]) == [
        "GET / HTTP/1.1",
        f"Host: {URL(base).authority}",
        "X-Own: 1",
        "Via: 1.1 jobstore",
    ]


@pytest.mark.parametrize(
    "path", ["/a%2Fb/%7Euser/../x;y=1?q=%20+%C3%A4&&a=b%26", "//x/./y", "/%zz", "/a|b"]
)
async def test_path_and_query_are_sent_byte_for_byte(world: World, path: str) -> None:
    raw = Origin()
    await ask(await world.leading_to(raw.talk), get(path))
    assert lines_of(raw.heads[0])[0] == f"GET {path} HTTP/1.1"


async def test_the_path_of_the_base_comes_first(world: World) -> None:
    raw = Origin()
    base = await world.listen(raw.talk)
    await ask(await world.target(f"{base}/base/"), get("/x?y"))
    assert lines_of(raw.heads[0])[0] == "GET /base/x?y HTTP/1.1"


async def test_no_path_leads_to_another_host(world: World) -> None:
    raw = Origin()
    target = await world.leading_to(raw.talk)
    await ask(target, get("@127.0.0.2/"))
    await ask(target, get(".example.com/"))
    assert [lines_of(head)[0] for head in raw.heads] == [
        "GET /@127.0.0.2/ HTTP/1.1",
        "GET /.example.com/ HTTP/1.1",
    ]


async def test_the_original_host_travels_in_forwarded_in_place_of_what_was_there(
    world: World,
) -> None:
    raw = Origin()
    request = get(
        "/",
        ("host", 'example.com:81"'),
        ("forwarded", "for=192.0.2.1"),
        ("via", "1.0 other"),
    )
    await ask(await world.leading_to(raw.talk), request)
    sent = [line.partition(": ") for line in lines_of(raw.heads[0])]
    received = tuple((name, value) for name, _, value in sent)
    assert 'example.com:81"' not in values(received, "host")
    assert values(received, "via") == ["1.0 other", "1.1 jobstore"]
    assert values(received, "forwarded") == ['host="example.com:81\\"";proto=http']


def test_a_job_says_its_id_and_attempt_and_a_client_cannot() -> None:
    request = get("/", ("jobstore-id", "666"), ("Jobstore-Attempt", "9"))
    job = outgoing(request, AttemptHandle(7, 2), front_of(request))
    assert (values(job, "jobstore-id"), values(job, "jobstore-attempt")) == (["7"], ["2"])
    none = outgoing(request, NO_JOB, front_of(request))
    assert (values(none, "jobstore-id"), values(none, "jobstore-attempt")) == ([], [])


async def test_what_belongs_to_one_connection_stays_there(world: World) -> None:
    raw = Origin(
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"X-End: 2\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    request = get("/", ("Connection", "x-mine"), ("X-Mine", "1"), ("TE", "trailers"), ("A", "b"))
    response, body = await ask(await world.leading_to(raw.talk), request)
    assert lines_of(raw.heads[0])[2:] == ["A: b", "Via: 1.1 jobstore"]
    assert (response.headers, body) == ((("X-End", "2"),), b"ok")


async def test_a_request_without_a_body_says_so_as_its_method_does(world: World) -> None:
    raw = Origin()
    target = await world.leading_to(raw.talk)
    await ask(target, get("/", ("Content-Length", "0")))
    await ask(target, post("/", b"", ("Content-Length", "0")))
    await ask(target, Request(method="PUT", path="/"))
    said = [[line for line in lines_of(head) if "Length" in line] for head in raw.heads]
    assert said == [[], ["Content-Length: 0"], ["Content-Length: 0"]]


async def test_a_request_does_not_expect_100_continue(world: World) -> None:
    target, _ = await world.ordinary()
    request = post("/mirror/", b"body", ("Expect", "100-continue"))
    _, body = await ask(target, request)
    assert b"expect" not in body
    assert b'"body": "body"' in body


async def test_an_informational_response_is_no_answer(world: World) -> None:
    raw = Origin(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + OK)
    response, body = await ask(await world.leading_to(raw.talk), get("/"))
    assert (response.status, header(response.headers, "link"), body) == (200, None, b"ok")


async def test_repeated_headers_are_kept_both_ways(world: World) -> None:
    target, _ = await world.ordinary()
    response, _ = await ask(target, get("/cookies"))
    assert values(response.headers, "set-cookie") == ["a=1; Path=/", "b=2; HttpOnly; Path=/"]
    _, body = await ask(target, get("/mirror/", ("X-Twice", "1"), ("x-twice", "2")))
    assert b'["x-twice", "1"], ["x-twice", "2"]' in body


async def test_no_cookie_is_kept_for_the_next_request(world: World) -> None:
    target, _ = await world.ordinary()
    await ask(target, get("/cookies"))
    _, body = await ask(target, get("/mirror/"))
    assert b'"cookie"' not in body


async def test_a_redirect_is_an_answer(world: World) -> None:
    target, _ = await world.ordinary()
    response, _ = await ask(target, get("/redirect"))
    assert (response.status, header(response.headers, "location")) == (302, "/greet/elsewhere")


async def test_what_is_compressed_stays_so(world: World) -> None:
    target, _ = await world.ordinary()
    response, body = await ask(target, get("/compressed", ("Accept-Encoding", "gzip")))
    assert header(response.headers, "content-encoding") == "gzip"
    assert header(response.headers, "content-length") == str(len(body))
    assert gzip.decompress(body) == b"again and " * 1000
    _, plain = await ask(target, get("/compressed"))
    assert plain == b"again and " * 1000


async def test_head_keeps_the_length_and_has_no_body(world: World) -> None:
    target, _ = await world.ordinary()
    response, body = await ask(target, Request(method="HEAD", path="/cookies"))
    assert (header(response.headers, "content-length"), body) == ("7", b"")


@pytest.mark.parametrize("status", [204, 304, 404, 299, 599])
async def test_any_final_status_is_an_answer(world: World, status: int) -> None:
    target, _ = await world.ordinary()
    response, _ = await ask(target, get(f"/status/{status}"))
    assert (response.status, response.reason) == (status, None)


async def test_a_reason_of_its_own_is_kept(world: World) -> None:
    target, _ = await world.ordinary()
    response, _ = await ask(target, get("/status/200?reason=Splendid"))
    assert response.reason == "Splendid"


async def test_headers_that_are_not_ascii_survive(world: World) -> None:
    raw = Origin(
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Latin: \xe9\r\nX-Utf: \xc3\xa9\r\n\r\n"
    )
    response, _ = await ask(await world.leading_to(raw.talk), get("/", ("X-Utf", "é")))
    latin = header(response.headers, "x-latin") or ""
    assert latin.encode("utf-8", "surrogateescape") == b"\xe9"
    assert header(response.headers, "x-utf") == "é"
    assert b"X-Utf: \xc3\xa9\r\n" in raw.heads[0]


@pytest.mark.parametrize("size", [500, None])
async def test_a_body_is_streamed_with_its_length_or_in_chunks(
    world: World, size: int | None
) -> None:
    target, _ = await world.ordinary()
    request = post("/mirror/", Pieces(b"piece", 100, size=size), ("Content-Length", "500"))
    _, body = await ask(target, request)
    assert b'"body": "piecepiece' in body
    assert (b'["transfer-encoding", "chunked"]' in body) is (size is None)
    assert (b'["content-length", "500"]' in body) is (size is not None)


async def test_a_large_body_in_one_piece_arrives(world: World) -> None:
    target, _ = await world.ordinary()
    _, body = await ask(target, post("/count", bytes(3 * MEBIBYTE)))
    assert body == b'{"size": 3145728}'


async def test_a_body_is_read_no_faster_than_the_service_takes_it(world: World) -> None:
    target, seen = await world.ordinary()
    pieces = Pieces(CHUNK, 1024)
    sending = asyncio.create_task(ask(target, post("/count?wait", pieces)))
    await seen.started.wait()
    await turns(1000)
    assert pieces.given < 512  # the operating system's buffers are what is full now
    seen.go_on.set()
    _, body = await sending
    assert body == b'{"size": 67108864}'


async def test_an_answer_that_comes_before_the_body_was_read_is_an_answer(world: World) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")

    pieces = Pieces(CHUNK, 1024)
    response, body = await ask(await world.leading_to(talk), post("/", pieces))
    assert (response.status, body) == (413, b"no")
    assert pieces.given < 512


async def test_an_answer_is_taken_no_faster_than_it_is_read(world: World) -> None:
    target, seen = await world.ordinary()
    async with target.send(get("/stream?chunks=1024"), NO_JOB) as response:
        body = chunks(response.body)
        size = len(await anext(body))
        await turns(1000)
        assert seen.written < 32 * MEBIBYTE
        async for chunk in body:
            size += len(chunk)
    assert size == 64 * MEBIBYTE


async def test_the_announced_size_of_a_stream_is_known(world: World) -> None:
    target, _ = await world.ordinary()
    sized, _ = await ask(target, get("/stream?sized"))
    unsized, _ = await ask(target, get("/stream"))
    assert not isinstance(sized.body, bytes)
    assert not isinstance(unsized.body, bytes)
    assert (sized.body.size, unsized.body.size) == (4 * len(CHUNK), None)


async def test_an_answer_that_trickles_is_passed_on_at_once(world: World) -> None:
    target, seen = await world.ordinary()
    async with target.send(get("/trickle"), NO_JOB) as response:
        body = chunks(response.body)
        assert await anext(body) == b"first"
        seen.go_on.set()
        assert [chunk async for chunk in body] == [b"last"]


async def test_a_connection_is_used_again(world: World) -> None:
    raw = Origin()
    target = await world.leading_to(raw.talk)
    for _ in range(3):
        await ask(target, post("/", b""))
    assert (len(raw.heads), raw.connections) == (3, 1)


async def test_a_connection_that_the_service_closed_is_not_used_again(world: World) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        await writer.drain()
        writer.close()
        closed.set()

    target = await world.leading_to(talk)
    for _ in range(3):
        closed.clear()
        response, _ = await ask(target, post("/", b""))
        assert response.status == 200
        await closed.wait()
        await turns(10)


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "PATCH"])
async def test_what_is_closed_as_a_request_comes_is_asked_again_only_what_may_be(
    world: World, method: str
) -> None:
    asked: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        with suppress(asyncio.IncompleteReadError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.close()

    target = await world.leading_to(talk)
    await ask(target, get("/"))
    request = Request(method=method, path="/again")
    if method in {"GET", "PUT"}:
        assert (await ask(target, request))[1] == b"ok"
        assert len(asked) == 3
    else:
        with pytest.raises(TargetBroken, match="before its response was complete"):
            await ask(target, request)
        assert len(asked) == 2


async def test_a_service_is_found_by_its_name_again_when_it_was_not_there(world: World) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        writer.close()

    port = nobodys_port()
    target = await world.target(f"http://localhost:{port}")
    with pytest.raises(TargetUnreachable):
        await ask(target, get("/"))
    async with await asyncio.start_server(talk, "127.0.0.1", port):
        assert (await ask(target, get("/")))[1] == b"ok"


async def test_the_login_in_a_base_is_that_of_each_request(world: World) -> None:
    raw = Origin()
    target = await world.target((await world.listen(raw.talk)).replace("//", "//me:secret@"))
    await ask(target, get("/", ("authorization", "Bearer another")))
    login = [line for line in lines_of(raw.heads[0]) if line.lower().startswith("authorization")]
    assert login == ["Authorization: Basic bWU6c2VjcmV0"]


async def test_a_refused_connection_means_that_the_target_is_unreachable(world: World) -> None:
    port = nobodys_port()
    target = await world.target(f"http://me:secret@127.0.0.1:{port}")
    with pytest.raises(TargetUnreachable) as caught:
        await ask(target, get("/?token=secret"))
    assert str(caught.value) == f"no connection to 127.0.0.1:{port}: Connection refused"


async def test_a_connection_that_takes_too_long_means_that_the_target_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, ExitStack() as waiting:
        address = full.getsockname()
        for _ in range(3):  # nobody accepts them, and there is no room for more
            one = waiting.enter_context(socket.socket())
            one.settimeout(0)
            one.connect_ex(address)
        async with Upstream.open("http://{}:{}".format(*address), connect=0.05) as target:
            with pytest.raises(TargetUnreachable, match="in time"):
                await ask(target, get("/"))


async def test_no_tls_where_it_is_expected_means_that_the_target_is_unreachable(
    world: World,
) -> None:
    async def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    target = await world.target((await world.listen(talk)).replace("http:", "https:"))
    with pytest.raises(TargetUnreachable, match="SSL"):
        await ask(target, get("/"))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnumber\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MEBIBYTE + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 999 Denied\r\nContent-Length: 0\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"\x00\x01\x02\x03",
    ],
    ids=lambda answer: repr(answer[:60]),
)
async def test_an_answer_that_breaks_off_or_is_none_is_an_error(
    world: World, answer: bytes
) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    target = await world.leading_to(talk)
    for request in (get("/?token=secret"), post("/?token=secret", b"")):
        with pytest.raises(TargetBroken) as caught:
            await ask(target, request)
        assert "secret" not in str(caught.value)
        assert "\n" not in str(caught.value)


async def test_a_connection_reset_is_an_error(world: World) -> None:
    begun = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await begun.wait()
        hang_up(writer, reset=True)

    target = await world.leading_to(talk)
    async with target.send(get("/"), NO_JOB) as response:
        begun.set()
        with pytest.raises(TargetBroken):
            await content(response.body)


async def test_a_request_body_that_breaks_off_is_not_the_targets_fault(world: World) -> None:
    target, _ = await world.ordinary()
    for error in (BodyBroken(), ConnectionResetError()):
        with pytest.raises(type(error)):
            await ask(target, post("/count", Pieces(b"half", 1, size=8, error=error)))


async def test_what_cannot_be_written_as_http_is_an_error(world: World) -> None:
    target = await world.leading_to(Origin().talk)
    with pytest.raises(TargetBroken):
        await ask(target, get("/", ("X-Injected", "a\r\nb")))


async def test_cancelling_closes_the_connection(world: World) -> None:
    raw = Origin(b"")
    sending = asyncio.create_task(ask(await world.leading_to(raw.talk), get("/")))
    await raw.asked.wait()
    sending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sending
    await raw.left.wait()


async def test_leaving_before_the_end_closes_the_connection(world: World) -> None:
    raw = Origin(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
    target = await world.leading_to(raw.talk)
    async with target.send(get("/"), NO_JOB) as response:
        assert await anext(chunks(response.body)) == b"half"
    await raw.left.wait()


async def test_what_goes_wrong_at_the_reader_is_not_the_targets_fault(world: World) -> None:
    target = await world.leading_to(Origin().talk)
    with pytest.raises(ConnectionResetError, match="the reader's own"):
        async with target.send(get("/"), NO_JOB):
            raise ConnectionResetError("the reader's own")
