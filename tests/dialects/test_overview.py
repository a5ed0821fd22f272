"""What jobs came to, what is kept of their messages, and what there is to know of the store."""

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.dialects.test_native_jobs import accepted, done, problem, value


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has an ordinary application behind it."""
    return Client(http, (await serve(target=ORDINARY)).url)


async def some(client: Client) -> None:
    """Let four jobs end, one of them badly."""
    for name in ("alice", "bob"):
        await done(client, target=f"/greet/{name}")
    await done(client, target="/status/500")
    await done(client, target="/status/200")


async def told(client: Client, path: str) -> dict[str, Any]:
    found: dict[str, Any] = value(await client("GET", path))
    return found


def ends(bars: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    names = ("done", "failed", "cancelled", "errors")
    return [tuple(sum(bar[name] for bar in bars) for name in names)]


@pytest.mark.file
@pytest.mark.parametrize("by", ["quarter", "hour", "day"])
async def test_activity_tells_how_jobs_ended_span_by_span(client: Client, by: str) -> None:
    await some(client)
    await client("POST", f"/_jobs/{await accepted(client, target='/x', delay='1h')}/cancel")
    found = await told(client, f"/_jobs/activity?by={by}")
    assert (found["by"], found["complete"]) == (by, True)
    assert ends(found["bars"]) == [(4, 0, 1, 1)]
    assert all(found["since"] <= bar["start"] < found["until"] for bar in found["bars"])
    (start,) = found["restarts"]
    assert (start["boot"], start["state"], start["ended_at"]) == (1, "alive", None)


@pytest.mark.file
async def test_activity_of_long_ago_is_told_by_the_day(client: Client) -> None:
    found = await told(client, "/_jobs/activity?by=quarter&since=2024-01-01T00:30:00Z")
    assert (found["by"], found["since"]) == ("day", "2024-01-01T00:00:00.000Z")
    both = "since=2024-01-01T00:00:00Z&until=2024-01-01T00:00:00Z"
    assert (await told(client, f"/_jobs/activity?{both}"))["bars"] == []


@pytest.mark.file
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("activity?by=week", "by: expected one of quarter, hour, day"),
        ("activity?of=x", "of: no such parameter; did you mean"),
        ("activity?since=yesterday", "since: expected a time with its zone"),
        ("activity?since=2025-01-02T00:00:00Z&until=2025-01-01T00:00:00Z", "until: expected a"),
        ("activity?since=1970-01-01T00:00:00Z", "no more than 3000 days before until"),
        ("statistics?by=path", "by: expected one of route, definition, owner, target"),
        ("statistics?limit=3", "by: expected one of route, definition, owner, target"),
        ("statistics?by=route&limit=0", "limit: expected a whole number from 1 to 500"),
        ("statistics?by=route&by=owner", "by: expected one value"),
    ],
)
async def test_what_cannot_be_read_is_told_with_what_was_expected(
    client: Client, query: str, expected: str
) -> None:
    assert expected in problem(await client("GET", f"/_jobs/{query}"), 400)


async def test_statistics_tell_how_often_jobs_of_a_name_ran_and_how_long(client: Client) -> None:
    await some(client)
    found = await told(client, "/_jobs/statistics?by=route")
    status, greet, other = found["statistics"]
    assert (greet["name"], greet["count"], greet["errors"]) == ("GET /greet/alice", 1, 0)
    assert other["name"] == "GET /greet/bob"
    assert [status[name] for name in ("name", "count", "errors")] == ["GET /status/{}", 2, 1]
    assert 0 < greet["p50_ms"] <= greet["p95_ms"] <= greet["max_ms"]
    assert greet["wait_p50_ms"] is not None
    limited = await told(client, "/_jobs/statistics?by=route&limit=1")
    assert (limited["names"], len(limited["statistics"]), limited["others"]) == (3, 1, None)
    assert limited["statistics"][0]["name"] == "GET /status/{}"


async def test_statistics_are_by_definition_and_target_and_owner_as_well(client: Client) -> None:
    await some(client)
    draft = {"name": "nightly", "path": "/nightly", "target": "/greet/all"}
    value(await client("POST", "/_jobs/definitions", data=json.dumps(draft)), 201)
    run = value(await client("POST", "/_jobs/definitions/1/run"), 202)["id"]
    await client("GET", f"/_jobs/{run}", headers={"Prefer": "wait=60"})
    (found,) = (await told(client, "/_jobs/statistics?by=definition"))["statistics"]
    assert (found["definition"], found["name"], found["count"]) == (1, "nightly", 1)
    (found,) = (await told(client, "/_jobs/statistics?by=target"))["statistics"]
    assert (found["name"], found["count"], found["errors"]) == ("/", 5, 1)
    page = await told(client, "/_jobs/statistics?by=owner&since=2026-01-01T00:00:00Z")
    assert page["step"] == "day"
    assert (page["names"], page["statistics"][0]["count"]) == (1, 5)
    assert sum(count for count, _ in page["statistics"][0]["series"]) == 5
    assert len(page["starts"]) == len(page["statistics"][0]["series"])


async def test_who_sees_their_own_jobs_only_is_told_of_these(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=ORDINARY), stack)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        reader = await people.with_token("watch", Role.READER)
        await some(alice)
        await done(bob, target="/greet/bob")
        await people.server.store.upkeep.count()
        for who, count in ((alice, 4), (bob, 1), (reader, 5)):
            found = await told(who, "/_jobs/activity")
            assert sum(bar["done"] for bar in found["bars"]) == count
            assert bool(found["restarts"]) == (who is reader)
            found = await told(who, "/_jobs/statistics?by=target")
            assert found["statistics"][0]["count"] == count
        assert "the store is for admins and readers" in problem(
            await bob("GET", "/_jobs/store"), 403
        )
        assert (await told(reader, "/_jobs/store"))["jobs"]["done"] == 5
        answer = await bob("GET", "/_jobs/1/messages")
        assert "no job 1" in problem(answer, 404)


async def test_the_store_is_described(client: Client) -> None:
    await some(client)
    found = await told(client, "/_jobs/store")
    assert found["engine"].split()[0] in {"SQLite", "PostgreSQL"}
    assert found["sizes"]["file"] > 0
    assert found["retention"]["fetched"] == 24 * 3600
    assert found["within_a_day"] == {"expiring": 0, "purging": 0, "counted_to": 100_000}
    assert (found["jobs"]["done"], found["results"]["held"]) == (4, 4)
    assert [start["boot"] for start in found["starts"]] == [1]
    await client("DELETE", "/_jobs/1")
    assert (await told(client, "/_jobs/store"))["within_a_day"]["purging"] == 1


@pytest.mark.file
async def test_the_names_of_secret_fields_are_told_and_never_their_values(client: Client) -> None:
    headers = {"Authorization": "Bearer of-the-target", "X-Plain": "seen"}
    job = await done(client, target="/echo", method="POST", headers=headers, body="four")
    found = await told(client, f"/_jobs/{job}/messages")
    asked = found["request"]
    assert (asked["method"], asked["path"], asked["size"]) == ("POST", "/echo", 4)
    fields = {each["name"]: (each["value"], each["secret"]) for each in asked["headers"]}
    assert fields["Authorization"] == (None, True)
    assert fields["X-Plain"] == ("seen", False)
    assert found["response"]["status"] == 200
    assert found["response"]["size"] > 0
    assert "of-the-target" not in json.dumps(found["request"])
    await client("DELETE", f"/_jobs/{job}")
    found = await told(client, f"/_jobs/{job}/messages")
    assert found == {"id": job, "request": None, "response": None}
