"""Who shares a store, as the command tells it, with the servers up and down."""

import asyncio
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.commands import jobstore, said
from tests.conftest import Start, started
from tests.engines import Place, process
from trials.nursery import ForkedServer

pytestmark = pytest.mark.usefixtures("nursery")

LEASE = {"JOBSTORE_STORE__LEASE": "1s"}


async def nodes(store: Path) -> list[dict[str, Any]]:
    """List the starts of nodes as scripts see them, but the newest last."""
    told = await asyncio.to_thread(jobstore, "nodes", "--json", "--store", store, env=LEASE)
    assert (told.exit_code, told.stderr) == (0, "")
    return [json.loads(line) for line in told.stdout.splitlines()][::-1]


async def once(store: Path, *states: str) -> list[dict[str, Any]]:
    """Wait until the nodes are in these states."""
    while True:
        found = await nodes(store)
        if [node["state"] for node in found] == [*states]:
            return found


async def test_nodes_are_listed_with_what_has_become_of_them(
    database: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBSTORE_STORE__NAME", "first")
    async with started(process(ForkedServer, database)) as start:
        first = await start()
        (node,) = await nodes(database)
        assert (node["name"], node["node"], node["pid"]) == ("first", 1, first.process.pid)
        assert (node["host"], node["state"]) == (os.uname().nodename, "alive")
        assert node["ended_at"] is None
        await first.kill()
        (node,) = await once(database, "silent")
        seen = node["seen_at"]
        monkeypatch.delenv("JOBSTORE_STORE__NAME")
        second = await start()
        (died, _) = await once(database, "died", "alive")
        assert (died["seen_at"], died["ended_at"] > seen) == (seen, True)
        assert await second.terminate() == 0
        (_, ended) = await once(database, "died", "ended")
        assert ended["name"] == f"{os.uname().nodename}:{second.url.rpartition(':')[2]}"
        assert ended["ended_at"] is not None


async def test_a_table_tells_people_the_same_the_newest_first(database: Place) -> None:
    async with started(process(ForkedServer, database)) as start:
        for _ in range(2):
            assert await (await start()).terminate() == 0
    told = await asyncio.to_thread(said, "nodes", "--store", database)
    heads, *rows = [line.split() for line in told.splitlines()]
    assert heads == ["NAME", "NODE", "HOST", "PID", "VERSION", "STARTED", "SEEN", "STATE"]
    assert [(row[1], row[-1]) for row in rows] == [("2", "ended"), ("1", "ended")]
    told = await asyncio.to_thread(said, "nodes", "--limit", 1, "--store", database)
    assert [line.split()[1] for line in told.splitlines()] == ["NODE", "2"]


def test_a_database_that_no_node_has_joined_says_so(database: Place) -> None:
    assert said("nodes", "--store", database) == "There has been no node so far.\n"
    assert said("nodes", "--json", "--store", database) == ""


async def test_a_file_has_one_server_at_most(real_server: Start, store_path: Path) -> None:
    server = await real_server()
    (node,) = await nodes(store_path)
    assert (node["node"], node["pid"], node["state"]) == (1, server.process.pid, "alive")
    await server.terminate()
    assert await asyncio.to_thread(said, "nodes", "--store", store_path) == "No server runs.\n"
    server = await real_server()
    await server.kill()
    assert await nodes(store_path) == []


async def test_what_ran_on_a_node_that_died_is_found(database: Place, http: ClientSession) -> None:
    async with started(process(ForkedServer, database)) as start:
        server = await start("--open", "--app", "tests.gates:create_app")
        client = Client(http, server.url)
        job_id = await client.submit("/wait/a", "POST")
        await client.when("a", "started")
        await server.kill()
        await once(database, "silent")
        told = await interrupted(database)
        assert re.match(
            r"Node 1 with process id \d+, started \S+, was killed or lost power, or was", told
        )
        assert f"\n {job_id}  running" in told
        await start("--open")
        await once(database, "died", "alive")
        while f"\n {job_id}  failed" not in (told := await interrupted(database)):
            pass
        assert "cut off; noticed 20" in told


async def interrupted(database: Place) -> str:
    """List the jobs that were running when a node died last."""
    where = ("--store", database)
    told = await asyncio.to_thread(jobstore, "history", "--interrupted", *where, env=LEASE)
    assert (told.exit_code, told.stderr) == (0, "")
    return told.stdout
