"""A store without room, by configuration or on a real full disk: nothing lost, and it goes on."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Serve, ServerProcess
from tests.jobs import Answer
from tests.stores import check_sound, held_up, rows, states, timeline
from tests.webapp import CHUNK

MEBIBYTE = 1 << 20
WEBAPP = {"app": "tests.webapp:create_app"}
RESULT = "/stream?chunks=24"  # 1.5 MiB


async def offered(client: Client, size: int, **headers: str) -> Answer:
    """Offer a job whose request has a body."""
    headers = headers or {"x-arango-async": "store"}
    return await client("POST", "/echo", data=BytesIO(bytes(size)), headers=headers)


# --- bounded by configuration -------------------------------------------------------------------


async def test_a_submission_that_does_not_fit_is_refused_for_now_and_nothing_stays_of_it(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=WEBAPP, store={"max_size": "4MiB"})
    client = Client(http, server.url)
    arango = await offered(client, 8 * MEBIBYTE)
    assert (arango.status, arango.headers["Retry-After"]) == (503, "1")
    assert b'"errorNum":1104' in arango.body
    native = await offered(client, 8 * MEBIBYTE, Prefer="respond-async")
    assert (native.status, native.headers["Retry-After"]) == (503, "1")
    assert b"no room is left to write" in native.body
    await server.store.sweep()
    assert rows(store_path, "SELECT (SELECT count(*) FROM job), count(*) FROM body") == [(0, 0)]
    small = await client.submit("/echo", "POST", data=b"small")
    assert (await client.fetched(small)).body == b"small"
    check_sound(store_path)


async def test_a_result_that_does_not_fit_is_kept_until_it_does(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=WEBAPP, store={"max_size": "4MiB"})
    client = Client(http, server.url)
    first, second = await client.done(RESULT), await client.done(RESULT)
    third = await client.submit(RESULT)
    while (await offered(client, 400_000)).status != 503:
        pass
    assert (await client("GET", f"/_api/job/{third}")).status == 204
    assert (await client("DELETE", f"/_api/job/{first}")).status == 200
    await server.store.sweep()
    for job_id in (second, third):
        assert (await client.fetched(job_id)).body == CHUNK * 24
    check_sound(store_path)


async def test_a_full_store_takes_jobs_again_when_results_were_deleted(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve(target=WEBAPP, store={"max_size": "4MiB"}, retention={"fetched": 0})
    client = Client(http, server.url)
    accepted = 0
    while (answer := await offered(client, 500_000)).status == 202:
        accepted += 1
    assert (answer.status, accepted > 0) == (503, True)
    await client("DELETE", "/_api/job/all")
    while (answer := await offered(client, 500_000)).status == 503:
        await client("DELETE", "/_api/job/all")
        await server.store.purge(before=2**62)
        await server.store.sweep()
    assert (await client.fetched(int(answer.headers["x-arango-async-id"]))).body == bytes(500_000)
    check_sound(store_path)
