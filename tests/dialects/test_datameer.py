"""Datameer's calls about jobs over the wire, and what the documentation prints of their answers."""

import json
import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession
from yarl import URL

from jobstore.dialects.datameer import CLAIMS
from jobstore.model.clock import SECOND
from jobstore.server import Server
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.dialects.test_definitions import ABSENT, bearer, defined, value, with_accounts
from tests.stores import rows
from trials.clients import Answer

BERLIN = {"time_zone": "Europe/Berlin"}
NO_FILE = {
    "status": "failure",
    "reason": "File doesn't exist or isn't accessible with current permissions",
}
UNFINISHED = {"QUEUED", "RUNNING", "WAITING_FOR_OTHER_JOB"}
# Of these, nothing can be the id of anything.
NO_IDS = ["0", "7777", "-1", "1.0", "x", "9" * 30, "9" * 5000, "%20", "%C3%A9", "%FF", "%00", "%0A"]

STATUS = "/rest/job-configuration/job-status"
HISTORY = "/rest/job-configuration/job-history"
DETAILS = "/rest/job-execution/job-details"
KILL = "/rest/job-execution/job-kill"
RUN = "/rest/job-execution"
SEQUENTIAL = "/rest/job-execution/sequential"
ACTIVE = "/rest/jobs/list-running"


@pytest.fixture
async def demo(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve(datameer=BERLIN)).url)


@pytest.fixture
async def server(serve: Serve) -> Server:
    """Give a server that does one piece of work at a time, each behind a gate."""
    return await serve(target=GATED, executor={"concurrency": 1}, datameer=BERLIN)


@pytest.fixture
async def gated(server: Server, http: ClientSession) -> Client:
    """Give a client of that server."""
    return Client(http, server.url)


def said(answer: Answer, status: int = 200) -> Any:
    """Give the JSON of an answer, whose content type has no parameters."""
    assert answer.status == status, answer
    assert answer.headers["Content-Type"] == "application/json"
    return json.loads(answer.body)


def failure(answer: Answer, status: int) -> str:
    """Give the reason of a failure object, which has no other members."""
    written = said(answer, status)
    assert written == {"status": "failure", "reason": written["reason"]}
    return str(written["reason"])


async def triggered(client: Client, definition: dict[str, Any]) -> int:
    """Run a definition, and return the id of the execution."""
    answer = await client("POST", f"{RUN}?configuration={definition['id']}")
    execution: int = said(answer)["job-execution-id"]
    return execution


async def begun(client: Client, name: str = "it", **members: Any) -> tuple[dict[str, Any], int]:
    """Define work behind a gate, run it, and return both when it has begun."""
    definition = await defined(client, target=f"/wait/{name}", path=f"/{name}", **members)
    execution = await triggered(client, definition)
    await client.when(name, "started")
    return definition, execution


async def ran(client: Client, target: str, **members: Any) -> tuple[dict[str, Any], int]:
    """Define some work, run it, and return both when it has ended."""
    definition = await defined(client, target=target, **members)
    return definition, await run_again(client, definition)


async def run_again(client: Client, definition: dict[str, Any]) -> int:
    """Run a definition, and return the id of the execution when it has ended."""
    execution = await triggered(client, definition)
    await ended(client, execution)
    return execution


async def ended(client: Client, execution: int) -> None:
    """Wait until an execution has ended."""
    await client.ended(execution)
    assert (await details(client, execution))["jobStatus"] not in UNFINISHED


async def status(client: Client, definition: dict[str, Any]) -> Any:
    """Ask for the status of a configuration."""
    return said(await client("GET", f"{STATUS}/{definition['id']}"))


async def status_v2(client: Client, definition: dict[str, Any]) -> Any:
    """Ask for the status of a file, by its id."""
    return said(await client("GET", f"/api/job-execution/{definition['file_id']}/status"))


async def details(client: Client, execution: int) -> Any:
    """Ask for the details of an execution."""
    return said(await client("GET", f"{DETAILS}/{execution}"))


async def report(client: Client, execution: int, **report: Any) -> None:
    """Report on an execution as its handler may."""
    answer = await client(
        "POST",
        f"/_jobs/{execution}/report",
        json=report,
        headers={"Jobstore-Attempt": "1"},
    )
    assert answer.status == 200


# --- status -------------------------------------------------------------------------------------


async def test_what_was_never_run_has_no_status(demo: Client) -> None:
    definition = await defined(demo)
    assert await status(demo, definition) == {}
    assert await status_v2(demo, definition) == {"status": "success", "job-status": "_NONE"}


def in_berlin(moment: int) -> str:
    at = datetime.fromtimestamp(moment / SECOND, ZoneInfo("Europe/Berlin"))
    return f"{at:%b %-d, %Y %-I:%M:%S %p}"


async def test_a_running_job_is_told_as_running(server: Server, gated: Client) -> None:
    definition, execution = await begun(gated)
    assert await status(gated, definition) == {"id": execution, "jobStatus": "RUNNING"}
    started = (await server.store.results.peek(execution)).started_at
    assert started is not None
    assert await status_v2(gated, definition) == {
        "status": "success",
        "file-id": definition["file_id"],
        "job-execution-id": execution,
        "job-status": "RUNNING",
        "start-time": in_berlin(started),
        "estimate-time": "0s",
        "job-progress": "0",
    }


async def test_a_running_job_has_a_progress_and_by_it_an_estimate(gated: Client) -> None:
    definition, execution = await begun(gated)
    await report(gated, execution, progress=100)
    told = await status_v2(gated, definition)
    assert (told["job-progress"], told["estimate-time"]) == ("100", "0s")
    await report(gated, execution, progress=33.9)
    told = await status_v2(gated, definition)
    assert (told["job-progress"], bool(re.fullmatch("[0-9]+s", told["estimate-time"]))) == (
        "33",
        True,
    )


async def test_what_ran_before_gives_an_estimate(gated: Client) -> None:
    await gated.let("first")
    definition, _ = await ran(gated, "/wait/first", path="/it")
    await gated("PATCH", f"/_jobs/definitions/{definition['id']}", json={"target": "/wait/it"})
    await triggered(gated, definition)
    await gated.when("it", "started")
    estimate = (await status_v2(gated, definition))["estimate-time"]
    assert re.fullmatch("[0-9]+s", estimate)


@pytest.mark.parametrize(
    ("query", "v1", "v2"),
    [
        ("records=7", "COMPLETED", "COMPLETED"),
        ("warnings=2", "COMPLETED_WITH_Warnings", "COMPLETED_WITH_WARNINGS"),
        ("fail=true", "ERROR", "ERROR"),
        ("fail=true&warnings=2", "ERROR", "ERROR"),
    ],
)
async def test_an_ended_job_is_told_as_it_ended(
    demo: Client, store_path: Any, query: str, v1: str, v2: str
) -> None:
    definition, execution = await ran(demo, f"/import?{query}")
    assert await status(demo, definition) == {"id": execution, "jobStatus": v1}
    times = rows(store_path, "SELECT started_at, finished_at FROM job")[0]
    assert await status_v2(demo, definition) == {
        "status": "success",
        "file-id": definition["file_id"],
        "job-execution-id": execution,
        "job-status": v2,
        "start-time": in_berlin(times[0]),
        "stop-time": in_berlin(times[1]),
    }


async def test_a_job_without_an_answer_is_an_error(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=GATED)).url)
    definition, execution = await ran(client, "/wait/it", timeout="10ms")
    assert (await status(client, definition))["jobStatus"] == "ERROR"
    told = await details(client, execution)
    assert told["errorMessage"] == "the target did not answer within 0.01 s"


async def test_a_queued_job_has_no_times(gated: Client) -> None:
    await begun(gated)
    definition = await defined(gated, target="/wait/next")
    execution = await triggered(gated, definition)
    assert await status(gated, definition) == {"id": execution, "jobStatus": "QUEUED"}
    assert await status_v2(gated, definition) == {
        "status": "success",
        "file-id": definition["file_id"],
        "job-execution-id": execution,
        "job-status": "QUEUED",
        "start-time": None,
    }


async def test_a_job_that_was_stopped_before_it_ran_has_no_start(gated: Client) -> None:
    await begun(gated)
    definition = await defined(gated, target="/wait/next")
    execution = await triggered(gated, definition)
    await gated("POST", f"{KILL}/{execution}")
    assert await status(gated, definition) == {"id": execution, "jobStatus": "CANCELED"}
    told = await status_v2(gated, definition)
    assert [*told] == [
        *("status", "file-id", "job-execution-id", "job-status", "start-time", "stop-time")
    ]
    assert (told["job-status"], told["start-time"]) == ("CANCELED", None)
    assert told["stop-time"] is not None


async def test_a_job_that_was_stopped_while_it_ran_has_a_start_and_a_stop(gated: Client) -> None:
    definition, execution = await begun(gated)
    await gated("POST", f"{KILL}/{execution}")
    await ended(gated, execution)
    told = await status_v2(gated, definition)
    assert (told["job-status"], None in told.values()) == ("CANCELED", False)
    assert (await details(gated, execution))["errorMessage"] == "cancelled while it ran"


async def test_the_status_is_that_of_the_latest_run(demo: Client) -> None:
    definition, first = await ran(demo, "/import?fail=true")
    await demo("PATCH", f"/_jobs/definitions/{definition['id']}", json={"target": "/import"})
    second = await run_again(demo, definition)
    assert second > first
    assert await status(demo, definition) == {"id": second, "jobStatus": "COMPLETED"}
    assert (await status_v2(demo, definition))["job-execution-id"] == second


@pytest.mark.parametrize("text", NO_IDS)
async def test_what_is_no_configuration_is_a_failure(demo: Client, text: str) -> None:
    await defined(demo)
    for method, path in [
        ("GET", STATUS),
        ("GET", HISTORY),
        ("DELETE", "/rest/workbook"),
        ("DELETE", "/rest/import-job"),
        ("DELETE", "/rest/export-job"),
    ]:
        answer = await encoded(demo, method, f"{path}/{text}")
        assert failure(answer, 404).startswith("no job configuration ")


async def encoded(client: Client, method: str, path: str) -> Answer:
    """Call with a path that is quoted already, and must stay as it is."""
    async with client.http.request(method, URL(client.url + path, encoded=True)) as response:
        return Answer(response.status, response.headers, await response.read())


# --- how a file is referred to ------------------------------------------------------------------

PATHS = [
    "/Analytics/Workbooks/x.wbk",
    "/x",
    "/a/status",
    "/status/status",
    "/Übung/ä ö/☂.wbk",
    "/100%/50%2F",
    "/a+b?c#d&e=f",
    "/.hidden/..x",
]


@pytest.mark.parametrize("path", PATHS)
async def test_a_file_is_found_by_its_path_however_its_slashes_are_written(
    demo: Client, path: str
) -> None:
    definition, execution = await ran(demo, "/import", path=path)
    plain = "/".join(URL.build(path="/" + part).raw_path[1:] for part in path[1:].split("/"))
    plain = plain.replace("?", "%3F").replace("#", "%23")
    for quoted in (
        plain,
        f"/{plain}",
        plain.replace("/", "%2F"),
        "%2F" + plain.replace("/", "%2f"),
    ):
        told = said(await encoded(demo, "GET", f"/api/job-execution/{quoted}/status"))
        assert (told["file-id"], told["job-execution-id"]) == (definition["file_id"], execution)


async def test_a_file_is_found_by_its_uuid_in_any_case(demo: Client) -> None:
    definition = await defined(demo)
    for uuid in (definition["uuid"], definition["uuid"].upper()):
        assert said(await demo("GET", f"/api/job-execution/{uuid}/status"))["status"] == "success"


async def test_digits_are_a_file_id_and_neither_a_configuration_nor_a_path(demo: Client) -> None:
    definition = await defined(demo, path="/12")
    for reference, status in [
        (definition["file_id"], 200),
        (f"0{definition['file_id']}", 404),
        (definition["id"], 404),
        ("12", 404),
        ("/12", 200),
    ]:
        assert (await demo("GET", f"/api/job-execution/{reference}/status")).status == status


@pytest.mark.parametrize(
    "reference",
    [
        *(*NO_IDS, ABSENT, "x" * 5000, "//", "%2F", "Imports", "imports/daily", "a/%2E%2E/b"),
        *("Imports/daily/", "Imports//daily", "Imports%5Cdaily"),
        *("Imports/daily%00", "Imports/daily%0A"),
    ],
)
@pytest.mark.file
async def test_what_is_no_file_is_a_failure(demo: Client, reference: str) -> None:
    await defined(demo)
    answer = await encoded(demo, "GET", f"/api/job-execution/{reference}/status")
    assert said(answer, 404) == NO_FILE


async def test_a_query_does_not_make_a_file_of_another_path(demo: Client) -> None:
    await defined(demo)
    answer = await encoded(demo, "GET", "/api/job-execution/x?y=/status")
    assert json.loads(answer.body)["errorMessage"] == "unknown path '/api/job-execution/x'"


# --- history ------------------------------------------------------------------------------------


async def test_the_history_lists_the_runs_the_newest_first(demo: Client) -> None:
    definition, first = await ran(demo, "/import?fail=true")
    await demo(
        "PATCH", f"/_jobs/definitions/{definition['id']}", json={"target": "/import?warnings=1"}
    )
    second = await run_again(demo, definition)
    assert said(await demo("GET", f"{HISTORY}/{definition['id']}")) == [
        {"id": second, "jobStatus": "COMPLETED_WITH_Warnings"},
        {"id": first, "jobStatus": "ERROR"},
    ]


async def test_what_was_never_run_has_an_empty_history(demo: Client) -> None:
    definition = await defined(demo)
    assert said(await demo("GET", f"{HISTORY}/{definition['id']}")) == []


async def test_a_part_of_the_history_can_be_asked_for(demo: Client) -> None:
    definition, first = await ran(demo, "/import")
    ids = [first, *[await run_again(demo, definition) for _ in range(11)]][::-1]
    for query, part in [
        ("", ids[:10]),
        ("?start=0&length=10", ids[:10]),
        ("?start=10", ids[10:]),
        ("?start=1&length=2", ids[1:3]),
        ("?length=1000", ids),
        ("?length=999999999999999999", ids),
        ("?length=0", []),
        ("?start=999999999999999999", []),
        ("?start=11&length=10&unknown=x", ids[11:]),
    ]:
        listed = said(await demo("GET", f"{HISTORY}/{definition['id']}{query}"))
        assert [run["id"] for run in listed] == part


@pytest.mark.parametrize("name", ["start", "length"])
@pytest.mark.parametrize("text", ["x", "-1", "1.5", "", "%20", "1e3", "9" * 30, "%D9%A3"])
@pytest.mark.file
async def test_a_part_of_the_history_that_cannot_be_read_is_a_failure(
    demo: Client, name: str, text: str
) -> None:
    definition = await defined(demo)
    answer = await encoded(demo, "GET", f"{HISTORY}/{definition['id']}?{name}={text}")
    assert failure(answer, 400) == f"{name}: expected a whole number"


@pytest.mark.parametrize("name", ["start", "length"])
@pytest.mark.file
async def test_a_part_of_the_history_that_is_said_twice_is_a_failure(
    demo: Client, name: str
) -> None:
    definition = await defined(demo)
    answer = await demo("GET", f"{HISTORY}/{definition['id']}?{name}=1&{name}=2")
    assert failure(answer, 400) == f"{name}: expected one value"


# --- details ------------------------------------------------------------------------------------


async def test_the_details_tell_all_about_a_run(demo: Client, store_path: Any) -> None:
    headers = {"Authorization": "Basic YW5hbHlzdDp4"}
    definition = await defined(demo, target="/import?records=100&warnings=3", name="Täglich")
    answer = await demo("POST", f"{RUN}?configuration={definition['id']}", headers=headers)
    execution = said(answer)["job-execution-id"]
    await ended(demo, execution)
    told = await details(demo, execution)
    times = [told.pop("startTime"), told.pop("stopTime")]
    assert told == {
        "id": execution,
        "configurationId": definition["id"],
        "name": "Täglich",
        "owner": "analyst",
        "trigger": "RESTAPI",
        "jobStatus": "COMPLETED_WITH_Warnings",
        "progress": 100,
        "counters": {"IMPORT_RECORDS": 100, "IMPORT_BYTES": 4800, "IMPORT_DROPPED_RECORDS": 3},
        "successCount": 100,
        "failureCount": 3,
        "warnings": 3,
        "errorMessage": None,
    }
    berlin = ZoneInfo("Europe/Berlin")
    moments = [
        datetime.strptime(f"{time}00000", "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=berlin)
        for time in times
    ]
    kept = rows(store_path, "SELECT started_at, finished_at FROM job")[0]
    assert [int(moment.timestamp() * 10) for moment in moments] == [at // 100_000 for at in kept]


async def test_the_counts_are_those_of_exports_as_well(gated: Client) -> None:
    _, execution = await begun(gated)
    await report(gated, execution, counters={"EXPORT_RECORDS": 8, "EXPORT_DROPPED_RECORDS": 2})
    told = await details(gated, execution)
    assert (told["successCount"], told["failureCount"]) == (8, 2)
    assert told["counters"] == {"EXPORT_RECORDS": 8, "EXPORT_DROPPED_RECORDS": 2}


async def test_a_running_job_has_no_stop_yet(gated: Client) -> None:
    _, execution = await begun(gated)
    await report(gated, execution, progress=40.7, warnings=["late"])
    told = await details(gated, execution)
    assert (told["jobStatus"], told["progress"], told["warnings"]) == ("RUNNING", 40, 1)
    assert (told["stopTime"], told["startTime"] is None, told["counters"]) == (None, False, {})
    assert (told["successCount"], told["failureCount"], told["errorMessage"]) == (0, 0, None)


async def test_an_error_says_what_the_target_answered(demo: Client) -> None:
    _, execution = await ran(demo, "/import?fail=true&records=5")
    told = await details(demo, execution)
    assert (told["jobStatus"], told["errorMessage"]) == ("ERROR", "status 500")
    assert told["counters"]["IMPORT_RECORDS"] == 5


@pytest.mark.parametrize("text", NO_IDS)
@pytest.mark.file
async def test_what_is_no_execution_is_a_failure(demo: Client, text: str) -> None:
    await ran(demo, "/import")
    for method, path in [("GET", DETAILS), ("POST", KILL), ("DELETE", "/rest/data")]:
        answer = await encoded(demo, method, f"{path}/{text}")
        assert failure(answer, 404).startswith("no job execution ")


# --- what is active -----------------------------------------------------------------------------


async def test_what_runs_and_waits_is_listed_in_order_and_nothing_else(gated: Client) -> None:
    await gated.let("over")
    await ran(gated, "/wait/over", path="/over")
    definition, running = await begun(gated, name="it")
    await report(gated, running, progress=12.5)
    sequence = f"{SEQUENTIAL}?configuration={definition['id']}&configuration={definition['id']}"
    queued, waiting = said(await gated("POST", sequence))["job-execution-ids"]
    listed = said(await gated("GET", ACTIVE))
    assert [(job["id"], job["jobStatus"], job["progress"]) for job in listed] == [
        (running, "RUNNING", 12),
        (queued, "QUEUED", None),
        (waiting, "WAITING_FOR_OTHER_JOB", None),
    ]
    first = listed[0]
    named = (definition["id"], "daily", "")
    assert (first["configurationId"], first["name"], first["owner"]) == named
    assert first["startTime"] == (await details(gated, running))["startTime"]
    assert listed[1]["startTime"] is None


async def test_without_work_nothing_is_active(demo: Client) -> None:
    await ran(demo, "/import")
    assert said(await demo("GET", ACTIVE)) == []


async def test_of_very_many_active_jobs_those_that_run_are_listed(
    serve: Serve, http: ClientSession
) -> None:
    targets = [{**GATED, "prefix": "/wait", "concurrency": 1}, {**GATED, "prefix": "/linger"}]
    server = await serve(target=targets, executor={"cancel_grace": 0.1})
    client = Client(http, server.url)
    await begun(client)
    definition = await defined(client, target="/wait/it", path="/many")
    sequence = SEQUENTIAL + "?" + "&".join([f"configuration={definition['id']}"] * 100)
    for _ in range(10):
        await client("POST", sequence)
    last = await client.submit("/linger/last")
    await client.when("last", "started")
    listed = said(await client("GET", ACTIVE))
    assert len(listed) == 1000
    assert [job["id"] for job in listed if job["jobStatus"] == "RUNNING"] == [1, last]


# --- trigger ------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [RUN, f"{RUN}/"])
async def test_a_configuration_is_triggered(demo: Client, path: str) -> None:
    definition = await defined(demo)
    headers = {"Authorization": "Basic YW5hbHlzdDp4"}
    answer = await demo("POST", f"{path}?configuration={definition['id']}", headers=headers)
    assert said(answer) == {
        "status": "success",
        "job-execution-id": said(answer)["job-execution-id"],
        "job-execution-user": "analyst",
        "job-execution-trigger": "RESTAPI",
    }
    await ended(demo, said(answer)["job-execution-id"])
    assert (await status(demo, definition))["jobStatus"] == "COMPLETED"


@pytest.mark.parametrize("path", [RUN, SEQUENTIAL])
@pytest.mark.parametrize(
    "query",
    [
        *("", "?", "?configuration", "?configuration=", "?configuration=x", "?configuration=-1"),
        *("?configuration=1.0", "?configuration=%20", "?configuration=1,2", "?Configuration=1"),
        *("?configuration=1&configuration=", "?configuration=%D9%A3"),
    ],
)
@pytest.mark.file
async def test_what_is_to_run_has_to_be_said(demo: Client, path: str, query: str) -> None:
    await defined(demo)
    answer = await encoded(demo, "POST", path + query)
    assert failure(answer, 400).startswith("configuration: expected the id of a job configuration")
    assert said(await demo("GET", ACTIVE)) == []


async def test_only_one_configuration_is_triggered_at_once(demo: Client) -> None:
    definition = await defined(demo)
    one = f"configuration={definition['id']}"
    assert failure(await demo("POST", f"{RUN}?{one}&{one}"), 400).endswith(", once")


@pytest.mark.parametrize("path", [RUN, SEQUENTIAL])
@pytest.mark.parametrize("text", ["0", "2", "01", "9" * 30, "9" * 5000])
async def test_a_configuration_that_is_not_there_cannot_be_triggered(
    demo: Client, path: str, text: str
) -> None:
    await defined(demo)
    answer = await demo("POST", f"{path}?configuration={text}")
    assert failure(answer, 404).startswith("no job configuration ")


async def test_a_run_that_the_queue_has_no_room_for_is_refused_for_now(
    serve: Serve, http: ClientSession
) -> None:
    server = await serve(target=GATED, executor={"concurrency": 1, "queue_limit": 1})
    client = Client(http, server.url)
    definition, _ = await begun(client)
    await triggered(client, definition)
    answer = await client("POST", f"{RUN}?configuration={definition['id']}")
    assert (failure(answer, 503), answer.headers["Retry-After"]) == (
        "the queue is full: 1 jobs are waiting",
        "1",
    )


async def test_a_configuration_whose_target_is_gone_cannot_be_triggered(
    serve: Serve, http: ClientSession
) -> None:
    client = Client(http, (await serve(target={**GATED, "prefix": "/wait"})).url)
    definition = await defined(client, target="/elsewhere")
    answer = await client("POST", f"{RUN}?configuration={definition['id']}")
    assert failure(answer, 404) == "no target is configured for this path"


# --- stop and delete ----------------------------------------------------------------------------


async def test_stopping_a_running_job_has_an_empty_answer(gated: Client) -> None:
    definition, execution = await begun(gated)
    answer = await gated("POST", f"{KILL}/{execution}")
    assert (answer.status, answer.body) == (200, b"")
    await gated.when("it", "cancelled")
    await ended(gated, execution)
    assert (await status(gated, definition))["jobStatus"] == "CANCELED"


async def test_stopping_what_has_ended_changes_nothing(demo: Client) -> None:
    definition, execution = await ran(demo, "/import")
    for fetch in (False, True):
        if fetch:  # nobody may ask for its result any more
            assert (await demo("PUT", f"/_api/job/{execution}")).status == 200
        answer = await demo("POST", f"{KILL}/{execution}")
        assert (answer.status, answer.body) == (200, b"")
    assert (await status(demo, definition))["jobStatus"] == "COMPLETED"


async def test_a_job_that_works_for_nobody_cannot_be_stopped(gated: Client) -> None:
    await gated("GET", "/wait/it", headers={"x-arango-async": "true"})
    await gated.when("it", "started")
    answer = await gated("POST", f"{KILL}/1")
    assert failure(answer, 409) == "job execution 1 cannot be stopped: its result was discarded"
    assert (await details(gated, 1))["jobStatus"] == "RUNNING"


@pytest.mark.parametrize("fetched", [False, True])
async def test_a_deleted_execution_is_no_longer_told_of(demo: Client, *, fetched: bool) -> None:
    definition, first = await ran(demo, "/import")
    second = await run_again(demo, definition)
    if fetched:
        await demo("PUT", f"/_api/job/{second}")
    assert said(await demo("DELETE", f"/rest/data/{second}")) == {"status": "success"}
    for method, path in [("GET", DETAILS), ("POST", KILL), ("DELETE", "/rest/data")]:
        assert failure(await demo(method, f"{path}/{second}"), 404)
    assert (await status(demo, definition))["id"] == first
    assert said(await demo("GET", f"{HISTORY}/{definition['id']}")) == [
        {"id": first, "jobStatus": "COMPLETED"}
    ]
    assert (await demo("PUT", f"/_api/job/{second}")).status == 404


async def test_what_has_not_ended_has_to_be_stopped_before_it_is_deleted(gated: Client) -> None:
    definition, running = await begun(gated)
    queued = await triggered(gated, definition)
    for execution in (queued, running):
        answer = await gated("DELETE", f"/rest/data/{execution}")
        assert failure(answer, 409).endswith("has not ended; stop it first")
        await gated("POST", f"{KILL}/{execution}")
        await ended(gated, execution)
        assert said(await gated("DELETE", f"/rest/data/{execution}")) == {"status": "success"}


@pytest.mark.parametrize("kind", ["workbook", "import-job", "export-job"])
async def test_a_deleted_configuration_is_gone_but_its_executions_are_not(
    demo: Client, kind: str
) -> None:
    definition, execution = await ran(demo, "/import")
    one = f"/rest/{kind}/{definition['id']}"
    assert said(await demo("DELETE", one)) == {"status": "success"}
    for method, path in [
        ("DELETE", one),
        ("GET", f"{STATUS}/{definition['id']}"),
        ("GET", f"{HISTORY}/{definition['id']}"),
        ("POST", f"{RUN}?configuration={definition['id']}"),
        ("GET", f"/api/job-execution/{definition['file_id']}/status"),
    ]:
        assert failure(await demo(method, path), 404)
    told = await details(demo, execution)
    assert (told["name"], told["configurationId"]) == ("daily", definition["id"])


# --- one job, several vocabularies --------------------------------------------------------------


async def test_a_run_is_pending_and_then_done_for_arango(gated: Client) -> None:
    _, execution = await begun(gated)
    assert (await gated("GET", f"/_api/job/{execution}")).status == 204
    assert value(await gated("GET", "/_api/job/pending")) == [str(execution)]
    await gated.let("it")
    answer = await gated.fetched(execution)
    assert (answer.status, answer.body) == (200, b"it is done")


async def test_a_run_whose_result_was_read_stays_in_the_history(demo: Client) -> None:
    definition, execution = await ran(demo, "/import?warnings=1")
    assert (await demo("PUT", f"/_api/job/{execution}")).status == 200
    assert (await demo("GET", f"/_api/job/{execution}")).status == 404
    assert await status(demo, definition) == {
        "id": execution,
        "jobStatus": "COMPLETED_WITH_Warnings",
    }


async def test_an_error_is_done_for_arango_and_shows_when_it_is_fetched(demo: Client) -> None:
    _, execution = await ran(demo, "/import?fail=true")
    assert (await demo("GET", f"/_api/job/{execution}")).status == 200
    assert (await demo("PUT", f"/_api/job/{execution}")).status == 500


async def test_a_run_cancelled_by_arango_is_canceled(gated: Client) -> None:
    definition, execution = await begun(gated)
    await gated("PUT", f"/_api/job/{execution}/cancel")
    await ended(gated, execution)
    assert (await status(gated, definition))["jobStatus"] == "CANCELED"
    assert (await gated("PUT", f"/_api/job/{execution}")).status == 410


async def test_a_job_of_arango_is_seen_as_an_execution_of_nothing(gated: Client) -> None:
    job_id = await gated.submit("/wait/it", headers={"Authorization": "Basic cm9vdDo="})
    await gated.when("it", "started")
    (listed,) = said(await gated("GET", ACTIVE))
    told = await details(gated, job_id)
    for seen in (listed, told):
        assert (seen["id"], seen["jobStatus"], seen["owner"]) == (job_id, "RUNNING", "root")
        assert (seen["configurationId"], seen["name"]) == (None, None)
    assert told["trigger"] is None
    assert (await gated("POST", f"{KILL}/{job_id}")).status == 200
    assert (await gated.fetched(job_id)).status == 410
    assert (await details(gated, job_id))["jobStatus"] == "CANCELED"


async def test_a_result_deleted_by_arango_is_no_execution_any_more(demo: Client) -> None:
    definition, execution = await ran(demo, "/import")
    await demo("DELETE", f"/_api/job/{execution}")
    assert failure(await demo("GET", f"{DETAILS}/{execution}"), 404)
    assert await status(demo, definition) == {}


async def test_a_run_started_in_our_own_words_is_an_execution_like_any(demo: Client) -> None:
    definition = await defined(demo)
    started = value(await demo("POST", f"/_jobs/definitions/{definition['id']}/run"), 202)
    await ended(demo, started["id"])
    assert await status(demo, definition) == {"id": started["id"], "jobStatus": "COMPLETED"}


# --- how it is asked ----------------------------------------------------------------------------

CALLS = {
    f"{STATUS}/1": "GET",
    f"{HISTORY}/1": "GET",
    f"{DETAILS}/1": "GET",
    ACTIVE: "GET",
    "/api/job-execution/1/status": "GET",
    "/api/job-execution/a/b%2Fc/status": "GET",
    RUN: "POST",
    f"{RUN}/": "POST",
    SEQUENTIAL: "POST",
    f"{KILL}/99": "POST",
    "/rest/data/1": "DELETE",
    "/rest/workbook/1": "DELETE",
    "/rest/import-job/1": "DELETE",
    "/rest/export-job/1": "DELETE",
}
OTHERS = [
    "/rest",
    "/rest/workbook",
    "/rest/workbook/",
    "/rest/workbook/1/2",
    "/rest/data/1/2",
    STATUS,
    f"{STATUS}/",
    f"{STATUS}/1/2",
    DETAILS,
    f"{RUN}/other",
    f"{RUN}s",
    f"{SEQUENTIAL}/1",
    f"{ACTIVE}/1",
    "/rest/jobs",
    "/api/job-execution/1",
    "/api/job-execution/status",
    "/api/job-execution/1/status/2",
    "/x/rest/workbook/1",
]


def claimed(method: str, path: str) -> bool:
    """Tell whether a call is Datameer's."""
    return any(claim.covers(method, path) for claim in CLAIMS)


@pytest.mark.parametrize(("path", "method"), CALLS.items())
@pytest.mark.file
async def test_a_call_with_another_method_is_the_targets(
    demo: Client, path: str, method: str
) -> None:
    for other in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - {method}:
        assert not claimed(other, path)
        answer = await demo(other, path)
        assert json.loads(answer.body)["errorMessage"].startswith("unknown path")


@pytest.mark.parametrize(("path", "method"), CALLS.items())
@pytest.mark.file
async def test_a_job_may_ask_what_anybody_may(demo: Client, path: str, method: str) -> None:
    assert claimed(method, path)
    assert claimed(method, f"{path}?a=b")
    answer = await demo.fetched(await demo.submit(path, method))
    assert answer.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize(("path", "method"), CALLS.items())
@pytest.mark.file
async def test_a_slash_at_the_end_makes_no_difference(demo: Client, path: str, method: str) -> None:
    answers = [await demo(method, each) for each in (path, f"{path.rstrip('/')}/", f"{path}?a")]
    assert len({(answer.status, answer.body) for answer in answers}) == 1
    assert answers[0].headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("path", OTHERS)
@pytest.mark.file
async def test_what_only_looks_like_a_call_is_the_targets(demo: Client, path: str) -> None:
    assert not any(claimed(method, path) for method in ("GET", "POST", "DELETE"))
    answer = await demo("GET", path)
    assert json.loads(answer.body)["errorMessage"] == f"unknown path '{path}'"


@pytest.mark.parametrize("path", [path for path, method in CALLS.items() if method == "GET"])
@pytest.mark.file
async def test_a_head_request_is_answered_like_a_get(demo: Client, path: str) -> None:
    await ran(demo, "/import")
    head, whole = await demo("HEAD", path), await demo("GET", path)
    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))
    assert head.headers["Content-Type"] == "application/json"


@pytest.mark.file
async def test_a_body_that_no_call_asks_for_is_passed_over(demo: Client) -> None:
    definition, execution = await ran(demo, "/import")
    for method, path in [
        ("GET", f"{STATUS}/{definition['id']}"),
        ("GET", f"{DETAILS}/{execution}"),
        ("POST", f"{RUN}?configuration={definition['id']}"),
        ("DELETE", f"/rest/data/{execution}"),
    ]:
        assert said(await demo(method, path, data=b"configuration=99" * 10_000))


async def test_the_dialect_can_be_left_out(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(server={"port": 0, "dialects": []})).url)
    for path in CALLS:
        answer = await client("GET", path)
        assert json.loads(answer.body)["errorMessage"].startswith("unknown path")


# --- whose they are -----------------------------------------------------------------------------


async def test_users_see_and_do_what_is_theirs_and_readers_do_nothing(
    serve: Serve, http: ClientSession, store_path: Any
) -> None:
    await with_accounts(store_path)
    client = Client(http, (await serve(target=GATED)).url)
    draft = {"name": "a", "path": "/a", "target": "/wait/it"}
    answer = await client("POST", "/_jobs/definitions", json=draft, headers=bearer("alice"))
    definition = value(answer, 201)
    trigger = f"{RUN}?configuration={definition['id']}"
    execution = said(await client("POST", trigger, headers=bearer("alice")))["job-execution-id"]

    seeing = [
        ("GET", f"{STATUS}/{definition['id']}"),
        ("GET", f"{HISTORY}/{definition['id']}"),
        ("GET", f"/api/job-execution/{definition['file_id']}/status"),
        ("GET", f"{DETAILS}/{execution}"),
    ]
    doing = [
        ("POST", trigger),
        ("POST", f"{SEQUENTIAL}?configuration={definition['id']}"),
        ("POST", f"{KILL}/{execution}"),
        ("DELETE", f"/rest/data/{execution}"),
        ("DELETE", f"/rest/workbook/{definition['id']}"),
    ]
    for name, seen, done in [("bob", 404, 404), ("reader", 200, 403)]:
        for calls, expected in ((seeing, seen), (doing, done)):
            answers = [await client(*call, headers=bearer(name)) for call in calls]
            assert [answer.status for answer in answers] == [expected] * len(calls)
    for name, ids in [("alice", [execution]), ("bob", []), ("boss", [execution])]:
        listed = said(await client("GET", ACTIVE, headers=bearer(name)))
        assert [job["id"] for job in listed] == ids
    assert (await client("POST", f"{KILL}/{execution}", headers=bearer("boss"))).status == 200
