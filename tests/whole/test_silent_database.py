"""A database that says nothing any more: whatever a client asks for, it is told to come again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientSession
from psycopg.conninfo import conninfo_to_dict

from jobstore.config import load
from jobstore.server import serving
from tests.client import ORDINARY, Client
from tests.databases import SCHEMA
from tests.engines import Place
from tests.stores import prepare
from trials.chaos.proxy import Proxy, listening

PATIENCE = 1.0
# In which several waits that add up do not go, though the machine may be busy.
LONGEST = 30.0
# What a client asks for, with the id of a job that has ended.
ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "submit": ("POST", "/echo", {"headers": {"x-arango-async": "store"}}),
    "submit natively": ("POST", "/_jobs", {"json": {"target": "/echo"}}),
    "fetch": ("PUT", "/_api/job/{id}", {}),
    "take": ("POST", "/_jobs/{id}/take", {}),
    "poll": ("PUT", "/_api/job/{id}", {"headers": {"Prefer": "wait=1"}}),
    "status": ("GET", "/_api/job/{id}", {}),
    "list": ("GET", "/_jobs", {}),
    "list of results": ("GET", "/_api/job/done", {}),
    "cancel": ("PUT", "/_api/job/{id}/cancel", {}),
    "operation": ("POST", "/_jobs/operations", {"json": {"action": "delete", "ids": [1]}}),
    "page": ("GET", "/_jobs/ui/", {}),
    "page of a job": ("GET", "/_jobs/ui/{id}", {}),
}


@pytest.fixture
async def way(database: Place) -> AsyncIterator[Proxy]:
    """Give a proxy before a database."""
    parts = conninfo_to_dict(database.url)
    socket = f"{parts['host']}/.s.PGSQL.{parts.get('port') or 5432}"
    made = Proxy(1, "way", f"unix:{socket}", cutting=False)
    async with listening(made):
        yield made


@pytest.mark.parametrize("asked", ASKED)
async def test_a_client_is_told_to_come_again(
    database: Place, way: Proxy, http: ClientSession, asked: str
) -> None:
    parts = conninfo_to_dict(database.url)
    address = way.url.removeprefix("http://")
    through = f"postgresql://{parts['user']}@{address}/{parts['dbname']}?gssencmode=disable"
    prepare(database)
    async with serving(load(None, sections(through), environ={})) as server:
        client = Client(http, server.url)
        job_id = await client.done("/echo")
        method, path, options = ASKED[asked]
        async with way.silent(upwards=True, downwards=True):
            request = client(method, path.format(id=job_id), **options)
            answer = await asyncio.wait_for(request, LONGEST)
        assert answer.status == 503, answer
        assert "Retry-After" in answer.headers


def sections(url: str) -> dict[str, Any]:
    """Configure a node of a database that is reached by a URL."""
    store = {"url": url, "schema": SCHEMA, "patience": PATIENCE}
    return {"store": store, "target": ORDINARY, "server": {"port": 0}}
