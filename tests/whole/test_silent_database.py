"""A database that says nothing any more: whatever a client asks for, it is told to come again.

The clock by which everybody waits is held and moved by the test: it shows how long a client waits
at most, and a busy machine is not to blame.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from aiohttp import ClientSession, web
from psycopg.conninfo import conninfo_to_dict

import jobstore
from jobstore.config import load
from jobstore.model.errors import StoreError
from jobstore.server import serving
from jobstore.store import waited
from tests.client import Client
from tests.databases import SCHEMA
from tests.engines import ENGINES, Place, configured, engine
from tests.loop import HeldClock
from tests.stores import prepare
from tests.webapp import create_app
from trials.chaos.proxy import Proxy, listening
from trials.clients import Answer
from trials.services import answering

Running: TypeAlias = Callable[[dict[str, Any]], AbstractAsyncContextManager[str]]

# How long a client waits at most, in seconds, and how much later the test may see the answer.
PATIENCE, STEP = 5.0, 0.1
# What a client asks for, with the id of a job that has ended.
ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "submit": ("POST", "/echo", {"headers": {"x-arango-async": "store"}}),
    "submit natively": ("POST", "/_jobs", {"json": {"target": "/echo"}}),
    "submit a batch": ("POST", "/_jobs/batch", {"json": {"jobs": [{"target": "/echo"}] * 3}}),
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
# What loads something the first time.
FIRST = ("submit natively", "page")


@dataclass(frozen=True, slots=True)
class Silence:
    """A database that may fall silent, while the clock is held.

    Args:
        store: its configuration.
        clock: the clock by which everybody in this process waits.
    """

    way: Proxy
    store: dict[str, Any]
    clock: HeldClock

    async def answer(self, asked: Coroutine[Any, Any, Answer]) -> tuple[Answer, float]:
        """Let a client ask a silent database; tell the answer, and after how many seconds."""
        async with self.way.silent(upwards=True, downwards=True):
            with self.clock.held():
                request = asyncio.create_task(asked)
                took = await self.clock.until(request, STEP)
            return await request, took


@pytest.fixture
async def silence(database: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Silence]:
    """Give a database behind a proxy, and the clock."""
    clock = HeldClock()
    monkeypatch.setattr(time, "monotonic", clock)
    prepare(database)
    parts = conninfo_to_dict(database.url)
    socket = f"{parts['host']}/.s.PGSQL.{parts.get('port') or 5432}"
    way = Proxy(1, "way", f"unix:{socket}", cutting=False)
    async with listening(way):
        address = way.url.removeprefix("http://")
        url = f"postgresql://{parts['user']}@{address}/{parts['dbname']}?gssencmode=disable"
        yield Silence(way, {"url": url, "schema": SCHEMA, "patience": PATIENCE}, clock)


# Those that were told of stay, so that no later one is taken for them.
KEPT: list[waited.Waits | None] = []


async def patience(_: web.Request) -> web.Response:
    """Tell which patience a request has."""
    KEPT.append(waited.of_request())
    return web.Response(text=f"{KEPT[-1] and id(KEPT[-1])}")


def with_patience() -> web.Application:
    """Make the ordinary application, which tells that as well."""
    app = create_app()
    app.router.add_post("/patience", patience)
    return app


@asynccontextmanager
async def served(store: dict[str, Any]) -> AsyncIterator[str]:
    """Serve with a store; give the URL."""
    sections = {
        "store": store,
        "target": {"app": f"{__name__}:with_patience"},
        "server": {"port": 0},
    }
    async with serving(load(None, sections, environ={})) as server:
        yield server.url


@asynccontextmanager
async def embedded(store: dict[str, Any]) -> AsyncIterator[str]:
    """Run an application with jobs in a store; give its URL."""
    app = with_patience()
    jobs = jobstore.setup(app, store.get("url") or store["path"], open=True)

    async def ask_twice(_: web.Request) -> web.Response:
        """Answer without what could not be found."""
        for _again in range(2):
            with suppress(StoreError):
                await jobs.store.history.awaited(1)
        return web.Response()

    app.router.add_get("/twice", ask_twice)
    async with answering(app) as url:
        yield url


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("running", [served, embedded])
async def test_a_client_is_told_to_come_again(
    silence: Silence, http: ClientSession, running: Running, asked: str
) -> None:
    async with running(silence.store) as url:
        client = Client(http, url)
        job_id = await client.done("/echo")
        for first in FIRST:  # which loads, in a thread, what the clock would not wait for
            await client(*ASKED[first][:2], **ASKED[first][2])
        method, path, options = ASKED[asked]
        asking = client(method, path.format(id=job_id), **options)
        answer, took = await silence.answer(asking)
    assert answer.status == 503, answer
    assert "Retry-After" in answer.headers
    assert took < PATIENCE + STEP


async def test_what_a_handler_asks_again_gets_no_patience_anew(
    silence: Silence, http: ClientSession
) -> None:
    async with embedded(silence.store) as url:
        client = Client(http, url)
        assert (await client("GET", "/twice")).status == 200
        answer, took = await silence.answer(client("GET", "/twice"))
    assert answer.status == 200, answer
    assert took < PATIENCE + STEP


@pytest.mark.parametrize("body", [{}, {"data": b"x", "chunked": True}], ids=["desk", "long way"])
@pytest.mark.parametrize("running", [served, embedded])
@pytest.mark.parametrize("store_path", ENGINES, indirect=True)
async def test_only_before_a_database_a_request_has_a_patience(
    store_path: Path, http: ClientSession, running: Running, body: dict[str, Any]
) -> None:
    prepare(store_path)
    async with running(configured(store_path)) as url:
        client = Client(http, url)
        answers = [await client("POST", "/patience", **body) for _ in range(2)]
    seen = {answer.body for answer in answers}
    assert seen == {b"None"} if engine(store_path) == "file" else len(seen - {b"None"}) == 2
