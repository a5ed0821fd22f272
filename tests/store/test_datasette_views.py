"""Datasette, which none of us wrote, shows the views of a live store; nobody has to wait for it."""

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.conftest import Serve
from tests.store.test_views import COLUMNS
from tests.stores import rows

pytestmark = pytest.mark.file

# How long everything may take at most; nothing here comes near it.
LONG = 60
BEFORE = 30
MEANWHILE = 200


@contextmanager
def datasette(database: Path, *options: str) -> Iterator[str]:
    """Start Datasette with a database while the context lasts, and give its URL.

    Its statements may take long: the machine may have too much to do.
    """
    command = [str(Path(sys.executable).with_name("datasette")), "serve", str(database)]
    with subprocess.Popen(
        [*command, "--port", "0", "--setting", "sql_time_limit_ms", "60000", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stderr is not None
        found = (re.search(r"http://\S+:\d+", line) for line in process.stderr)
        url = next(match[0] for match in found if match)
        reading = Thread(target=process.stderr.read)
        reading.start()
        try:
            yield url
        finally:
            process.terminate()
            reading.join()


async def shown(client: Client, path: str) -> Any:
    answer = await client("GET", path)
    assert answer.status == 200, answer
    return json.loads(answer.body)


async def test_datasette_shows_the_views_of_a_live_store_while_it_takes_submissions(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    client = Client(http, (await serve()).url)
    for number in range(BEFORE):
        await client.done(f"/_api/version?n={number}")

    seen: set[str] = set()

    async def submissions() -> int:
        number = 0
        while number < MEANWHILE or not seen.issuperset(COLUMNS):
            await client.submit(f"/_api/version?m={number}")
            number += 1
        return number

    with datasette(store_path) as url:
        reader = Client(http, url)
        submitting = asyncio.create_task(submissions())
        while not submitting.done():
            for view in COLUMNS:
                found = await shown(reader, f"/jobs/{view}.json?_shape=objects&_size=20")
                assert list(found["rows"][0]) == COLUMNS[view]
                seen.add(view)
        jobs = BEFORE + await submitting
        for view in COLUMNS:
            assert (await reader("GET", f"/jobs/{view}")).status == 200, view
        counted = await shown(
            reader, "/jobs.json?_shape=array&sql=select+count(*)+as+n,max(job_id)+as+m+from+history"
        )
    assert counted == [{"n": jobs, "m": jobs}]
    assert rows(store_path, "SELECT count(*) FROM job") == [(jobs,)]


async def test_a_look_at_the_views_pins_nothing_so_the_wal_can_be_cut_back(
    serve: Serve, store_path: Path, http: ClientSession
) -> None:
    server = await serve()
    client = Client(http, server.url)
    await client.done("/_api/version")
    with datasette(store_path) as url:
        reader = Client(http, url)
        for view in COLUMNS:
            await shown(reader, f"/jobs/{view}.json?_shape=objects")
        wal = store_path.with_name(f"{store_path.name}-wal")
        async with asyncio.timeout(LONG):
            await server.store.file.checkpoint()
            while left := wal.stat().st_size:  # the server has written something by itself since
                await server.store.file.checkpoint()
        assert left == 0
