"""Requests that are too large, that break off, or whose clients leave: nothing stays of them."""

import json
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.server import Server
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.stores import check_sound, held_up, rows, states
from trials.sockets import Connection, connected

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
LIMIT = {"body_limit": "2MiB"}
ASYNC = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nx-arango-async: store\r\n"
CHUNKED = ASYNC + b"Transfer-Encoding: chunked\r\n\r\n"


def announced(size: int) -> bytes:
    return ASYNC + b"Content-Length: %d\r\n\r\n" % size


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def nothing_is_left(server: Server, path: Path) -> bool:
    """Tell whether no row of a job or of a body is in the store, once it has been swept."""
    await server.store.upkeep.sweep()
    tables = rows(
        path,
        "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM request),"
        " (SELECT count(*) FROM body), (SELECT count(*) FROM chunk)",
    )
    check_sound(path)
    return tables == [(0, 0, 0, 0)]


async def refused(client: Connection) -> tuple[str, bytes]:
    """Read a refusal: its status line and its body."""
    head = await client.head()
    length = next(line for line in head if line.startswith("Content-Length: "))
    return head[0], await client.reader.readexactly(int(length.partition(" ")[2]))


# --- too large ----------------------------------------------------------------------------------


async def test_a_body_announced_as_too_large_is_refused_before_it_is_sent(
    serve: Serve, store_path: Path
) -> None:
    server = await serve(capture=LIMIT)
    async with connected(server.url) as client:
        await client.send(announced(2 * MEBIBYTE + 1))
        status, body = await refused(client)
        assert status.startswith("HTTP/1.1 413 ")
        assert json.loads(body) == {
            "error": True,
            "errorMessage": "the request's body is larger than 2097152 bytes",
            "code": 413,
            "errorNum": 413,
        }
    assert await nothing_is_left(server, store_path)


async def test_a_body_that_turns_out_too_large_is_refused_as_soon_as_it_is(
    serve: Serve, store_path: Path
) -> None:
    server = await serve(capture=LIMIT)
    async with connected(server.url) as client:
        await client.send(CHUNKED + chunk(bytes(2 * MEBIBYTE)) + chunk(b"x"))
        status, _ = await refused(client)
        assert status.startswith("HTTP/1.1 413 ")
    assert await nothing_is_left(server, store_path)


async def test_who_prefers_the_standards_is_refused_in_their_words(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(capture=LIMIT)).url)
    prefer = {"Prefer": "respond-async"}
    answer = await client("POST", "/echo", data=BytesIO(bytes(3 * MEBIBYTE)), headers=prefer)
    assert answer.status == 413
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_at_the_limit_is_taken_and_after_a_refusal_so_is_the_next(
    serve: Serve, http: ClientSession, *, chunked: bool
) -> None:
    client = Client(http, (await serve(capture=LIMIT)).url)
    body = bytes(2 * MEBIBYTE)
    asked = {"x-arango-async": "store"}
    large = await client(
        "POST", "/echo", data=BytesIO(body + b"x"), headers=asked, chunked=chunked or None
    )
    assert large.status == 413
    job_id = await client.submit("/echo", "POST", data=BytesIO(body), chunked=chunked or None)
    assert (await client.fetched(job_id)).body == body


async def test_the_limit_is_for_jobs_alone(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(capture=LIMIT)).url)
    body = bytes(3 * MEBIBYTE)
    assert (await client("POST", "/echo", data=BytesIO(body))).body == body


# --- broken off ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        announced(10),
        announced(10) + b"half",
        announced(600 * KIBIBYTE) + bytes(300 * KIBIBYTE),
        announced(5 * MEBIBYTE) + bytes(5 * MEBIBYTE - 1),
        CHUNKED,
        CHUNKED + b"a\r\nhalf",
        CHUNKED + chunk(b"no last chunk"),
        CHUNKED + chunk(bytes(3 * MEBIBYTE)) + b"100000\r\nhalf",
    ],
    ids=lambda request_: f"{request_[len(ASYNC) :][:40]!r}, {len(request_)} bytes",
)
async def test_of_a_body_that_breaks_off_nothing_stays(
    serve: Serve, store_path: Path, request_: bytes
) -> None:
    server = await serve()
    async with connected(server.url) as client:
        await client.send(request_)
        assert (await client.said_all()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert await nothing_is_left(server, store_path)


async def test_of_a_body_that_breaks_off_while_the_store_is_busy_nothing_stays(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve()
    async with connected(server.url) as client:
        async with held_up(store_path):
            await client.send(announced(600 * KIBIBYTE) + bytes(300 * KIBIBYTE))
            await Client(http, server.url)("GET", "/_api/job/pending")
            client.writer.write_eof()
            await Client(http, server.url)("GET", "/_api/job/pending")
        assert b" 400 Bad Request\r\n" in await client.said_all()
    assert await nothing_is_left(server, store_path)


async def test_a_body_whose_chunks_are_no_chunks_is_a_bad_request(
    serve: Serve, store_path: Path
) -> None:
    server = await serve()
    async with connected(server.url) as client:
        await client.send(CHUNKED + chunk(b"good") + b"bad\x00\r\n")
        status, _ = await refused(client)
        assert status.endswith("400 Bad Request")
    assert await nothing_is_left(server, store_path)


# --- gone ---------------------------------------------------------------------------------------


async def test_a_client_that_leaves_before_its_202_may_leave_a_job_that_runs_as_any_other(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    for name in "abc":
        await client.let(name)
    async with held_up(store_path), connected(client.url) as leaving:
        await leaving.send(
            b"GET /wait/a HTTP/1.1\r\nHost: localhost\r\nx-arango-async: store\r\n\r\n"
        )
        await client("GET", "/_api/job/pending")
        await leaving.leave()
    assert (await client.fetched(await client.submit("/wait/b"))).body == b"b is done"
    while (await client("GET", "/_api/job/pending")).body != b"[]":
        pass
    assert set(states(store_path).values()) <= {("done", "held"), ("done", "taken")}
    check_sound(store_path)


async def test_a_client_that_leaves_before_its_202_takes_no_slot_with_it(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1})
    client = Client(http, server.url)
    for name in ("gone", "here"):
        await client.let(name)
    for _ in range(3):
        async with held_up(store_path), connected(client.url) as leaving:
            await leaving.send(
                b"POST /wait/gone HTTP/1.1\r\nHost: localhost\r\nx-arango-async: true\r\n"
                b"Content-Length: 300000\r\n\r\n" + bytes(300_000)
            )
            await client("GET", "/_api/job/pending")
            await leaving.leave()
    assert (await client.fetched(await client.submit("/wait/here"))).body == b"here is done"
