"""A service upstream reports on the job it works for, over HTTP."""

import json
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.model.account import Role
from tests.accounts import People
from tests.client import GATED, Client
from tests.conftest import Serve
from tests.stores import reading


@pytest.fixture
async def client(serve: Serve, http: ClientSession) -> Client:
    """Give a client of a server whose jobs run until they are told to end."""
    return Client(http, (await serve(target=GATED)).url)


async def report(client: Client, job_id: int, said: Any, attempt: str = "1") -> tuple[int, Any]:
    """Send a report, and give the answer's status and what it says."""
    headers = {"Jobstore-Attempt": attempt}
    body = said if isinstance(said, str) else json.dumps(said)
    answer = await client("POST", f"/_jobs/{job_id}/report", data=body, headers=headers)
    return answer.status, json.loads(answer.body)


async def begun(client: Client) -> int:
    """Submit a job, and wait until it runs."""
    job_id = await client.submit("/wait/it")
    while b"it" not in (await client("GET", "/started")).body:
        pass
    return job_id


async def test_progress_counters_and_warnings_stand_in_the_history(
    client: Client, store_path: Path
) -> None:
    job_id = await begun(client)
    assert await report(client, job_id, {"progress": 40, "counters": {"A": 1, "B": 2}}) == (
        200,
        {"cancelled": False},
    )
    await report(client, job_id, {"counters": {"B": 3}, "warnings": ["one was late"]})
    async with reading(store_path) as history:
        job = await history.job(job_id)
        timeline = await history.timeline(job_id)
    assert (job.progress, job.counters, job.warnings) == (40, {"A": 1, "B": 3}, 1)
    assert ("warned", "one was late") in [(moment.event, moment.detail) for moment in timeline]


async def test_an_attempt_that_does_not_run_has_nothing_to_report(client: Client) -> None:
    job_id = await begun(client)
    for other, attempt in ((job_id, "2"), (job_id + 1, "1"), (10**17, "1")):
        status, problem = await report(client, other, {"progress": 1}, attempt)
        assert (status, problem["status"]) == (404, 404)


@pytest.mark.parametrize(
    "said", ["", "{", "[]", '{"progress": 101}', '{"progress": "half"}', '{"percent": 1}']
)
@pytest.mark.file
async def test_what_is_no_report_is_told_what_was_expected(client: Client, said: str) -> None:
    status, problem = await report(client, await begun(client), said)
    assert status == 400
    assert "expected a JSON object such as" in problem["detail"]


async def test_a_report_without_its_attempt_is_told_so(client: Client) -> None:
    status, problem = await report(client, await begun(client), {"progress": 1}, attempt="")
    assert status == 400
    assert "Jobstore-Attempt" in problem["detail"]


async def test_nobody_reports_on_the_job_of_somebody_else(serve: Serve) -> None:
    async with AsyncExitStack() as stack:
        people = People(await serve(target=GATED), stack)
        alice, bob = await people.with_token("alice"), await people.with_token("bob")
        job_id = await begun(alice)
        assert (await report(bob, job_id, {"progress": 1}))[0] == 404
        assert (await report(alice, job_id, {"progress": 1}))[0] == 200
        assert (await report(await people.with_token("root", Role.ADMIN), job_id, {}))[0] == 200
        assert (await report(await people.with_token("eve", Role.READER), job_id, {}))[0] == 403
