"""Readers who leave, who come all at once, or whose result is gone: it goes to one of them."""

import asyncio
import sqlite3
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from aiohttp import ClientError, ClientSession

from jobstore.live import shared_store
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.loop import HeldClock, turns
from tests.stores import check_sound, held_up, rows, states, timeline
from tests.webapp import CHUNK
from trials.clients import Answer
from trials.sockets import Connection, connected, message

MEBIBYTE = 1 << 20
LARGE = "/stream?sized&chunks=32"  # 2 MiB
HUGE = "/stream?sized&chunks=800"  # 50 MiB
SMALL = "/greet/world"
MIDDLING = "/stream?sized&chunks=3"  # 192 KiB, which are still sent at once
GREETING = b'{"name": "world", "query": {}}'


def fetching(job_id: int) -> bytes:
    return message("PUT", f"/_api/job/{job_id}", "Content-Length: 0")


async def begun(reader: Connection, job_id: int) -> list[str]:
    """Begin to fetch a result, once the server has forgotten the reader before; return the head."""
    head = ["HTTP/1.1 204 No Content"]
    while head[0].startswith("HTTP/1.1 204 "):
        await reader.send(fetching(job_id))
        head = await reader.head()
    return head


async def held_again(client: Client, path: Path, job_id: int, breaks: int = 1) -> None:
    """Wait until so many deliveries of a result have broken off; it can be asked for meanwhile."""
    while timeline(path, job_id).count("delivery broken") < breaks:
        assert (await client("GET", f"/_api/job/{job_id}")).status == 200


async def fetched_again(client: Client, job_id: int) -> Answer:
    """Fetch a result once the server has forgotten the reader who left."""
    while (answer := await client("PUT", f"/_api/job/{job_id}")).status == 204:
        assert (await client("GET", f"/_api/job/{job_id}")).status == 200
    return answer


# What makes a request go to aiohttp's own handler is that its body comes in chunks.
ASKING = {
    "at the desk": ("Content-Length: 0", b""),
    "the long way": ("Transfer-Encoding: chunked", b"0\r\n\r\n"),
}
BROKEN = "SELECT job_id FROM event WHERE event = 'delivery broken'"


async def broken(path: Path) -> None:
    """Wait until the delivery of any result has broken off, while no timer comes due."""
    while not rows(path, BROKEN):
        await turns(20)


# --- broken off ---------------------------------------------------------------------------------


async def test_a_result_whose_delivery_breaks_half_way_is_held_again_and_a_later_fetch_gets_it_all(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(HUGE)
    async with connected(client.url) as reader:
        await reader.send(fetching(job_id))
        assert "Content-Length: 52428800" in await reader.head()
        assert await reader.reader.readexactly(25 * MEBIBYTE) == CHUNK * 400
        reader.vanish()
    await held_again(client, store_path, job_id)
    answer = await fetched_again(client, job_id)
    assert (answer.status, answer.body) == (200, CHUNK * 800)
    assert timeline(store_path, job_id).count("delivery broken") == 1
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404


async def test_a_result_survives_any_number_of_readers_who_leave(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(HUGE)
    for breaks in range(1, 6):
        async with connected(client.url) as reader:
            await begun(reader, job_id)
            await reader.reader.readexactly(breaks * 8 * MEBIBYTE)
            reader.vanish()
        await held_again(client, store_path, job_id, breaks)
    assert (await fetched_again(client, job_id)).body == CHUNK * 800


@pytest.mark.parametrize("path", [SMALL, LARGE])
async def test_a_reader_who_leaves_before_the_result_could_be_taken_leaves_it_to_the_next(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    expected = (await client("GET", path)).body
    job_id = await client.done(path)
    for _ in range(3):
        async with held_up(store_path), connected(client.url) as reader:
            await reader.send(fetching(job_id))
            await client("GET", f"/_api/job/{job_id}")
            await reader.leave()
    answer = await fetched_again(client, job_id)
    assert (answer.status, answer.body) == (200, expected)
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404


@pytest.mark.file  # what a database waits for takes no time that this clock tells
async def test_a_reader_who_takes_nothing_for_ten_minutes_leaves_a_large_result_to_the_next(
    serve: Serve, http: ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await serve(target=ORDINARY)
    client, clock = Client(http, server.url), HeldClock()
    job_id = await client.done(HUGE)
    monkeypatch.setattr(time, "monotonic", clock)
    async with connected(client.url, 4096) as reader:
        await reader.send(fetching(job_id))
        await reader.head()
        with server.store.waits.watching(job_id) as watch, clock.held():
            assert await clock.until(watch.change(), 30) >= 600
    assert (await fetched_again(client, job_id)).body == CHUNK * 800


@pytest.mark.file  # likewise
@pytest.mark.parametrize("way", ASKING)
async def test_a_reader_who_takes_nothing_for_ten_minutes_leaves_a_small_result_to_the_next(
    serve: Serve, store_path: Path, http: ClientSession, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    client, clock = Client(http, (await serve(target=ORDINARY)).url), HeldClock()
    field, body = ASKING[way]
    # The system takes the first of them, and keeps them for the reader.
    jobs = [await client.done(MIDDLING) for _ in range(40)]
    monkeypatch.setattr(time, "monotonic", clock)
    async with connected(client.url, 4096) as reader:
        for job_id in jobs:
            await reader.send(message("PUT", f"/_api/job/{job_id}", field) + body)
        with clock.held():
            assert await clock.until(asyncio.create_task(broken(store_path)), 30) >= 600
    ((job_id,),) = rows(store_path, BROKEN)
    results = [result for _, result in states(store_path).values()]
    assert results == ["taken"] * (job_id - 1) + ["held"] * (40 - job_id + 1)
    assert (await fetched_again(client, job_id)).body == CHUNK * 3


async def test_a_delivery_that_broke_off_can_be_seen_in_the_history(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(HUGE)
    async with connected(client.url) as reader:
        await reader.send(fetching(job_id))
        await reader.head()
        reader.vanish()
    await held_again(client, store_path, job_id)
    await fetched_again(client, job_id)
    assert timeline(store_path, job_id) == [
        "submitted",
        "started",
        "done",
        "delivery broken",
        "fetched",
    ]
    details = rows(store_path, "SELECT detail FROM event WHERE event = 'delivery broken'")
    assert details == [("the reader's connection broke",)]


# --- all at once --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SMALL, HUGE])
async def test_of_twenty_fetches_at_once_one_gets_the_result_and_the_others_nothing_or_not_yet(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    expected = (await client("GET", path)).body
    job_id = await client.done(path)
    answers = await asyncio.gather(*(client("PUT", f"/_api/job/{job_id}") for _ in range(20)))
    statuses = Counter(answer.status for answer in answers)
    assert (statuses[200], statuses[204] + statuses[404]) == (1, 19)
    assert [answer.body for answer in answers if answer.status == 200] == [expected]
    assert states(store_path) == {job_id: ("done", "taken")}


async def test_a_result_that_is_on_its_way_to_a_reader_cannot_be_deleted_or_expired(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    job_id = await client.done(HUGE)
    async with connected(client.url) as reader:
        await reader.send(fetching(job_id))
        await reader.head()
        assert (await client("DELETE", f"/_api/job/{job_id}")).status == 409
        assert (await client("DELETE", f"/_jobs/{job_id}")).status == 409
        assert (await client("DELETE", "/_api/job/all")).status == 200
        assert (await client("DELETE", "/_api/job/expired?stamp=9999999999")).status == 200
        await server.store.upkeep.sweep()
        assert await reader.reader.readexactly(50 * MEBIBYTE) == CHUNK * 800
    assert states(store_path) == {job_id: ("done", "taken")}


@pytest.mark.parametrize("path", [SMALL, LARGE])
async def test_a_result_that_is_fetched_and_deleted_at_once_goes_one_way(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    expected = (await client("GET", path)).body
    job_id = await client.done(path)
    async with held_up(store_path):
        fetch = asyncio.create_task(client("PUT", f"/_api/job/{job_id}"))
        await client("GET", f"/_api/job/{job_id}")
        delete = asyncio.create_task(client("DELETE", f"/_api/job/{job_id}"))
        await client("GET", f"/_api/job/{job_id}")
    fetched, deleted = await fetch, await delete
    assert (fetched.status, deleted.status) in {(200, 404), (200, 409), (404, 200)}
    assert fetched.body == expected or fetched.status == 404
    check_sound(store_path)


async def test_nobody_is_told_that_a_result_is_gone_while_another_reader_has_only_begun_with_it(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(HUGE)
    for breaks in (1, 2, 3):
        async with connected(client.url) as reader:
            await begun(reader, job_id)
            assert (await client("PUT", f"/_api/job/{job_id}")).status == 204
            waiting = {"headers": {"Prefer": "wait=1"}}
            assert (await client("PUT", f"/_api/job/{job_id}", **waiting)).status == 204
            assert (await client("POST", f"/_jobs/{job_id}/take")).status == 409
            assert (await client("PUT", f"/_api/job/{job_id}/cancel")).status == 200
            reader.vanish()
        while timeline(store_path, job_id).count("delivery broken") < breaks:
            assert (await client("GET", f"/_api/job/{job_id}")).status == 200
    assert (await fetched_again(client, job_id)).body == CHUNK * 800
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404
    assert (await client("POST", f"/_jobs/{job_id}/take")).status == 410


# --- a job as the reader ------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SMALL, LARGE])
async def test_a_result_that_a_job_fetches_becomes_that_jobs_result(
    serve: Serve, store_path: Path, http: ClientSession, path: str
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    expected = (await client("GET", path)).body
    first = await client.done(path)
    second = await client.done(f"/_api/job/{first}", "PUT")
    assert (await client("PUT", f"/_api/job/{first}")).status == 404
    answer = await client.fetched(second)
    assert (answer.status, answer.body) == (200, expected)
    assert answer.headers.getall("x-arango-async-id") == [str(second)]
    assert states(store_path) == {first: ("done", "taken"), second: ("done", "taken")}


# --- gone on its way ----------------------------------------------------------------------------


async def test_a_result_that_another_process_deletes_on_its_way_breaks_the_connection(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(HUGE)
    async with connected(client.url) as reader:
        await reader.send(fetching(job_id))
        await reader.head()
        async with shared_store(store_path) as beside:
            await beside.results.delete(job_id)
        with pytest.raises(ConnectionResetError):
            await reader.rest()
    assert states(store_path) == {job_id: ("done", "deleted")}
    assert (await client("PUT", f"/_api/job/{job_id}")).status == 404


async def test_a_result_that_cannot_be_read_to_its_end_breaks_the_connection(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done(LARGE)
    with closing(sqlite3.connect(store_path, isolation_level=None)) as vandal:
        vandal.execute("DELETE FROM chunk WHERE seq = 4")
    with pytest.raises(ClientError):
        await client("PUT", f"/_api/job/{job_id}")
