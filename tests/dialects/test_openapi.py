"""The description of all APIs, in the words of OpenAPI, and whether it is true."""

import asyncio
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from openapi_spec_validator import OpenAPIV31SpecValidator

from jobstore.apis import apis_of, application_of, calls_of
from jobstore.config import load
from jobstore.dialects.native.routes import openapi
from jobstore.model.job import Dialect, Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.model.written import DIALECTS
from jobstore.targets.router import Router
from tests.client import Client
from tests.conftest import Serve, Start
from tests.depth import DEEP
from tests.stores import opened

pytestmark = pytest.mark.file  # what is refused is no affair of the engine

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = 25 if DEEP else 8  # for each call, besides those that are derived from its schema
LOOKS = "^(list|read|count|describe|follow|show)"
CHANGES = "^(submit|delete|take|cancel|retry|restore|report|create|change|run)"
# What is looked at has to be still there: what is changed, is on another server.
CALLS = {
    "looks": ("--include-operation-id-regex", LOOKS),
    "changes": ("--include-operation-id-regex", CHANGES),
    "dialects": [
        word for tag in ("arangodb", "kinetica", "datameer") for word in ("--include-tag", tag)
    ],
}
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document() -> dict[str, Any]:
    """Give the description."""
    return openapi()


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Go through the calls: path, method and description of each."""
    for path, item in document["paths"].items():
        for method in METHODS.intersection(item):
            yield path, method, item[method]


async def test_the_server_gives_its_description(serve: Serve, http: ClientSession) -> None:
    answer = await Client(http, (await serve()).url)("GET", "/_jobs/openapi.json")
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert (answer.status, json.loads(answer.body)) == (200, openapi())


def test_it_is_openapi(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []


def test_each_call_has_a_name_of_its_own_and_a_summary(document: dict[str, Any]) -> None:
    calls = [call for _, _, call in operations(document)]
    assert all(call["summary"] and call["responses"] for call in calls)
    assert len({call["operationId"] for call in calls}) == len(calls)


def test_each_tag_is_described(document: dict[str, Any]) -> None:
    used = {tag for _, _, call in operations(document) for tag in call["tags"]}
    assert used == {tag["name"] for tag in document["tags"]}


def test_its_words_are_those_of_the_code(document: dict[str, Any]) -> None:
    job = document["components"]["schemas"]["Job"]["properties"]
    assert job["state"]["enum"] == list(State)
    assert job["result"]["enum"] == list(Result)
    assert job["dialect"]["enum"] == list(Dialect)
    filters = document["paths"]["/_jobs"]["get"]["parameters"]
    (trigger,) = [each for each in filters if each["name"] == "trigger"]
    assert trigger["schema"]["enum"] == list(Trigger)


def test_each_part_of_it_is_used(document: dict[str, Any]) -> None:
    used = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(document)))
    parts = document["components"]
    kinds = ("schemas", "responses", "parameters")
    assert used == {f"{kind}/{name}" for kind in kinds for name in parts[kind]}


async def test_each_path_of_our_own_is_described_and_no_other(
    document: dict[str, Any], store_path: Path
) -> None:
    async with opened(store_path) as store:
        apis = apis_of(load(None, {}, environ={}), store, Router(), DIALECTS)
        app = application_of(calls_of(apis))
        served = {resource.canonical for resource in app.router.resources()}
    described = {path for path, _, _ in operations(document) if path.startswith("/_jobs")}
    ours = {path.replace("{run}", "run") for path in served if path.startswith("/_jobs")}
    assert ours - described == {"/_jobs/{tail}"}
    assert described - ours == set()


@pytest.mark.parametrize("which", CALLS)
async def test_the_server_does_what_its_description_says(
    which: str,
    server_process: Start,
    http: ClientSession,
    tmp_path: Path,
) -> None:
    url = (await server_process()).url
    await prepare(Client(http, url))
    code, said = await schemathesis(url, tmp_path, *CALLS[which])
    assert code == 0, said


async def prepare(client: Client) -> None:
    """Put in what some of the calls may find: jobs that have ended, a definition, a run of it."""
    for seconds in (60, 60, 0):
        headers = {"Prefer": f"respond-async, wait={seconds}"}
        await client("GET", "/_admin/time", headers=headers)
    definition = {"name": "time", "path": "/time", "target": "/_admin/time"}
    await client("POST", "/_jobs/definitions", data=json.dumps(definition))
    run = json.loads((await client("POST", "/_jobs/definitions/1/run")).body)["id"]
    for job_id in range(1, run + 1):
        await client("GET", f"/_jobs/{job_id}", headers={"Prefer": "wait=60"})


async def schemathesis(url: str, folder: Path, *which: str) -> tuple[int | None, str]:
    """Let schemathesis check some of a server's calls; return its exit code and what it says.

    It is a process of its own, so that its threads and its warnings are no business of these tests.
    """
    script = Path(sys.executable).with_name("schemathesis")
    options = ["--phases", "examples,coverage,fuzzing", "--generation-deterministic"]
    bounds = ["--max-examples", str(EXAMPLES), "--request-timeout", "30", "--warnings", "off"]
    command = [str(script), "--config-file", str(CONFIG), "run", f"{url}/_jobs/openapi.json"]
    process = await asyncio.create_subprocess_exec(
        *command, "--url", url, *options, *bounds, "--continue-on-failure", "--no-color", *which,
        cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    said, _ = await process.communicate()
    return process.returncode, said.decode()
