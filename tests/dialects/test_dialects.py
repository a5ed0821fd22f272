"""One job, three vocabularies: what is submitted in one dialect is seen in the other two.

The words are those of the wire contract's table; each row is a function that brings a job to
where it stands, in each of the dialects that can.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from tests.client import GATED, Client
from tests.conftest import Serve

DEMO: Final = "jobstore.demo:create_app"
TARGETS: Final = [
    {"prefix": "/", **GATED},
    {"prefix": "/import", "app": DEMO},
    {"prefix": "/echo", "app": DEMO},
]


@dataclass(frozen=True, slots=True)
class Seen:
    """How a job stands in each dialect.

    Args:
        arango: the status of GET, and the list that the job is in.
        kinetica: job_status, running and successful.
        datameer: the status words of V1 and V2.
    """

    arango: tuple[int, str]
    kinetica: tuple[str, bool, bool]
    datameer: tuple[str, str]


QUEUED: Final = Seen((204, "pending"), ("RUNNING", True, False), ("QUEUED", "QUEUED"))
WAITING: Final = Seen(
    (204, "pending"),
    ("RUNNING", True, False),
    ("WAITING_FOR_OTHER_JOB", "WAITING_FOR_OTHER_JOB"),
)
RUNNING: Final = Seen((204, "pending"), ("RUNNING", True, False), ("RUNNING", "RUNNING"))
SUCCEEDED: Final = Seen((200, "done"), ("DONE", False, True), ("COMPLETED", "COMPLETED"))
WARNED: Final = Seen(
    (200, "done"),
    ("DONE", False, True),
    ("COMPLETED_WITH_Warnings", "COMPLETED_WITH_WARNINGS"),
)
FAILED: Final = Seen((200, "done"), ("ERROR", False, False), ("ERROR", "ERROR"))
CANCELLED: Final = Seen((200, "done"), ("CANCELLED", False, False), ("CANCELED", "CANCELED"))


class Dialects:
    """A client that speaks all three.

    Args:
        client: what it sends requests with.
    """

    def __init__(self, client: Client) -> None:
        self.client = client

    async def kinetica(self, path: str, **record: Any) -> dict[str, Any]:
        """Call Kinetica's API in JSON, and give the record of the answer."""
        headers = {"Content-Type": "application/json"}
        answer = await self.client("POST", path, data=json.dumps(record), headers=headers)
        wrapper = json.loads(answer.body)
        assert wrapper["status"] == "OK", wrapper
        found: dict[str, Any] = json.loads(wrapper["data_str"])
        return found

    async def rest(self, method: str, path: str) -> Any:
        """Call Datameer's API, and give what it answers."""
        answer = await self.client(method, path)
        assert answer.status == 200, answer
        return json.loads(answer.body) if answer.body else None

    async def define(self, path: str) -> int:
        """Make a definition that asks a path, and give its id."""
        definition = {"name": path, "path": f"/Jobs{path.partition('?')[0]}", "target": path}
        answer = await self.client("POST", "/_jobs/definitions", json=definition)
        assert answer.status == 201, answer
        return int(json.loads(answer.body)["id"])

    async def submit(self, dialect: str, path: str) -> int:
        """Submit a job in one of the dialects, and give its id."""
        match dialect:
            case "arango":
                return await self.client.submit(path)
            case "kinetica":
                request = {"endpoint": path, "request_encoding": "json", "data_str": "{}"}
                return int((await self.kinetica("/create/job", **request))["job_id"])
        configuration = await self.define(path)
        trigger = f"/rest/job-execution?configuration={configuration}"
        return int((await self.rest("POST", trigger))["job-execution-id"])

    async def seen(self, job_id: int) -> Seen:
        """Look at a job in all of them."""
        status = (await self.client("GET", f"/_api/job/{job_id}")).status
        lists = [name for name in ("pending", "done") if job_id in await self.listed(name)]
        found = await self.kinetica("/get/job", job_id=job_id, options={})
        details = await self.rest("GET", f"/rest/job-execution/job-details/{job_id}")
        words = (details["jobStatus"], await self.v2(details))
        return Seen(
            (status, " and ".join(lists)),
            (found["job_status"], found["running"], found["successful"]),
            words,
        )

    async def listed(self, name: str) -> list[int]:
        """Ask ArangoDB's API for a list of ids."""
        return [
            int(job) for job in json.loads((await self.client("GET", f"/_api/job/{name}")).body)
        ]

    async def v2(self, details: Mapping[str, Any]) -> str:
        """Ask for the status word of V2, which only the latest run of a definition has."""
        if details["configurationId"] is None:
            word = str(details["jobStatus"])
            return WARNED.datameer[1] if word == WARNED.datameer[0] else word
        definition = json.loads(
            (await self.client("GET", f"/_jobs/definitions/{details['configurationId']}")).body
        )
        path = f"/api/job-execution{definition['path']}/status"
        found = await self.rest("GET", path)
        assert found["job-execution-id"] == details["id"]
        return str(found["job-status"])


@pytest.fixture
async def dialects(serve: Serve, http: ClientSession) -> Dialects:
    """Give a client of a server whose targets have one slot each."""
    server = await serve(target=TARGETS, executor={"concurrency": 1})
    return Dialects(Client(http, server.url))


EACH: Final = pytest.mark.parametrize("dialect", ["arango", "kinetica", "datameer"])


async def test_what_was_never_run_is_unknown_but_to_datameer(dialects: Dialects) -> None:
    configuration = await dialects.define("/echo")
    status = f"/rest/job-configuration/job-status/{configuration}"
    assert await dialects.rest("GET", status) == {}
    assert await dialects.rest("GET", "/api/job-execution/Jobs/echo/status") == {
        "status": "success",
        "job-status": "_NONE",
    }
    assert (await dialects.client("GET", "/_api/job/1")).status == 404
    answer = await dialects.client("POST", "/get/job", json={"job_id": 1, "options": {}})
    assert (answer.status, json.loads(answer.body)["status"]) == (400, "ERROR")


@EACH
async def test_a_queued_job(dialects: Dialects, dialect: str) -> None:
    await dialects.client.submit("/wait/first")
    await dialects.client.when("first", "started")
    job_id = await dialects.submit(dialect, "/wait/second")
    assert await dialects.seen(job_id) == QUEUED


async def test_a_job_that_waits_for_another_one(dialects: Dialects) -> None:
    first, second = [await dialects.define(f"/wait/{name}") for name in ("first", "second")]
    sequence = f"/rest/job-execution/sequential?configuration={first}&configuration={second}"
    _, job_id = (await dialects.rest("POST", sequence))["job-execution-ids"]
    await dialects.client.when("first", "started")
    assert await dialects.seen(job_id) == WAITING


@EACH
async def test_a_running_job(dialects: Dialects, dialect: str) -> None:
    job_id = await dialects.submit(dialect, "/wait/it")
    await dialects.client.when("it", "started")
    assert await dialects.seen(job_id) == RUNNING


@EACH
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/import?records=4&seconds=0", SUCCEEDED),
        ("/import?records=4&seconds=0&warnings=2", WARNED),
        ("/import?records=4&seconds=0&fail=true", FAILED),
        ("/nothing/here", FAILED),
    ],
    ids=["succeeded", "with warnings", "failed", "not found"],
)
async def test_an_ended_job(dialects: Dialects, dialect: str, path: str, seen: Seen) -> None:
    job_id = await dialects.submit(dialect, path)
    await dialects.client.ended(job_id)
    assert await dialects.seen(job_id) == seen


@EACH
async def test_the_failure_shows_in_arangos_dialect_only_when_it_is_fetched(
    dialects: Dialects, dialect: str
) -> None:
    job_id = await dialects.submit(dialect, "/import?records=1&seconds=0&fail=true")
    answer = await dialects.client.fetched(job_id)
    assert (answer.status, answer.headers["x-arango-async-id"]) == (500, str(job_id))


async def by_arango(dialects: Dialects, job_id: int) -> None:
    assert (await dialects.client("PUT", f"/_api/job/{job_id}/cancel")).status == 200


async def by_kinetica(dialects: Dialects, job_id: int) -> None:
    await dialects.kinetica("/admin/alter/jobs", job_ids=[job_id], action="cancel", options={})


async def by_datameer(dialects: Dialects, job_id: int) -> None:
    await dialects.rest("POST", f"/rest/job-execution/job-kill/{job_id}")


@EACH
@pytest.mark.parametrize("cancel", [by_arango, by_kinetica, by_datameer])
async def test_a_cancelled_job(
    dialects: Dialects, dialect: str, cancel: Callable[[Dialects, int], Awaitable[None]]
) -> None:
    job_id = await dialects.submit(dialect, "/wait/it")
    await dialects.client.when("it", "started")
    await cancel(dialects, job_id)
    await dialects.client.ended(job_id)
    assert await dialects.seen(job_id) == CANCELLED
    assert (await dialects.client("PUT", f"/_api/job/{job_id}")).status == 410


@EACH
async def test_reading_takes_away_in_arangos_dialect_alone(
    dialects: Dialects, dialect: str
) -> None:
    job_id = await dialects.submit(dialect, "/import?records=4&seconds=0")
    await dialects.client.ended(job_id)
    details = f"/rest/job-execution/job-details/{job_id}"
    for _ in range(2):
        assert (await dialects.kinetica("/get/job", job_id=job_id))["job_status"] == "DONE"
        assert (await dialects.rest("GET", details))["jobStatus"] == "COMPLETED"
    assert (await dialects.client.fetched(job_id)).status == 200
    assert (await dialects.client("PUT", f"/_api/job/{job_id}")).status == 404
    answer = await dialects.client("POST", "/get/job", json={"job_id": job_id})
    assert json.loads(answer.body)["status"] == "ERROR"
    assert (await dialects.rest("GET", details))["jobStatus"] == "COMPLETED"


@EACH
async def test_all_lists_show_a_running_job(dialects: Dialects, dialect: str) -> None:
    job_id = await dialects.submit(dialect, "/wait/it")
    await dialects.client.when("it", "started")
    shown = await dialects.kinetica("/admin/show/jobs", options={})
    assert (shown["job_id"], shown["status"]) == ([job_id], ["RUNNING"])
    (active,) = await dialects.rest("GET", "/rest/jobs/list-running")
    assert (active["id"], active["jobStatus"]) == (job_id, "RUNNING")
    assert await dialects.listed("pending") == [job_id]
