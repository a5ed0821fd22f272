"""Before a service, only what is asked for is ours: each dialect claims its calls and no others."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, web

import jobstore
from jobstore.config import load
from jobstore.server import serving
from tests.client import Client
from tests.conftest import Serve
from tests.peers import Services
from trials.clients import Answer
from trials.services import answering

pytestmark = pytest.mark.file  # whose a path is is no affair of the engine

# Calls of the dialects, and what a service of its own may have at the same paths.
DATAMEER = [
    ("GET", "/rest/job-configuration/job-status/1"),
    ("GET", "/rest/jobs/list-running"),
    ("GET", "/api/job-execution/a/b/status"),
    ("POST", "/rest/job-execution?configuration=1"),
    ("DELETE", "/rest/data/5"),
]
KINETICA = [("POST", "/get/job"), ("POST", "/show/system/status"), ("POST", "/admin/show/jobs")]
NEIGHBOURS = [
    ("GET", "/rest/workbook/5"),
    ("PUT", "/rest/import-job/5"),
    ("GET", "/rest/data/5"),
    ("POST", "/rest/data/5"),
    ("GET", "/rest/job-execution"),
    ("GET", "/show/system/status"),
    ("HEAD", "/get/job"),
    ("PUT", "/create/job"),
]
OURS = [("GET", "/_api/job/done"), ("GET", "/_jobs"), ("PATCH", "/_api/job/1"), ("PUT", "/_jobs")]


async def anything(request: web.Request) -> web.Response:
    """Answer any request with its method and its path."""
    return web.Response(text=f"{request.method} {request.path}", headers={"X-Service": "yes"})


def service() -> web.Application:
    """Make a service that has all paths."""
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", anything)
    return app


def is_the_services(answer: Answer) -> bool:
    """Tell whether the service has answered."""
    return (answer.status, answer.headers.get("X-Service")) == (200, "yes")


@pytest.fixture
async def upstream(
    services: Services, store_path: Path, http: ClientSession
) -> AsyncIterator[Client]:
    """Give a client of a server before a service, with nothing said of dialects."""
    target = [{"upstream": await services.application(service())}]
    sections = {"server": {"port": 0}, "store": {"path": store_path}, "target": target}
    async with serving(load(None, sections, environ={})) as server:
        yield Client(http, server.url)


@asynccontextmanager
async def embedded(store_path: Path, **sections: Any) -> AsyncIterator[str]:
    """Run the service with jobs of its own; give its URL."""
    app = service()
    jobstore.setup(app, store_path, open=True, **sections)
    async with answering(app) as url:
        yield url


@pytest.mark.parametrize(("method", "path"), [*DATAMEER, *KINETICA, *NEIGHBOURS])
async def test_before_a_service_no_path_of_another_dialect_is_taken_from_it(
    upstream: Client, method: str, path: str
) -> None:
    assert is_the_services(await upstream(method, path))
    assert is_the_services(await upstream.fetched(await upstream.submit(path, method)))


@pytest.mark.parametrize(("method", "path"), OURS)
async def test_arangodbs_and_our_own_are_ours_with_any_method(
    upstream: Client, method: str, path: str
) -> None:
    assert "X-Service" not in (await upstream(method, path)).headers


async def test_the_same_holds_for_an_application_with_jobs_of_its_own(
    store_path: Path, http: ClientSession
) -> None:
    async with embedded(store_path) as url:
        client = Client(http, url)
        for method, path in [*DATAMEER, *KINETICA, *NEIGHBOURS]:
            assert is_the_services(await client(method, path))
            assert is_the_services(await client.fetched(await client.submit(path, method)))
        for method, path in OURS:
            assert "X-Service" not in (await client(method, path)).headers


async def test_a_dialect_that_is_asked_for_takes_its_calls_and_no_others(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    target = [{"upstream": await services.application(service())}]
    server = await serve(target=target, server={"port": 0, "dialects": ["datameer"]})
    client = Client(http, server.url)
    for method, path in [*KINETICA, *NEIGHBOURS]:
        assert is_the_services(await client(method, path))
    for method, path in DATAMEER:
        assert "X-Service" not in (await client(method, path)).headers


async def test_a_definition_may_ask_either_what_is_ours_or_what_is_the_services(
    serve: Serve, services: Services, http: ClientSession
) -> None:
    target = [{"upstream": await services.application(service())}]
    client = Client(http, (await serve(target=target)).url)
    for number, (method, ours) in enumerate([("DELETE", False), ("GET", True)], 1):
        draft = {"name": "it", "path": f"/{number}", "method": method, "target": "/rest/data/5"}
        await client("POST", "/_jobs/definitions", json=draft)
        await client("POST", f"/_jobs/definitions/{number}/run")
        assert is_the_services(await client.fetched(number)) is ours
