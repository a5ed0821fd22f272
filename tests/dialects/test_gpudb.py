"""gpudb, as it comes from PyPI, and what its users get to see."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib import import_module
from typing import Any

import pytest
import snappy
from aiohttp import ClientSession

from tests.client import GATED, ORDINARY, Client
from tests.conftest import Overrides, Serve

ENCODINGS = ["BINARY", "JSON", "SNAPPY"]
EVERY_BYTE = bytes(range(256))


@pytest.fixture(scope="module")
def library() -> Any:
    """Give gpudb, which is large, and only needed here."""
    return import_module("gpudb")


class Database:
    """A database of gpudb's, which waits for its answers: each call does so in a thread.

    Args:
        database: the database.
        client: what knows the other dialect, and the work behind the gates.
    """

    def __init__(self, database: Any, client: Client) -> None:
        self.database = database
        self.client = client

    async def __call__(self, name: str, *arguments: object) -> Any:
        """Make a call that has to succeed."""
        answer = await asyncio.to_thread(getattr(self.database, name), *arguments)
        assert answer.is_ok(), answer.get_error_msg()
        return answer

    async def refused(self, name: str, *arguments: object) -> str:
        """Make a call that has to be refused, and return the message."""
        answer = await asyncio.to_thread(getattr(self.database, name), *arguments)
        assert not answer.is_ok()
        message: str = answer.get_error_msg()
        return message

    async def create(self, endpoint: str, data_str: str = "", **options: str) -> int:
        """Submit a job whose request is in JSON."""
        created = await self("create_job", endpoint, "json", b"", data_str, options)
        job_id: int = created.job_id
        return job_id

    async def ended(self, job_id: int) -> Any:
        """Look at a job until it has ended."""
        while (job := await self("get_job", job_id, {})).job_status == "RUNNING":
            pass
        return job


Connect = Callable[[str, Overrides], Awaitable[Database]]


@pytest.fixture
def connect(serve: Serve, http: ClientSession, library: Any) -> Connect:
    """Give a function that starts a server in front of a target, and connects gpudb to it."""

    async def connected(encoding: str, target: Overrides) -> Database:
        server = await serve(target=target, executor={"concurrency": 1})
        options = {"encoding": encoding, "username": "alice", "password": "x"}
        database = await asyncio.to_thread(library.GPUdb, host=server.url, **options)
        assert database.encoding == encoding
        return Database(database, Client(http, server.url))

    return connected


def in_bytes(value: bytes | str) -> bytes:
    """Return bytes, which gpudb leaves as text if they came in JSON."""
    return value if isinstance(value, bytes) else value.encode("latin-1")


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_it_finds_a_system_that_runs(connect: Connect, encoding: str) -> None:
    db = await connect(encoding, ORDINARY)
    status = await db("show_system_status", {})
    assert json.loads(status.status_map["system"])["status"] == "running"
    properties = await db("show_system_properties", {})
    assert properties.property_map["version.gpudb_core_version"].startswith("7.2.3.0.")
    assert db.database.get_url() == db.client.url


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_job_in_json_runs_and_is_found_by_its_id_and_by_its_tag(
    connect: Connect, encoding: str
) -> None:
    db = await connect(encoding, ORDINARY)
    created = await db("create_job", "/echo", "json", b"", '{"table":"ä"}', {"job_tag": "mine"})
    assert created.info == {"job_tag": "mine", "query_id": str(created.job_id)}
    job = await db.ended(created.job_id)
    assert (job.endpoint, job.job_status) == ("/echo", "DONE")
    assert (job.running, job.progress, job.successful) == (False, 100, True)
    assert (job.response_encoding, job.job_response_str) == ("json", '{"table":"ä"}')
    assert (in_bytes(job.job_response), job.status_map) == (b"", {})
    assert await db("get_job", 0, {"job_tag": "mine"}) == job


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("of_job", ["binary", "snappy"])
async def test_a_job_in_bytes_gets_every_byte(connect: Connect, encoding: str, of_job: str) -> None:
    db = await connect(encoding, ORDINARY)
    sent = EVERY_BYTE if of_job == "binary" else snappy.compress(EVERY_BYTE)
    created = await db("create_job", "/echo", of_job, sent, "", {})
    job = await db.ended(created.job_id)
    assert (job.response_encoding, job.job_response_str) == ("binary", "")
    assert in_bytes(job.job_response) == EVERY_BYTE


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_record_that_it_encoded_itself_comes_back_as_it_was(
    connect: Connect, library: Any, encoding: str
) -> None:
    db = await connect(encoding, ORDINARY)
    kind = library.GPUdbRecordType(columns=[["x", "double"], ["name", "string"]], label="point")
    record = library.GPUdbRecord(kind, [1.5, "ä"])
    created = await db("create_job", "/echo", "binary", record.binary_data, "", {})
    job = await db.ended(created.job_id)
    assert in_bytes(job.job_response) == record.binary_data


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_jobs_are_listed_and_cancelled(connect: Connect, encoding: str) -> None:
    db = await connect(encoding, GATED)
    running, queued = [await db.create(f"/wait/{name}") for name in ("running", "queued")]
    await db.client.when("running", "started")
    assert [(await db("get_job", job_id, {})).running for job_id in (running, queued)] == [
        True,
        True,
    ]
    shown = await db("admin_show_jobs", {})
    assert (shown.job_id, shown.status) == ([running, queued], ["RUNNING", "RUNNING"])
    assert (shown.endpoint_name, shown.auth_id) == (
        ["/wait/running", "/wait/queued"],
        ["alice", "alice"],
    )
    altered = await db("admin_alter_jobs", [running, queued, 999], "cancel", {})
    assert altered.job_ids == [running, queued, 999]
    assert altered.status == ["cancel requested", "cancel requested", "not found"]
    for job_id in (running, queued):
        assert (await db.ended(job_id)).job_status == "CANCELLED"
    assert (await db("admin_show_jobs", {})).job_id == []
    shown = await db("admin_show_jobs", {"show_async_jobs": "true"})
    assert (shown.job_id, shown.status) == ([running, queued], ["CANCELLED", "CANCELLED"])


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_what_is_refused_is_told_and_the_connection_goes_on(
    connect: Connect, encoding: str
) -> None:
    db = await connect(encoding, ORDINARY)
    assert await db.refused("get_job", 7, {}) == "Job 7 not found"
    assert await db.refused("get_job", -(2**63), {}) == f"Job {-(2**63)} not found"
    message = await db.refused("create_job", "/echo", "json", b"", "{}", {"job_tag": "a b"})
    assert message == "job_tag: expected 1 to 255 letters, digits, _ and -"
    assert await db.refused("admin_alter_jobs", [1], "stop", {}) == "action: expected cancel"
    assert "no-such" in await db.refused("admin_alter_jobs", [1], "cancel", {"job_tag": "no-such"})
    assert db.database.get_num_cluster_switches() == 0


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_the_next_jobs_may_have_the_same_tag(connect: Connect, encoding: str) -> None:
    db = await connect(encoding, ORDINARY)
    for night in ("1", "2"):
        await db("create_job", "/echo", "json", b"", night, {"job_tag": "nightly"})
        while (job := await db("get_job", 0, {"job_tag": "nightly"})).running:
            pass
        assert (job.job_status, job.job_response_str) == ("DONE", night)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_jobs_of_two_people_may_have_the_same_tag(
    connect: Connect, library: Any, encoding: str
) -> None:
    alices = await connect(encoding, GATED)
    options = {"encoding": encoding, "username": "bob", "password": "x"}
    database = await asyncio.to_thread(library.GPUdb, host=alices.client.url, **options)
    bobs = Database(database, alices.client)
    for db, name in ((alices, "alice"), (bobs, "bob")):
        await db("create_job", f"/wait/{name}", "json", b"", "{}", {"job_tag": "same"})
    for db, name in ((alices, "alice"), (bobs, "bob")):
        job = await db("get_job", 0, {"job_tag": "same"})
        assert (job.endpoint, job.running) == (f"/wait/{name}", True)


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_failed_job_says_why(connect: Connect, encoding: str) -> None:
    db = await connect(encoding, ORDINARY)
    job = await db.ended(await db.create("/refuse"))
    assert (job.job_status, job.successful) == ("ERROR", False)
    assert job.status_map == {"error_message": "409 Conflict: no"}


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_job_that_shall_go_once_it_is_complete_is_answered_once(
    connect: Connect, encoding: str
) -> None:
    db = await connect(encoding, ORDINARY)
    job_id = await db.create("/echo", "1", remove_job_on_complete="true")
    assert (await db.ended(job_id)).job_response_str == "1"
    assert await db.refused("get_job", job_id, {}) == f"Job {job_id} not found"


@pytest.mark.parametrize("encoding", ENCODINGS)
async def test_a_job_may_be_a_call_that_it_could_have_made_itself(
    connect: Connect, encoding: str
) -> None:
    db = await connect(encoding, ORDINARY)
    job = await db.ended(await db.create("/show/system/status", '{"options":{}}'))
    status = json.loads(job.job_response_str)
    assert json.loads(status["status_map"]["system"])["status"] == "running"
