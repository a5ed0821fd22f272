"""What a process loads: no more than what it does takes, so that it starts quickly and stays small.

Python itself tells what is imported: https://docs.python.org/3/using/cmdline.html#cmdoption-X
"""

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import ClientSession

from tests.client import Client
from tests.databases import Databases
from tests.engines import named, process
from tests.peers import Origin, Services
from tests.stores import prepare
from trials.serving import ServerProcess

TELLING = (sys.executable, "-X", "importtime")
TOLD = re.compile(r"import time: +\d+ \| +\d+ \| +(\S+)")
# What only some servers and some commands have a use for.
SPECIAL = {
    "alembic",
    "argon2",
    "cramjam",
    "fastavro",
    "greenlet",
    "jinja2",
    "opentelemetry",
    "prometheus_client",
    "psycopg",
    "psycopg_binary",
    "pyarrow",
    "pydantic",
    "pydantic_core",
}
LARGE = SPECIAL | {"aiohttp", "asyncio", "rich", "sqlalchemy", "sqlite3"}
REMOTE = {
    "http.client",
    "jobstore.cli.acting_afar",
    "jobstore.cli.remote",
    "jobstore.cli.remote_jobs",
    "jobstore.cli.remote_sheets",
}

Imports = set[str]


def imports(told: str) -> Imports:
    """Read which modules and packages were imported."""
    return set(TOLD.findall(told))


def imported(*arguments: str) -> Imports:
    """Run Python, and return what was imported."""
    ran = subprocess.run([*TELLING, *arguments], capture_output=True, text=True, check=True)
    return imports(ran.stderr)


class TellingServer(ServerProcess):
    """A real server that tells what it imports."""

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [*TELLING, *super().command[1:]]

    @property
    def imports(self) -> Imports:
        """What it has imported."""
        return imports("".join(self.output))


Telling = Callable[..., Awaitable[Imports]]


@pytest.fixture
def served(store_path: Path, http: ClientSession) -> Telling:
    """Give a function that serves the store until a job has run, and returns what was imported."""

    async def serve(*arguments: str, path: str = "/_api/version") -> Imports:
        async with telling(store_path, *arguments) as server:
            client = Client(http, server.url)
            answer = await client.fetched(await client.submit(path))
            assert answer.status == 200
        return server.imports

    return serve


@asynccontextmanager
async def telling(store_path: Path, *arguments: str) -> AsyncIterator[TellingServer]:
    server = TellingServer(store_path, *arguments)
    await server.start()
    try:
        yield server
    finally:
        await server.terminate()


# Commands


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_what_the_command_says_of_itself_takes_nothing_large(argument: str) -> None:
    assert imported("-m", "jobstore", argument) & LARGE == set()


@pytest.mark.parametrize("command", [["history"], ["history", "--json"], ["list"]])
def test_commands_that_look_at_jobs_take_the_store_but_no_server(
    store_path: Path, command: list[str]
) -> None:
    prepare(store_path)
    found = imported("-m", "jobstore", *command, "--store", str(store_path))
    assert "sqlalchemy" in found
    assert found & {*SPECIAL, "aiohttp", "jobstore.live"} == set()
    assert found & {"sqlalchemy.dialects.postgresql", *REMOTE} == set()
    assert found & {"difflib", "statistics", "tomllib"} == set()
    assert found & {"jobstore.model.schedule", "jobstore.store.definitions"} == set()


def test_a_command_for_jobs_in_a_store_takes_nothing_for_a_server_elsewhere(
    store_path: Path,
) -> None:
    prepare(store_path)
    found = imported("-m", "jobstore", "cancel", "--all", "--yes", "--store", str(store_path))
    assert "jobstore.cli.acting_here" in found
    assert found & REMOTE == set()


def test_the_package_loads_nothing_until_it_is_used() -> None:
    found = imported("-c", "import jobstore")
    assert {name for name in found if name.startswith("jobstore")} == {"jobstore"}
    assert found & LARGE == set()


# Servers


async def test_a_store_that_is_up_to_date_is_served_without_what_few_servers_need(
    store_path: Path, served: Telling
) -> None:
    prepare(store_path)
    unneeded = {*SPECIAL, "rich", "jobstore.dashboard.jobs", "jobstore.targets.upstream"}
    assert await served() & unneeded == set()


async def test_a_new_store_is_made_without_the_migrations(served: Telling) -> None:
    assert await served() & SPECIAL == set()


async def test_a_service_is_stood_before_without_the_dialects_that_it_does_not_speak(
    store_path: Path, served: Telling, services: Services
) -> None:
    prepare(store_path)
    found = await served("--upstream", await services.listen(Origin().talk), path="/anything")
    assert "jobstore.targets.upstream" in found
    unneeded = {*SPECIAL, "rich", "jobstore.dialects.kinetica", "jobstore.dialects.datameer"}
    assert found & unneeded == set()


async def test_only_a_store_on_postgresql_takes_a_driver_for_it(
    postgresql: Databases, tmp_path: Path, http: ClientSession
) -> None:
    del postgresql  # which only has to be there
    with named(tmp_path / "jobs.db", "postgresql") as place:
        server = process(TellingServer, place)()
        await server.start()
        await Client(http, server.url).done("/_api/version")
        await server.terminate()
    assert server.imports & SPECIAL == {"greenlet", "psycopg", "psycopg_binary"}


async def test_the_pages_are_loaded_when_the_first_one_is_requested(
    store_path: Path, http: ClientSession
) -> None:
    prepare(store_path)
    async with telling(store_path) as server:
        page = await Client(http, server.url)("GET", "/_jobs/ui/nowhere")
    assert page.status == 404
    assert {"jinja2", "jobstore.dashboard.jobs"} <= server.imports


async def test_what_a_definition_takes_is_loaded_when_the_first_one_is_written(
    store_path: Path, http: ClientSession
) -> None:
    prepare(store_path)
    async with telling(store_path) as server:
        definition = {"name": "daily", "path": "/daily", "target": "/_api/version"}
        async with http.post(f"{server.url}/_jobs/definitions", json=definition) as answer:
            assert answer.status == 201
    assert "pydantic" in server.imports
