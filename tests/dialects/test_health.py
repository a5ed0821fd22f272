"""Probes: whether a server answers, whether it takes jobs in, and what speaks against it."""

import asyncio
import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import ClientSession

from jobstore.live import Limits
from jobstore.live.health import Health
from jobstore.model.account import Role
from jobstore.model.passwords import digest
from tests.client import GATED, ORDINARY, Client
from tests.conftest import Serve
from tests.loop import turns
from tests.stores import owned

TEXT = {"Accept": "text/plain"}
STORE = {"x-arango-async": "store"}


async def test_a_server_that_is_well_says_so(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=ORDINARY)).url)
    for path, words in (("livez", b"ok\n"), ("readyz", b'{"ready": true}')):
        assert (await client("GET", f"/_jobs/{path}")).body == words
        answer = await client("HEAD", f"/_jobs/{path}")
        assert (answer.status, answer.body) == (200, b"")
    assert (await client("GET", "/_jobs/readyz", headers=TEXT)).body == b"ready\n"
    told = json.loads((await client("GET", "/_jobs/readyz?verbose")).body)
    assert told["checks"] == dict.fromkeys(("server", "store", "writer", "room", "queue"), "ok")


async def test_a_server_that_drains_lives_but_is_not_ready(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    server.store.refuse()
    answer = await client("GET", "/_jobs/readyz")
    assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    told = json.loads(answer.body)
    assert told["reasons"] == {"server": "the server is shutting down"}
    assert (told["ready"], told["detail"]) == (False, "the server is shutting down")
    lines = await client("GET", "/_jobs/readyz", headers=TEXT)
    assert lines.status == 503
    assert lines.body == b"[-] server: the server is shutting down\nnot ready\n"
    assert (await client("GET", "/_jobs/livez")).status == 200


async def test_a_full_queue_is_not_ready_until_it_has_room(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1, "queue_limit": 1})
    client = Client(http, server.url)
    await client.submit("/wait/first")
    await client.when("first", "started")
    second = await client.submit("/wait/second")
    told = json.loads((await client("GET", "/_jobs/readyz")).body)
    assert told["reasons"] == {"queue": "the queue is full"}
    for name in ("first", "second"):
        await client.let(name)
    await client.ended(second)
    assert (await client("GET", "/_jobs/readyz")).status == 200


async def test_a_slow_target_takes_no_store_out_of_rotation(
    serve: Serve, http: ClientSession
) -> None:
    target = {"prefix": "/", "upstream": "http://127.0.0.1:9"}
    client = Client(http, (await serve(target=target)).url)
    await client.submit("/unreachable")
    assert (await client("GET", "/_jobs/readyz")).status == 200


async def test_strangers_are_told_no_more_than_that(serve: Serve, http: ClientSession) -> None:
    server = await serve(target=ORDINARY)
    client = Client(http, server.url)
    statuses = {}
    for role in (Role.USER, Role.READER):
        await server.store.accounts.add(role, role, "no password")
        await server.store.accounts.add_token(role, "", digest(role))
    for name in ("", Role.USER, Role.READER):
        headers = {"Authorization": f"Bearer {name}"} if name else {}
        answer = await client("GET", "/_jobs/readyz?verbose", headers=headers)
        statuses[str(name)] = answer.status
    assert statuses == {"": 401, "user": 403, "reader": 200}
    assert (await client("GET", "/_jobs/readyz")).body == b'{"ready": true}'
    assert (await client("GET", "/_jobs/livez")).body == b"ok\n"


@pytest.mark.file
async def test_a_writer_that_commits_nothing_shows(store_path: Path) -> None:
    async with owned(store_path) as store:
        health = Health(store, patience=0.2)
        assert (await health.checks())["writer"] is None
        watching = asyncio.create_task(store.pulse.run())
        with closing(sqlite3.connect(store_path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")  # and does not let go
            while (wrong := (await health.checks())["writer"]) is None:
                await turns(1)
            assert wrong.startswith("no commit for ")
            foreign.execute("ROLLBACK")
        store.pulse.ask()
        while (await health.checks())["writer"] is not None:
            await turns(1)
        watching.cancel()


@pytest.mark.file
async def test_a_disk_without_room_is_not_ready(store_path: Path) -> None:
    async with owned(store_path) as store:
        sizes = await store.file.sizes()
        assert store.file.full(sizes) is None
        assert store.file.full(replace(sizes, disk=1000)) == "the disk is full"
    async with owned(store_path, Limits(size=sizes.file + 1000)) as store:
        checks = await Health(store).checks()
        assert checks["room"] == "the store has grown as large as it may"
