"""Answers that are larger than what is kept of one: the job fails, and says why."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from tests.client import ORDINARY, Client
from tests.conftest import Serve
from tests.peers import Services
from tests.stores import check_sound, rows
from tests.webapp import CHUNK, create_app

LIMIT = 4 * len(CHUNK)
LIMITED: dict[str, Any] = {
    "capture": {"response_limit": LIMIT},
    "store": {"inline_limit": len(CHUNK)},
    "executor": {"retries": 3, "retry_delay": "1ms"},
}


@pytest.fixture(params=["upstream", "in process"])
async def client(
    request: pytest.FixtureRequest, serve: Serve, services: Services, http: ClientSession
) -> Client:
    """Give a client of a server that keeps little of an answer."""
    upstream = {"upstream": await services.application(create_app())}
    target = upstream if request.param == "upstream" else ORDINARY
    return Client(http, (await serve(target=target, **LIMITED)).url)


@pytest.mark.parametrize("path", ["/stream?chunks=5&sized", "/stream?chunks=5"])
async def test_a_job_whose_answer_is_too_large_fails_at_once_and_says_so(
    client: Client, store_path: Path, path: str
) -> None:
    job_id = await client.done(path)
    job = json.loads((await client("GET", f"/_jobs/{job_id}")).body)
    assert (job["state"], job["attempt"]) == ("failed", 1)
    assert job["detail"] == (
        f"the target's response is larger than {LIMIT} bytes, the limit in [capture] response_limit"
    )
    assert rows(store_path, "SELECT job_id FROM body WHERE job_id IS NOT NULL") == []
    check_sound(store_path)


@pytest.mark.parametrize("path", ["/stream?chunks=4&sized", "/stream?chunks=4"])
async def test_an_answer_of_just_that_size_is_kept(client: Client, path: str) -> None:
    answer = await client.fetched(await client.submit(path))
    assert (answer.status, len(answer.body)) == (200, LIMIT)


async def test_an_answer_to_head_may_be_as_long_as_it_says(client: Client) -> None:
    answer = await client.fetched(await client.submit("/stream?chunks=9&sized", "HEAD"))
    assert (answer.status, answer.body) == (200, b"")


async def test_what_is_passed_through_may_be_of_any_size(client: Client) -> None:
    answer = await client("GET", "/stream?chunks=9")
    assert len(answer.body) == 9 * len(CHUNK)


async def test_the_limit_holds_for_small_answers_as_well(serve: Serve, http: ClientSession) -> None:
    client = Client(http, (await serve(target=ORDINARY, capture={"response_limit": 5})).url)
    job_id = await client.done("/cookies")
    assert b"larger than 5 bytes" in (await client("GET", f"/_jobs/{job_id}")).body
