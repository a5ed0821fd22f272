"""How Datameer's answers are laid out: a member a line, since scripts cut them with egrep."""

import gc
import json
import subprocess

import pytest
from aiohttp import ClientSession

from jobstore.dialects.datameer.layout import laid_out
from jobstore.model.job import Trigger
from tests.client import Client
from tests.conftest import Serve
from tests.dialects.test_datameer import ACTIVE, DETAILS, HISTORY, RUN, STATUS, begun, ran, report
from tests.dialects.test_definitions import defined

DOCUMENTED = ["counters", "failureCount", "jobStatus", "startTime", "stopTime", "successCount"]


@pytest.fixture
async def demo(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server that has the demo behind it."""
    return Client(http, (await serve()).url)


async def lines(client: Client, method: str, path: str) -> list[str]:
    """Send a request, and give the lines of its answer."""
    return (await client(method, path)).body.decode().split("\n")


def egrep(pattern: str, text: str) -> list[str]:
    """Cut a text as a script would: give the parts of its lines that a pattern matches."""
    command = ["grep", "-E", "-o", pattern]
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    return found.stdout.splitlines()


async def test_a_status_is_printed_as_in_the_documentation(demo: Client) -> None:
    definition, execution = await ran(demo, "/import")
    assert await lines(demo, "GET", f"{STATUS}/{definition['id']}") == [
        "{",
        f'  "id": {execution},',
        '  "jobStatus": "COMPLETED"',
        "}",
    ]


async def test_what_has_never_run_is_two_braces(demo: Client) -> None:
    definition = await defined(demo)
    assert await lines(demo, "GET", f"{STATUS}/{definition['id']}") == ["{}"]


async def test_each_element_of_a_history_has_lines_of_its_own(demo: Client) -> None:
    definition, execution = await ran(demo, "/import")
    assert await lines(demo, "GET", f"{HISTORY}/{definition['id']}") == [
        "[",
        "  {",
        f'    "id": {execution},',
        '    "jobStatus": "COMPLETED"',
        "  }",
        "]",
    ]


async def test_details_begin_with_what_is_documented_in_that_order(demo: Client) -> None:
    _, execution = await ran(demo, "/import?records=7")
    told = await lines(demo, "GET", f"{DETAILS}/{execution}")
    members = [line.split('"')[1] for line in told if line.startswith('  "')]
    assert members[:6] == DOCUMENTED
    assert told[1:3] == ['  "counters": {', '    "IMPORT_RECORDS": 7,']


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ('"jobStatus": (.*)', ['"jobStatus": "COMPLETED",']),
        ('"IMPORT_RECORDS": [0-9]+', ['"IMPORT_RECORDS": 7']),
        ('"failureCount": (.*)', ['"failureCount": 0,']),
    ],
)
async def test_a_script_finds_a_member_by_its_line(
    demo: Client, pattern: str, found: list[str]
) -> None:
    _, execution = await ran(demo, "/import?records=7")
    answer = await demo("GET", f"{DETAILS}/{execution}")
    assert egrep(pattern, answer.body.decode()) == found


async def test_answers_to_what_is_done_and_failures_are_laid_out_alike(demo: Client) -> None:
    definition = await defined(demo)
    started = await lines(demo, "POST", f"{RUN}?configuration={definition['id']}")
    assert started[:2] == ["{", '  "status": "success",']
    assert await lines(demo, "POST", f"{RUN}?configuration=99") == [
        "{",
        '  "status": "failure",',
        '  "reason": "no job configuration 99"',
        "}",
    ]
    assert await lines(demo, "GET", "/api/job-execution/99/status") == [
        "{",
        '  "status": "failure",',
        '  "reason": "File doesn\'t exist or isn\'t accessible with current permissions"',
        "}",
    ]


async def test_an_active_job_has_a_member_a_line(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target={"app": "tests.gates:create_app"})).url)
    _, execution = await begun(client)
    told = await lines(client, "GET", ACTIVE)
    assert told[:4] == ["[", "  {", f'    "id": {execution},', '    "jobStatus": "RUNNING",']


async def test_next_to_no_progress_is_no_reason_to_fail(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target={"app": "tests.gates:create_app"})).url)
    definition, execution = await begun(client)
    await report(client, execution, progress=5e-324)
    path = f"/api/job-execution/{definition['file_id']}/status"
    assert '  "estimate-time": "3153600000s",' in await lines(client, "GET", path)


VALUES: list[object] = [
    {},
    [],
    'a "quoted" ü\n',
    None,
    [{}, []],
    {"counters": {"RECORDS": 7}, "warnings": 0, "trigger": Trigger.RESTAPI, "name": None},
    [{"id": 1, "progress": 0.5, "ids": [1, 2]}, {"id": 2, "done": True, "ids": []}],
]


@pytest.mark.parametrize("value", VALUES)
def test_a_value_is_laid_out_as_pythons_own_encoder_does_with_an_indent(value: object) -> None:
    assert laid_out(value) == json.dumps(value, indent=2)


def test_laying_out_a_value_leaves_nothing_to_the_garbage_collector() -> None:
    gc.collect()
    gc.disable()
    try:
        laid_out(VALUES)
        assert gc.collect() == 0
    finally:
        gc.enable()
