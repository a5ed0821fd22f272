"""Targets that give no answer, or no whole one: each job ends in a way that can be fetched."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import GATED, Client
from tests.conftest import Serve
from tests.loop import turns
from tests.peers import Origin, Services, nobodys_port
from tests.stores import check_sound, held_up, rows, states, timeline
from trials.services import Talk
from trials.sockets import connected, hang_up

MEBIBYTE = 1 << 20
CLOSE = b"Host: localhost\r\nConnection: close\r\n\r\n"
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
HALF_OF_A_LARGE_ONE = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(2 * MEBIBYTE)
HALF_IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\na\r\n0"

BROKE_OFF = "the target's response broke off before its end"
NO_ANSWER = "the target closed the connection before its response was complete"
NO_HTTP = "the target's response is not valid HTTP"
RESET = "the connection to the target broke"

Before = Callable[..., Awaitable[Client]]


def saying(answer: bytes) -> Talk:
    """Make a service that says something and hangs up."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    return talk


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Reset the connection on which a request comes."""
    await reader.readuntil(b"\r\n\r\n")
    hang_up(writer, reset=True)


async def failure_of(path: Path, job_id: int) -> tuple[str, str]:
    ((state, failure),) = rows(path, "SELECT state, failure FROM job WHERE id = ?", job_id)
    return state, failure


@pytest.fixture
def before(serve: Serve, services: Services, http: ClientSession) -> Before:
    """Give a function that starts a service and a server before it, and returns a client."""

    async def start(talk: Talk, **target: str) -> Client:
        target["upstream"] = await services.listen(talk)
        return Client(http, (await serve(target=target)).url)

    return start


# What a service does that is no good, and the sentence about it.
BROKEN = [
    pytest.param(saying(b""), NO_ANSWER, id="hangs up"),
    pytest.param(resetting, RESET, id="resets the connection"),
    pytest.param(saying(HALF), BROKE_OFF, id="sends half a body"),
    pytest.param(saying(HALF_OF_A_LARGE_ONE), BROKE_OFF, id="sends half of a large body"),
    pytest.param(saying(HALF_IN_CHUNKS), BROKE_OFF, id="sends half a chunk"),
    pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Le"), NO_ANSWER, id="sends half a head"),
    pytest.param(saying(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), NO_HTTP, id="lies"),
    pytest.param(saying(b"\x00\x01\x02\x03 garbage"), NO_HTTP, id="sends garbage"),
    pytest.param(saying(b"HTTP/1.1 999 Denied\r\n\r\n"), "status", id="sends an unknown status"),
    pytest.param(saying(b"HTTP/1.1 099 Soon\r\n\r\n"), "status", id="sends a status below all"),
]


@pytest.mark.parametrize(("talk", "sentence"), BROKEN)
async def test_a_job_whose_target_breaks_off_fails_with_a_502_that_says_why(
    before: Before, store_path: Path, talk: Talk, sentence: str
) -> None:
    client = await before(talk)
    job_id = await client.done("/", "POST", data=b"body")
    assert await failure_of(store_path, job_id) == ("failed", "broken")
    answer = await client.fetched(job_id)
    assert (answer.status, answer.headers["x-arango-async-id"]) == (502, str(job_id))
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    document = json.loads(answer.body)
    assert sentence in document.pop("detail")
    assert document["title"] == "Bad Gateway"
    check_sound(store_path)


async def test_of_half_a_large_answer_nothing_stays(
    serve: Serve, services: Services, store_path: Path, http: ClientSession
) -> None:
    upstream = await services.listen(saying(HALF_OF_A_LARGE_ONE))
    server = await serve(target={"upstream": upstream})
    await Client(http, server.url).done("/")
    begun = rows(store_path, "SELECT seq > 0 FROM sqlite_sequence WHERE name = 'body'")
    assert begun == [(1,)]
    await server.store.upkeep.sweep()  # as the janitor does, who may have come already
    assert rows(store_path, "SELECT (SELECT count(*) FROM body), count(*) FROM chunk") == [(0, 0)]


async def test_a_job_whose_target_refuses_the_connection_fails_with_a_502_that_says_why(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    port = nobodys_port()
    target = {"upstream": f"http://127.0.0.1:{port}", "hold": "0"}  # or the job would wait for it
    client = Client(http, (await serve(target=target)).url)
    job_id = await client.done("/")
    assert await failure_of(store_path, job_id) == ("failed", "unreachable")
    answer = await client.fetched(job_id)
    assert answer.status == 502
    detail = f"no connection to 127.0.0.1:{port}: Connection refused"
    assert json.loads(answer.body)["detail"] == detail


@pytest.mark.parametrize("answer", [b"", HALF, HALF_OF_A_LARGE_ONE])
async def test_a_job_whose_target_hangs_fails_with_a_504_when_its_time_is_over(
    before: Before, store_path: Path, answer: bytes
) -> None:
    service = Origin(answer)
    client = await before(service.talk, timeout="200ms")
    job_id = await client.done("/")
    assert await failure_of(store_path, job_id) == ("failed", "timeout")
    fetched = await client.fetched(job_id)
    assert fetched.status == 504
    assert json.loads(fetched.body)["detail"] == "the target did not answer within 0.2 s"
    await service.left.wait()
    check_sound(store_path)


async def test_a_failed_job_can_be_listed_asked_about_and_fetched_once_like_any_other(
    before: Before, store_path: Path
) -> None:
    client = await before(saying(b""))
    job_id = await client.done("/")
    assert json.loads((await client("GET", "/_api/job/done")).body) == [str(job_id)]
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 502
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404
    assert timeline(store_path, job_id) == ["submitted", "started", "failed", "fetched"]


# --- without a job ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("talk", "sentence"),
    [
        pytest.param(saying(b""), NO_ANSWER, id="hangs up"),
        pytest.param(resetting, RESET, id="resets the connection"),
        pytest.param(saying(b"\x00\x01\x02\x03 garbage"), NO_HTTP, id="sends garbage"),
    ],
)
async def test_a_request_whose_target_gives_no_answer_gets_a_502_that_says_why(
    before: Before, talk: Talk, sentence: str
) -> None:
    answer = await (await before(talk))("POST", "/", data=b"body")
    assert (answer.status, json.loads(answer.body)) == (
        502,
        {"type": "about:blank", "title": "Bad Gateway", "status": 502, "detail": sentence},
    )


async def test_a_request_whose_target_refuses_the_connection_gets_a_502_that_says_why(
    serve: Serve, http: ClientSession
) -> None:
    port = nobodys_port()
    server = await serve(target={"upstream": f"http://127.0.0.1:{port}"})
    answer = await Client(http, server.url)("GET", "/")
    assert answer.status == 502
    assert b"Connection refused" in answer.body


@pytest.mark.parametrize("answer", [HALF, HALF_OF_A_LARGE_ONE, HALF_IN_CHUNKS])
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_that_breaks_off_on_its_way_through_breaks_the_clients_connection(
    before: Before, answer: bytes, version: bytes
) -> None:
    client = await before(saying(answer))
    async with connected(client.url) as reader:
        await reader.send(b"GET / HTTP/%b\r\n" % version + CLOSE)
        with pytest.raises(ConnectionResetError):
            await reader.rest()


# --- in process ---------------------------------------------------------------------------------


async def test_what_a_target_says_unasked_is_the_answer_to_no_job(before: Before) -> None:
    ended, said = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(path), path))
            if path == b"/first":
                await ended.wait()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
                await writer.drain()
                said.set()

    client = await before(talk)
    first = await client.done("/first", method="POST")
    ended.set()
    await said.wait()
    await client("GET", "/_api/job/done")  # by whose end what was said has arrived
    second = await client.done("/second", method="POST")
    for job_id, path in ((first, b"/first"), (second, b"/second")):
        assert (await client("PUT", f"/_api/job/{job_id}")).body == path


@pytest.mark.parametrize(
    ("path", "ending"),
    [
        ("/unhandled", (500, "done")),
        ("/nothing", (500, "done")),
        ("/timed-out", (504, "done")),
        ("/too-late", (502, "failed")),
        ("/too-short", (502, "failed")),
        ("/gives-up", (502, "failed")),
        ("/cancels-its-task", (502, "failed")),
        ("/unpreparable", (502, "failed")),
        ("/injected", (502, "failed")),
    ],
)
async def test_a_handler_that_fails_ends_its_job_and_no_other(
    serve: Serve, store_path: Path, http: ClientSession, path: str, ending: tuple[int, str]
) -> None:
    status, state = ending
    client = Client(http, (await serve(target={"app": "tests.webapp:create_app"})).url)
    bad, good = await client.submit(path), await client.submit("/greet/world")
    answer = await client.fetched(bad)
    assert (answer.status, b"swordfish" in answer.body) == (status, False)
    assert (await client.fetched(good)).status == 200
    assert states(store_path) == {bad: (state, "taken"), good: ("done", "taken")}


async def test_a_job_whose_handler_goes_on_when_its_time_is_over_still_ends_with_a_504(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target={**GATED, "timeout": "200ms"})
    client = Client(http, server.url)
    job_id = await client.submit("/linger/a")
    await client.when("a", "cancelled")
    await client.let("a")
    assert (await client.fetched(job_id)).status == 504


async def test_a_handler_that_never_heeds_its_cancellation_does_not_keep_its_job_from_ending(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"cancel_grace": "100ms", "concurrency": 1})
    client = Client(http, server.url)
    job_id = await client.submit("/linger/a")
    await client.when("a", "started")
    assert (await client("PUT", f"/_api/job/{job_id}/cancel")).status == 200
    assert (await client.fetched(job_id)).status == 410
    await client.let("b")
    assert (await client.fetched(await client.submit("/wait/b"))).body == b"b is done"
    await client.let("a")  # whose end comes too late for anybody
    assert (await client.fetched(await client.submit("/wait/b"))).body == b"b is done"
    assert [state for state, _ in states(store_path).values()] == ["cancelled", "done", "done"]


async def test_a_job_whose_handler_never_heeds_its_time_limit_ends_and_frees_its_slot(
    serve: Serve, http: ClientSession
) -> None:
    target, executor = {**GATED, "timeout": "200ms"}, {"cancel_grace": "100ms", "concurrency": 1}
    client = Client(http, (await serve(target=target, executor=executor)).url)
    assert (await client.fetched(await client.submit("/linger/a"))).status == 504
    await client.let("b")
    assert (await client.fetched(await client.submit("/wait/b"))).body == b"b is done"


# --- cancelled at the wrong moment --------------------------------------------------------------


@pytest.fixture
async def quick(services: Services) -> str:
    """Give a service that answers at once, in two parts."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 600000\r\n\r\n")
                await writer.drain()
                writer.write(bytes(600_000))

    return await services.listen(talk)


@pytest.mark.parametrize("concurrency", [2, 32])
async def test_a_job_that_is_cancelled_as_it_finishes_ends_in_one_of_two_ways(
    serve: Serve, store_path: Path, http: ClientSession, quick: str, concurrency: int
) -> None:
    server = await serve(target={"upstream": quick}, executor={"concurrency": concurrency})
    client = Client(http, server.url)

    async def race(delay: int) -> tuple[int, int, int]:
        job_id = await client.submit("/")
        await turns(delay)
        assert (await client("PUT", f"/_api/job/{job_id}/cancel")).status == 200
        answer = await client.fetched(job_id)
        return job_id, answer.status, len(answer.body)

    ended: dict[int, tuple[str, str]] = {}
    for _ in range(8):
        for job_id, status, size in await asyncio.gather(*(race(3 * n) for n in range(50))):
            state = "done" if status == 200 else "cancelled"
            assert status == 410 or (status, size) == (200, 600_000)
            ended[job_id] = (state, "taken")
    assert states(store_path) == ended
    check_sound(store_path)
    await server.store.upkeep.sweep()
    assert rows(store_path, "SELECT count(*) FROM body WHERE job_id IS NULL") == [(0,)]


async def test_a_job_that_is_cancelled_just_as_it_is_claimed_ends_as_cancelled(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1})
    client = Client(http, server.url)
    first = await client.submit("/wait/first")
    second = await client.submit("/wait/second")
    await client.when("first", "started")
    async with held_up(store_path):
        blocked = asyncio.create_task(client.submit("/wait/third"))
        await client("GET", "/_api/job/pending")
        await client.let("first")
        await client.when("first", "finished")
        cancel = asyncio.create_task(client("PUT", f"/_api/job/{second}/cancel"))
        await client("GET", "/_api/job/pending")
    assert (await cancel).status == 200
    assert (await client.fetched(first)).status == 200
    assert (await client.fetched(second)).status == 410
    await client.let("third")
    assert (await client.fetched(await blocked)).status == 200
    assert [state for state, _ in states(store_path).values()] == ["done", "cancelled", "done"]
