import asyncio
import gc
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import ClientSession, web

from jobstore import demo
from jobstore.web.ask import Ask
from jobstore.web.relaying import Relay
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.gates import create_app as create_gates
from tests.loop import turns
from tests.peers import OK, Origin, Services
from tests.webapp import SEEN, create_app
from trials.sockets import Connection, ask, connected, lines_of, read_head

MEBIBYTE = 1 << 20
CLOSE = b"Host: example.com\r\nConnection: close\r\n\r\n"


async def behind(serve: Serve, services: Services, service: Origin) -> str:
    """Serve in front of a service that speaks for itself, and return the server's URL."""
    return (await serve(target={"upstream": await services.listen(service.talk)})).url


def without_date(head: list[str]) -> list[str]:
    return [line for line in head if not line.startswith("Date: ")]


@pytest.fixture(params=["upstream", "in process"])
async def gated(
    request: pytest.FixtureRequest, serve: Serve, services: Services, http: ClientSession
) -> Client:
    """Give a client of a server in front of the gates, on a socket or in process."""
    if request.param == "in process":
        return Client(http, (await serve(target=GATED)).url)
    upstream = await services.application(create_gates())
    return Client(http, (await serve(target={"upstream": upstream})).url)


# --- both ways at once --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["upstream", "in process"])
async def test_a_request_and_its_answer_stream_at_the_same_time(
    serve: Serve, services: Services, kind: str
) -> None:
    target = {"upstream": await services.application(demo.create_app())}
    server = await serve(**({"target": target} if kind == "upstream" else {}))
    async with connected(server.url) as client:
        await client.send(
            b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n"
        )
        assert (await client.head())[0] == "HTTP/1.1 200 OK"
        assert await client.reader.readuntil(b"first\r\n") == b"5\r\nfirst\r\n"
        await client.send(b"4\r\nnext\r\n")
        assert await client.reader.readuntil(b"next\r\n") == b"4\r\nnext\r\n"
        await client.send(b"0\r\n\r\n")
        assert await client.reader.readuntil(b"\r\n\r\n") == b"0\r\n\r\n"


async def test_a_large_upload_reaches_the_target_before_its_client_has_sent_it_all(
    serve: Serve, services: Services
) -> None:
    half = asyncio.Event()

    async def count(request: web.Request) -> web.Response:
        size = 0
        async for chunk in request.content.iter_any():
            size += len(chunk)
            if size >= 16 * MEBIBYTE:
                half.set()
        return web.json_response({"size": size, "announced": request.content_length})

    app = web.Application()
    app.router.add_post("/", count)
    server = await serve(target={"upstream": await services.application(app)})
    async with connected(server.url) as client:
        await client.send(b"POST / HTTP/1.1\r\nContent-Length: %d\r\n" % (32 * MEBIBYTE) + CLOSE)
        await client.send(bytes(16 * MEBIBYTE))
        await half.wait()
        await client.send(bytes(16 * MEBIBYTE))
        await client.head()
        assert await client.rest() == b'{"size": 33554432, "announced": 33554432}'


async def test_an_answer_that_trickles_reaches_the_client_before_it_has_ended(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    app = create_app()
    server = await serve(target={"upstream": await services.application(app)})
    async with http.get(f"{server.url}/trickle") as response:
        assert await response.content.readany() == b"first"
        app[SEEN].go_on.set()
        assert await response.content.read() == b"last"


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PUT /wait/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf",
    ],
    ids=["in the middle of the work", "in the middle of the upload"],
)
async def test_a_client_that_leaves_takes_its_request_from_the_target(
    gated: Client, request_: bytes
) -> None:
    async with connected(gated.url) as client:
        await client.send(request_)
        await gated.when("a", "started")
        await client.leave()
    await gated.when("a", "cancelled")
    assert json.loads((await gated("GET", "/started")).body) == ["a"]


# --- over a connection that was used before -----------------------------------------------------

FIRST = b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n"
CLOSES = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"
IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"


@dataclass
class Familiar:
    """A service that answers what is first on a connection; what is second waits to be answered."""

    answer: bytes = OK
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    heads: list[bytes] = field(default_factory=list)
    waits: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection, and close it."""
        self.heads.append(await read_head(reader))
        writer.write(OK)
        self.heads.append(await read_head(reader))
        self.waits.set()
        waiting = asyncio.ensure_future(self.go_on.wait())
        leaving = asyncio.ensure_future(reader.read())
        await asyncio.wait([waiting, leaving], return_when=asyncio.FIRST_COMPLETED)
        if self.go_on.is_set():
            writer.write(self.answer)
        else:
            self.left.set()
        waiting.cancel()
        leaving.cancel()
        writer.close()


@asynccontextmanager
async def acquainted(
    serve: Serve, services: Services, service: Familiar
) -> AsyncIterator[Connection]:
    """Give a client of a server whose connection to a service was used already."""
    server = await serve(target={"upstream": await services.listen(service.talk)})
    async with connected(server.url) as client:
        await client.send(FIRST)
        await client.head()
        await client.reader.readexactly(2)
        yield client


@pytest.mark.parametrize(
    ("answer", "status", "rest"),
    [
        (OK, 200, b"ok"),
        (CLOSES, 200, b"2\r\nok\r\n0\r\n\r\n"),
        (IN_CHUNKS, 200, b"2\r\nok\r\n0\r\n\r\n"),
        (EMPTY, 204, b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
    ],
    ids=["whole", "until it is closed", "in chunks", "empty", "after another"],
)
async def test_any_answer_passes_over_a_connection_that_was_used_before(
    serve: Serve, services: Services, answer: bytes, status: int, rest: bytes
) -> None:
    service = Familiar(answer)
    service.go_on.set()
    async with acquainted(serve, services, service) as client:
        await client.send(b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (await client.head())[0].split()[1] == str(status)
        assert await client.reader.readexactly(len(rest)) == rest
        await client.send(FIRST)
        assert (await client.head())[0] == "HTTP/1.1 200 OK"
    asked = [lines_of(head)[0].split()[1] for head in service.heads]
    assert asked.count("/second") == 1


async def test_half_an_answer_over_a_connection_that_was_used_before_breaks_the_clients(
    serve: Serve, services: Services
) -> None:
    service = Familiar(HALF)
    service.go_on.set()
    async with acquainted(serve, services, service) as client:
        await client.send(b"POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert (await client.head())[0] == "HTTP/1.1 200 OK"
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await client.reader.readexactly(4)


@pytest.mark.parametrize(
    ("method", "answer", "status"),
    [
        ("GET", b"", 200),
        ("POST", b"", 502),
        ("GET", b"garbage\r\n\r\n", 502),
        ("GET", b"HTTP/1.1 999 Denied\r\n\r\n", 502),
    ],
)
async def test_over_a_connection_that_was_used_before_only_what_may_be_is_repeated(
    serve: Serve, services: Services, method: str, answer: bytes, status: int
) -> None:
    service = Familiar(answer)
    service.go_on.set()
    async with acquainted(serve, services, service) as client:
        await client.send(f"{method} /second HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        assert (await client.head())[0].split()[1] == str(status)
    asked = [lines_of(head)[0].split()[1] for head in service.heads]
    assert asked == ["/first", "/second"] + (["/second"] if status == 200 else [])


async def test_a_client_that_leaves_ends_its_exchange_over_a_connection_that_was_used_before(
    serve: Serve, services: Services
) -> None:
    service = Familiar()
    async with acquainted(serve, services, service) as client:
        await client.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        await service.waits.wait()
        await client.leave()
        await service.left.wait()
    assert len(service.heads) == 2


async def test_a_client_that_has_said_all_is_answered_over_a_connection_that_was_used_before(
    serve: Serve, services: Services
) -> None:
    service = Familiar()
    async with acquainted(serve, services, service) as client:
        await client.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
        await service.waits.wait()
        answer = asyncio.ensure_future(client.said_all())
        await turns(10)
        service.go_on.set()
        assert (await answer).endswith(b"\r\n\r\nok")


# --- what is sent on ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/a%2Fb/%7Euser/../x;y=1?q=%20+%C3%A4&&a=b%26",
        "//x/./y",
        "/%zz",
        "/a%0Ab",
        "/a%00b",
        "/a?b?c",
        "/a|b",
        "/" + "x" * 8000,
    ],
    ids=lambda path: path[:60],
)
async def test_path_and_query_are_sent_on_byte_for_byte(
    serve: Serve, services: Services, path: str
) -> None:
    service = Origin()
    url = await behind(serve, services, service)
    head, _ = await ask(url, f"GET {path} HTTP/1.1\r\n".encode() + CLOSE)
    assert head[0] == "HTTP/1.1 200 OK"
    assert lines_of(service.heads[0])[0] == f"GET {path} HTTP/1.1"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("http://example.com/a%2Fb;c?d=%20", "/a%2Fb;c?d=%20"),
        ("http://example.com:8080//a/../b", "//a/../b"),
        ("http://example.com", "/"),
    ],
)
async def test_of_a_target_in_absolute_form_path_and_query_are_sent_on(
    serve: Serve, services: Services, target: str, path: str
) -> None:
    service = Origin()
    url = await behind(serve, services, service)
    head, _ = await ask(url, f"GET {target} HTTP/1.1\r\n".encode() + CLOSE)
    assert head[0] == "HTTP/1.1 200 OK"
    assert lines_of(service.heads[0])[0] == f"GET {path} HTTP/1.1"


@pytest.mark.parametrize(
    "method", ["GET", "OPTIONS", "TRACE", "PROPFIND", "DELETE", "PATCH", "M-SEARCH"]
)
async def test_any_method_is_sent_on(serve: Serve, services: Services, method: str) -> None:
    service = Origin()
    url = await behind(serve, services, service)
    head, body = await ask(url, f"{method} /x HTTP/1.1\r\n".encode() + CLOSE)
    assert (head[0], body) == ("HTTP/1.1 200 OK", b"ok")
    assert lines_of(service.heads[0])[0] == f"{method} /x HTTP/1.1"


async def test_nothing_is_added_to_a_request_but_what_a_proxy_has_to_say(
    serve: Serve, services: Services
) -> None:
    service = Origin()
    url = await behind(serve, services, service)
    await ask(
        url,
        b"GET / HTTP/1.1\r\nX-Own: 1\r\nx-own: 2\r\nTE: trailers\r\nX-Mine: 3\r\nUpgrade: h2c\r\n"
        b"Keep-Alive: timeout=5\r\nHost: example.com\r\nConnection: close, x-mine, upgrade\r\n\r\n",
    )
    assert lines_of(service.heads[0])[2:] == [
        "X-Own: 1",
        "x-own: 2",
        "Via: 1.1 jobstore",
        'Forwarded: for=127.0.0.1;host="example.com";proto=http',
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-Host: example.com",
        "X-Forwarded-Proto: http",
    ]


async def test_a_compressed_body_is_sent_on_as_it_is(serve: Serve, services: Services) -> None:
    packed = gzip.compress(b"again and " * 1000)
    seen = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.extend(await reader.readuntil(b"\r\n\r\n"))
        seen.extend(await reader.readexactly(len(packed)))
        writer.write(OK)

    server = await serve(target={"upstream": await services.listen(talk)})
    length = b"Content-Length: %d\r\n" % len(packed)
    head = b"POST / HTTP/1.1\r\nContent-Encoding: gzip\r\n" + length
    await ask(server.url, head + CLOSE + packed)
    assert b"Content-Encoding: gzip\r\n" in seen
    assert length in seen
    assert seen.endswith(packed)


async def test_curl_is_told_to_go_on_with_an_upload_that_it_asks_about(
    serve: Serve, services: Services, tmp_path: Path
) -> None:
    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 4 * 4096)
    server = await serve(target={"upstream": await services.application(demo.create_app())})
    curl = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--verbose", "--data-binary", f"@{upload}", f"{server.url}/echo",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, said = await curl.communicate()
    assert b"> Expect: 100-continue" in said
    assert b"< HTTP/1.1 100 Continue" in said
    assert out == upload.read_bytes()


# --- what comes back ----------------------------------------------------------------------------


async def test_nothing_is_added_to_an_answer_but_the_date(serve: Serve, services: Services) -> None:
    service = Origin(
        b"HTTP/1.1 200 Splendid\r\nX-Own: \xc3\xa9\r\nConnection: X-Hop\r\nX-Hop: 1\r\n"
        b"Keep-Alive: timeout=5\r\nSet-Cookie: a=1\r\nContent-Length: 2\r\nset-cookie: b=2\r\n\r\n"
        b"ok"
    )
    url = await behind(serve, services, service)
    head, body = await ask(url, b"GET / HTTP/1.1\r\n" + CLOSE)
    assert body == b"ok"
    assert without_date(head) == [
        "HTTP/1.1 200 Splendid",
        "X-Own: \xc3\xa9",
        "Set-Cookie: a=1",
        "Content-Length: 2",
        "Set-Cookie: b=2",
        "Connection: close",
    ]


async def test_an_answer_in_chunks_comes_back_in_chunks(serve: Serve, services: Services) -> None:
    service = Origin(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    url = await behind(serve, services, service)
    head, body = await ask(url, b"GET / HTTP/1.1\r\n" + CLOSE)
    assert without_date(head)[1:] == ["Transfer-Encoding: chunked", "Connection: close"]
    assert body == b"2\r\nok\r\n0\r\n\r\n"


async def test_a_client_of_http_1_0_gets_no_chunks(serve: Serve, services: Services) -> None:
    service = Origin(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
    url = await behind(serve, services, service)
    head, body = await ask(url, b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert not [line for line in head if line.startswith("Transfer-Encoding")]
    assert body == b"ok"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: a/b"),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Type: a/b"),
        ("GET", 'HTTP/1.1 304 Not Modified\r\nEtag: "x"\r\nVary: Accept'),
        ("GET", "HTTP/1.1 204 No Content\r\nX-Own: 1"),
        ("PUT", "HTTP/1.1 200 OK\r\nContent-Length: 0"),
    ],
)
async def test_an_answer_without_a_body_is_as_the_target_gave_it_and_the_connection_goes_on(
    serve: Serve, services: Services, method: str, answer: str
) -> None:
    url = await behind(serve, services, Origin(f"{answer}\r\n\r\n".encode()))
    async with connected(url) as client:
        for _ in range(2):
            await client.send(f"{method} / HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert without_date(await client.head()) == answer.split("\r\n")


async def test_a_compressed_answer_stays_as_it_is(serve: Serve, services: Services) -> None:
    packed = gzip.compress(b"again and " * 1000)
    service = Origin(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        + packed
    )
    url = await behind(serve, services, service)
    head, body = await ask(url, b"GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n" + CLOSE)
    assert "Content-Encoding: gzip" in head
    assert f"Content-Length: {len(packed)}" in head
    assert body == packed


async def test_a_redirect_is_left_to_the_client(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    server = await serve(target={"upstream": await services.application(create_app())})
    answer = await Client(http, server.url)("GET", "/redirect")
    assert (answer.status, answer.headers["Location"]) == (302, "/greet/elsewhere")


# --- who is asked -------------------------------------------------------------------------------


async def test_the_longest_prefix_decides_whom_a_request_goes_to(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    targets = []
    for prefix in ("/", "/api", "/api/deep"):
        name = prefix.encode()
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name)
        upstream = await services.listen(Origin(answer).talk)
        targets.append({"prefix": prefix, "upstream": upstream})
    client = Client(http, (await serve(target=targets)).url)
    answered = {
        path: (await client("GET", path)).body.decode()
        for path in ("/", "/api", "/api/x", "/api?x", "/apix", "/api/deep/x", "/api/deeper")
    }
    assert answered == {
        "/": "/",
        "/api": "/api",
        "/api/x": "/api",
        "/api?x": "/api",
        "/apix": "/",
        "/api/deep/x": "/api/deep",
        "/api/deeper": "/api",
    }


async def test_a_path_that_nobody_answers_is_not_found_with_or_without_a_job(
    serve: Serve, http: ClientSession
) -> None:
    target = {"prefix": "/api", "app": "jobstore.demo:create_app"}
    client = Client(http, (await serve(target=target)).url)
    sync = await client("GET", "/other")
    job = await client("GET", "/other", headers={"Prefer": "respond-async"})
    for answer in (sync, job):
        assert (answer.status, answer.headers["Content-Type"]) == (
            404,
            "application/problem+json; charset=utf-8",
        )
        assert b"no target is configured for this path" in answer.body
    arango = await client("GET", "/other", headers={"x-arango-async": "store"})
    assert (arango.status, b'"errorNum":404' in arango.body) == (404, True)


async def test_what_asks_for_a_job_stays_here(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    service = Origin()
    client = Client(http, await behind(serve, services, service))
    await client.submit("/one")
    await client("GET", "/two", headers={"Prefer": "respond-async, wait=10, return=minimal"})
    while len(service.heads) < 2:
        await service.asked.wait()
        service.asked.clear()
    first, second = map(lines_of, sorted(service.heads))
    assert not [line for line in first if line.lower().startswith(("x-arango", "prefer"))]
    assert [line for line in second if line.lower().startswith(("x-arango", "prefer"))] == [
        "Prefer: return=minimal"
    ]


@pytest.mark.parametrize("kind", ["upstream", "in process"])
async def test_what_was_passed_on_is_gone_without_being_looked_for_as_garbage(
    serve: Serve, services: Services, http: ClientSession, kind: str
) -> None:
    target = {"upstream": await services.application(demo.create_app())}
    server = await serve(**({"target": target} if kind == "upstream" else {}))
    client = Client(http, server.url)
    gc.collect()
    gc.disable()
    try:
        assert (await client("POST", "/echo", data=b"once")).status == 200
        await turns(3)  # in which the exchange ends
        assert [each for each in gc.get_objects() if isinstance(each, Ask | Relay)] == []
    finally:
        gc.enable()
