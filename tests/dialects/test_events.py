"""Following a job as it happens: server-sent events, and what was missed between two of them."""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.typedefs import Handler

from jobstore.dialects.native.event_stream import Events
from jobstore.live import Store
from jobstore.model.account import Identity
from jobstore.model.job import Report
from jobstore.web import standing
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.stores import finish, next_claim, opened, orders_of, submission
from trials.services import answering
from trials.sockets import connected, message

WHOLE = ["submitted", "started", "done", "end"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event, as a browser would dispatch it."""

    name: str
    id: str
    data: Any


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server whose jobs run until they are told to end."""
    return Client(http, (await serve(target=GATED, executor={"concurrency": 1})).url)


@asynccontextmanager
async def following(
    client: Client, job_id: int, last: str | None = None
) -> AsyncIterator[AsyncIterator[Event]]:
    """Follow a job while the context lasts."""
    headers = {} if last is None else {"Last-Event-ID": last}
    url = f"{client.url}/_jobs/{job_id}/events"
    async with client.http.get(url, headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        yield received(response.content)


async def received(lines: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Read events as they come, to the end of the stream."""
    fields: dict[str, str] = {}
    async for line in lines:
        name, colon, value = line.decode().strip("\r\n").partition(": ")
        if colon and name:
            fields[name] = value
        elif fields:
            yield Event(fields["event"], fields["id"], json.loads(fields["data"]))
            fields = {}


async def until(stream: AsyncIterator[Event], name: str) -> list[Event]:
    """Read events up to one of a name."""
    found = []
    async for event in stream:
        found.append(event)
        if event.name == name:
            return found
    raise AssertionError(found)


async def all_of(client: Client, job_id: int, last: str | None = None) -> list[Event]:
    """Follow a job to its end."""
    async with following(client, job_id, last) as stream:
        return [event async for event in stream]


def names(found: list[Event]) -> list[str]:
    """Give the names of events."""
    return [event.name for event in found]


async def report(client: Client, job_id: int, **said: Any) -> None:
    """Report on a job as a service upstream does."""
    headers = {"Jobstore-Attempt": "1"}
    path = f"/_jobs/{job_id}/report"
    assert (await client("POST", path, data=json.dumps(said), headers=headers)).status == 200


async def begun(client: Client, name: str = "x") -> int:
    """Submit a job, and return its id when it runs."""
    job_id = await client.submit(f"/wait/{name}")
    await client.when(name, "started")
    return job_id


# --- what is told -------------------------------------------------------------------------------


async def test_each_moment_is_told_and_then_the_end(client: Client) -> None:
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        first = await until(stream, "started")
        await client.let("x")
        rest = [event async for event in stream]
    assert names(first + rest) == WHOLE
    assert rest[-1].data == json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    timeline = json.loads((await client("GET", f"/_jobs/{job_id}/timeline")).body)["timeline"]
    assert [event.data for event in (first + rest)[:-1]] == timeline


async def test_a_job_that_has_ended_is_told_at_once(client: Client) -> None:
    job_id = await client.done("/let/x")
    await client.fetched(job_id)
    assert names(await all_of(client, job_id)) == WHOLE


async def test_a_queued_job_is_followed_until_it_runs_and_ends(client: Client) -> None:
    await begun(client, "first")
    second = await client.submit("/wait/second")
    async with following(client, second) as stream:
        assert names(await until(stream, "submitted")) == ["submitted"]
        await client.let("first")
        assert names(await until(stream, "started")) == ["started"]
        await client.let("second")
        assert names([event async for event in stream]) == ["done", "end"]


async def test_progress_is_told_as_it_is_reported(client: Client) -> None:
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        await until(stream, "started")
        for percent in (10, 60):
            await report(client, job_id, progress=percent, counters={"RECORDS": percent})
            (event,) = await until(stream, "progress")
            assert event.data == {
                "progress": percent,
                "counters": {"RECORDS": percent},
                "warnings": 0,
            }
        await report(client, job_id, warnings=["late"])
        warned = await until(stream, "warned")
        assert warned[-1].data["detail"] == "late"


async def test_a_job_that_is_cancelled_ends_its_stream(client: Client) -> None:
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        await until(stream, "started")
        await client("POST", f"/_jobs/{job_id}/cancel")
        rest = [event async for event in stream]
    assert names(rest) == ["cancel asked", "cancelled", "end"]
    assert rest[-1].data["state"] == "cancelled"


async def test_attempts_that_failed_are_told(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    members = {"target": "/status/503", "retries": 1, "replay": "always"}
    await client("POST", "/_jobs", data=json.dumps(members))
    found = names(await all_of(client, 1))
    assert found == ["submitted", "started", "retried", "started", "done", "end"]


async def test_many_may_follow_one_job(client: Client) -> None:
    job_id = await begun(client)
    followers = [asyncio.create_task(all_of(client, job_id)) for _ in range(20)]
    await client.let("x")
    assert [names(await each) for each in followers] == [WHOLE] * 20


# --- what was missed ----------------------------------------------------------------------------


async def test_after_a_reconnect_exactly_what_was_missed_comes(client: Client) -> None:
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        seen = await until(stream, "started")
    await report(client, job_id, progress=50, warnings=["late"])
    await client.let("x")
    await client.ended(job_id)
    missed = await all_of(client, job_id, seen[-1].id)
    assert sorted(names(missed)) == ["done", "end", "progress", "warned"]
    everything = await all_of(client, job_id)
    assert {str(event.data) for event in everything} == {str(event.data) for event in seen + missed}


async def test_from_wherever_a_reader_goes_on_nothing_is_missing_or_doubled(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    job_id = await client.done("/progress")
    everything = await all_of(client, job_id)
    assert names(everything)[-1] == "end"
    assert len({event.id for event in everything}) == len(everything)
    for at, event in enumerate(everything[:-1]):
        assert await all_of(client, job_id, event.id) == everything[at + 1 :]


async def test_progress_that_was_seen_is_not_told_again(client: Client) -> None:
    job_id = await begun(client)
    await report(client, job_id, progress=50)
    async with following(client, job_id) as stream:
        seen = await until(stream, "started")
    assert "progress" in names(seen)
    async with following(client, job_id, seen[-1].id) as stream:
        await report(client, job_id, progress=60)
        (event,) = await until(stream, "progress")
        assert event.data["progress"] == 60


async def test_who_has_seen_the_end_is_told_not_to_come_back(client: Client) -> None:
    job_id = await client.done("/let/x")
    end = (await all_of(client, job_id))[-1]
    answer = await client("GET", f"/_jobs/{job_id}/events", headers={"Last-Event-ID": end.id})
    assert (answer.status, answer.body) == (204, b"")


@pytest.mark.parametrize(
    "last", ["", "x", "-1-00000000", "1", "2-", "2-xyz", "9" * 5000, "\N{SNOWMAN}"]
)
@pytest.mark.file
async def test_an_id_that_makes_no_sense_is_none(client: Client, last: str) -> None:
    job_id = await client.done("/let/x")
    assert names(await all_of(client, job_id, last)) == WHOLE


async def test_an_id_that_was_never_given_has_missed_nothing(client: Client) -> None:
    job_id = await client.done("/let/x")
    assert names(await all_of(client, job_id, "99-00000000")) == ["end"]


# --- readers that cause trouble -----------------------------------------------------------------


async def test_a_reader_that_goes_away_leaves_nothing_behind(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED)
    client = Client(http, server.url)
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        await until(stream, "started")
    await client.let("x")
    await client.ended(job_id)
    assert (await client.fetched(job_id)).status == 200


async def test_a_reader_that_never_reads_is_dropped(store_path: Path) -> None:
    async with opened(store_path) as store, serving_events(store) as url:
        job_id = await store.submit(submission())
        claim = await next_claim(orders_of(store, {"/": 1}))
        async with never_reading(url, job_id):
            while store.waits.watched(job_id):
                warning = "." * 500_000
                await store.attempts.report(Report(job_id=job_id, attempt=1, warnings=(warning,)))
        await finish(store, claim)
        assert (await store.results.peek(job_id)).warnings > 0


@asynccontextmanager
async def serving_events(store: Store) -> AsyncIterator[str]:
    """Serve the events of a store to whoever asks, but not to who does not read; give the URL."""

    @web.middleware
    async def anybody(request: web.Request, handler: Handler) -> web.StreamResponse:
        request[standing.IDENTITY] = Identity(name="")
        return await handler(request)

    app = web.Application(middlewares=[anybody])
    app.router.add_get("/_jobs/{id}/events", Events(store, stalled=0.05).follow)
    async with answering(app, shutdown_timeout=1) as url:
        yield url


@asynccontextmanager
async def never_reading(url: str, job_id: int) -> AsyncIterator[None]:
    """Ask for the events of a job, and read no more than that they begin."""
    async with connected(url, 4096) as reader:
        await reader.send(message("GET", f"/_jobs/{job_id}/events"))
        await reader.head()
        yield


async def test_a_server_that_stops_waits_for_no_reader(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=GATED)
    client = Client(http, server.url)
    job_id = await begun(client)
    async with following(client, job_id) as stream:
        await until(stream, "started")
        server.store.waits.dismiss()
        assert [event async for event in stream] == []


async def test_only_get_can_follow(client: Client) -> None:
    job_id = await client.submit("/let/x")
    assert (await client("POST", f"/_jobs/{job_id}/events")).status == 405
