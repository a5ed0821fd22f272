"""Activity and statistics: what jobs came to, by time and by what they have in common."""

import csv
import io
import re
from contextlib import AsyncExitStack
from html import unescape
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.dashboard.activity import RANGES, spans
from jobstore.model import clock, words
from jobstore.model.account import Role
from jobstore.model.clock import SECOND
from jobstore.model.periods import HOUR, QUARTER, Dimension, start_of
from jobstore.server import Server
from jobstore.store.overview import Overview, OverviewQuery
from tests.accounts import People, basic
from tests.client import ORDINARY, Client
from tests.conftest import Serve, running
from tests.stores import START


@pytest.fixture
async def server(serve: Serve) -> Server:
    return await serve(target=ORDINARY)


@pytest.fixture
def client(server: Server, http: ClientSession) -> Client:
    return Client(http, server.url)


async def some(server: Server, client: Client) -> None:
    """Let five jobs end and be counted: three well, one answered badly, and one cancelled."""
    for path in ("/greet/alice", "/greet/17", "/greet/18", "/status/500"):
        await client.done(path)
    waiting = await client("POST", "/_jobs", json={"target": "/greet/bob", "delay": "1h"})
    assert (await client("POST", waiting.headers["Location"] + "/cancel")).status == 200
    await server.store.upkeep.count()


async def page(client: Client, path: str, status: int = 200) -> str:
    """Look at a page, until there was the time for all of it."""
    text = "Some are missing"
    while "Some are missing" in text:
        answer = await client("GET", f"/_jobs/ui/{path}")
        assert answer.status == status, answer
        text = answer.body.decode()
    return text


async def listed(client: Client, link: str) -> int:
    """Follow a link to the list, and count its jobs."""
    text = await page(client, unescape(link).removeprefix("./"))
    return text.count('<tr id="job-')


async def test_activity_is_drawn_and_told_as_a_table(server: Server, client: Client) -> None:
    assert "have ended." in await page(client, "activity")
    await some(server, client)
    text = await page(client, "activity")
    assert "5 jobs have ended · 20 % went wrong" in text
    label = r'aria-label="5 jobs from [^"]* to [^"]*, 1 went wrong"'
    assert re.search(rf'<svg class="chart bars" [^>]*{label}', text)
    assert re.search(r'aria-label="jobs of each target, one lane each: /: 5"', text)
    cells = re.findall(r"<td(?: class=\"wide\")?>(\d+)</td>", text)
    assert [sum(int(each) for each in cells[place::5]) for place in range(5)] == [5, 4, 0, 1, 1]
    bars = re.findall(r'<a href="(\./\?since=[^"]*)"><title>[^<]* went wrong, ', text)
    assert bars
    assert all(f'<th scope="row"><a href="{bar}">' in text for bar in bars)
    for since in RANGES:
        assert "5 jobs" in await page(client, f"activity?since={since}")
    for by, shown in {"quarter": "15 min", "hour": "hour"}.items():
        assert f'aria-current="true">by {shown}</a>' in await page(client, f"activity?by={by}")


async def test_the_time_does_not_end_in_the_future(server: Server, client: Client) -> None:
    await some(server, client)
    heading = r'Submitted from <time datetime="([^"]*)".*? to <time datetime="([^"]*)"'
    for path in ("activity?by=hour", "?since=1h"):
        answer = await client("GET", f"/_jobs/ui/{path}", headers={"Accept": "text/html"})
        ((since, until),) = re.findall(heading, answer.body.decode())
        assert since < until <= words.machine(clock.now())


def test_the_first_bar_leads_to_what_it_counts_though_its_hour_began_before() -> None:
    began = start_of(HOUR, START)
    since, until = began + QUARTER * SECOND, began + 2 * HOUR * SECOND
    shown = spans(OverviewQuery(Dimension.ALL, since, until, HOUR), Overview(), "./")
    assert [span.since for span in shown] == [since, began + HOUR * SECOND]
    assert f"since={words.moment(since):%Y-%m-%dT%H:%MZ}&" in shown[0].jobs


async def test_links_lead_to_the_jobs(server: Server, client: Client) -> None:
    await some(server, client)
    text = await page(client, "activity?by=hour")
    lists = re.findall(r'row"><a href="([^"]*)">.*?<a href="([^"]*)">running then', text)
    assert sum([await listed(client, jobs) for jobs, _ in lists]) == 5
    assert [await listed(client, running) for _, running in lists] == [0] * len(lists)
    figures = await page(client, "statistics")
    routes = re.findall(r'<th scope="row" class="long"><a href="([^"]*)">([^<]*)</a>', figures)
    assert {name: await listed(client, link) for link, name in routes} == {
        "GET /greet/{}": 4,
        "GET /greet/alice": 1,
        "GET /greet/bob": 1,
        "GET /status/{}": 1,
    }


async def test_what_cannot_be_read_is_said(client: Client) -> None:
    for query, sentence in {
        "since=yesterday": "since: expected a time with its zone such as 2026-11-01T18:00:00Z",
        "by=minute": "by: expected one of quarter, hour, day",
        "since=30d&by=quarter": "by: expected day for such a long time",
        "until=2026-01-01T00:00:00Z": "until: expected a time that is not before since",
        "sinec=1h": "sinec: no such parameter; did you mean since?",
    }.items():
        assert sentence in await page(client, f"activity?{query}", 400)


async def test_a_restart_is_marked(store_path: Path, http: ClientSession) -> None:
    async with running(store_path, target=ORDINARY) as server:
        client = Client(http, server.url)
        await some(server, client)
        assert "None in this time." in await page(client, "activity")
    async with running(store_path, target=ORDINARY) as server:
        text = await page(Client(http, server.url), "activity")
    assert re.search(r'<line class="level" [^>]*><title>restart \d\d:\d\d</title></line>', text)
    assert '<td data-head="After">an orderly end</td>' in text


async def test_statistics_tell_of_each_name(server: Server, client: Client) -> None:
    await some(server, client)
    await client.done("/greet/carol", headers={"x-jobstore-owner": "carol"})
    text = await page(client, "statistics")
    assert re.search(r'<td data-head="Went wrong" class="num bad">100 %</td>', text)
    assert re.search(r'<svg class="heat"[^>]*aria-label="GET /status/{}: median', text)
    assert "Median of an hour: " in text
    assert "Duration, an hour per cell" in text
    for by in ("definition", "owner", "target"):
        assert f"Jobs by {by}" in await page(client, f"statistics?by={by}&since=7d")
    assert "by: expected one of" in await page(client, "statistics?by=colour", 400)


async def test_csv_has_the_same_figures(server: Server, client: Client) -> None:
    await some(server, client)
    text = await page(client, "statistics?by=target")
    (link,) = re.findall(r'<a class="btn" href="\./(statistics\.csv[^"]*)">CSV</a>', text)
    answer = await client("GET", f"/_jobs/ui/{unescape(link)}")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="jobs-by-target.csv"'
    (row,) = csv.DictReader(io.StringIO(answer.body.decode()))
    assert {name: row[name] for name in row if "ms" not in name} == {
        "name": "/",
        "count": "5",
        "done": "4",
        "failed": "0",
        "cancelled": "1",
        "errors": "1",
    }
    await client.done("/greet/you", headers={"Authorization": basic("=1+1")})
    by_owner = await client("GET", "/_jobs/ui/statistics.csv?by=owner")
    assert b"\r\n'=1+1,1,1,0,0,0," in by_owner.body  # no formula
    assert float(row["p50_ms"]) <= float(row["p95_ms"]) <= float(row["max_ms"])


async def test_a_user_sees_what_is_theirs(server: Server, http: ClientSession) -> None:
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        alice = await people.with_token("alice")
        bob = await people.with_token("bob")
        rita = await people.with_token("rita", Role.READER)
        await some(server, alice)
        assert "5 jobs" in await page(rita, "activity")
        assert "5 jobs" in await page(alice, "activity")
        assert "0 jobs" in await page(bob, "activity")
        assert "Restarts" in await page(rita, "activity")
        assert "Restarts" not in await page(alice, "activity")
        text = await page(alice, "statistics")
        assert "your own jobs only" in text
        assert "GET /status/{}" in text
        assert "GET /status/{}" not in await page(bob, "statistics")
        assert b"GET /status" not in (await bob("GET", "/_jobs/ui/statistics.csv")).body
    assert (await Client(http, server.url)("GET", "/_jobs/ui/activity")).status == 401
