"""What strangers are told, in the words of the dialect in which they ask."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from jobstore.model.account import Role
from tests.accounts import People, basic
from tests.client import GATED
from tests.conftest import Serve
from trials.clients import Answer

SENTENCE = "not authorized to execute this request"
ARANGO = {"error": True, "errorMessage": SENTENCE, "code": 401, "errorNum": 11}
PROBLEM = {"type": "about:blank", "title": "Unauthorized", "status": 401, "detail": SENTENCE}
DATAMEER = {"status": "failure", "reason": SENTENCE}
CHALLENGES = ['Basic realm="jobstore", charset="UTF-8"', 'Bearer realm="jobstore"']

ARANGO_TYPE = "application/json; charset=utf-8"
PROBLEM_TYPE = "application/problem+json; charset=utf-8"

STORE = {"x-arango-async": "store"}
PREFER = {"Prefer": "respond-async"}


@pytest.fixture
async def guarded(serve: Serve) -> AsyncIterator[People]:
    """Give the people of a server where somebody has an account."""
    async with AsyncExitStack() as stack:
        people = People(await serve(target=GATED), stack)
        await people.add("alice")
        yield people


def said(answer: Answer) -> tuple[int, str, Any]:
    """Give the status, the content type and the JSON of an answer."""
    return answer.status, answer.headers["Content-Type"], json.loads(answer.body)


@pytest.mark.parametrize(
    ("call", "headers", "expected"),
    [
        ("GET /_api/job/1", {}, (ARANGO_TYPE, ARANGO)),
        ("PUT /_db/_system/_admin/job/1/", {}, (ARANGO_TYPE, ARANGO)),
        ("POST /wait/it", STORE, (ARANGO_TYPE, ARANGO)),
        ("GET /_jobs", {}, (PROBLEM_TYPE, PROBLEM)),
        ("POST /wait/it", PREFER, (PROBLEM_TYPE, PROBLEM)),
        ("GET /rest/jobs/list-running", {}, ("application/json", DATAMEER)),
        ("GET /rest/jobs/list-running/", {}, ("application/json", DATAMEER)),
        ("POST /rest/job-execution?configuration=1", {}, ("application/json", DATAMEER)),
        ("GET /any/other/path", {}, (ARANGO_TYPE, PROBLEM | ARANGO)),
        ("GET /rest/data/1", {}, (ARANGO_TYPE, PROBLEM | ARANGO)),
    ],
)
async def test_a_stranger_is_told_in_the_words_of_the_call(
    guarded: People, call: str, headers: dict[str, str], expected: tuple[str, dict[str, Any]]
) -> None:
    stranger = await guarded.client()
    answer = await stranger(*call.split(), headers=headers)
    assert said(answer) == (401, *expected)
    assert answer.headers.getall("WWW-Authenticate") == CHALLENGES


@pytest.mark.parametrize("path", ["/_api/job/1", "/any/other/path"])
async def test_who_wants_no_challenge_gets_none(guarded: People, path: str) -> None:
    stranger = await guarded.client()
    answer = await stranger("GET", path, headers={"x-omit-www-authenticate": "any"})
    assert (answer.status, "WWW-Authenticate" in answer.headers) == (401, False)


async def test_a_job_of_somebody_who_has_left_is_told_in_the_same_words(guarded: People) -> None:
    carol, boss = await guarded.add("carol"), await guarded.add("boss", Role.ADMIN)
    asked = await carol.done("/_api/job/done")
    await guarded.server.store.accounts.remove("carol")
    again = json.loads((await boss("POST", f"/_jobs/{asked}/retry")).body)["id"]
    assert said(await boss.fetched(again)) == (401, ARANGO_TYPE, ARANGO)


@pytest.mark.parametrize(
    ("path", "content_type", "word"),
    [
        ("/_api/job/1", ARANGO_TYPE, "errorMessage"),
        ("/_jobs", PROBLEM_TYPE, "detail"),
        ("/rest/jobs/list-running", "application/json", "reason"),
        ("/any/other/path", PROBLEM_TYPE, "detail"),
    ],
)
async def test_that_accounts_cannot_be_read_is_told_in_the_words_of_the_call(
    guarded: People, store_path: Path, path: str, content_type: str, word: str
) -> None:
    stranger = await guarded.client()
    with closing(sqlite3.connect(store_path, isolation_level=None)) as connection:
        connection.execute("ALTER TABLE token RENAME TO lost")
        connection.execute("UPDATE revision SET number = number + 1 WHERE of = 'accounts'")
        while (answer := await stranger("GET", path)).status == 401:
            pass
        connection.execute("ALTER TABLE lost RENAME TO token")
    status, found, document = said(answer)
    assert (status, found, answer.headers["Retry-After"]) == (503, content_type, "1")
    assert document[word] == "the accounts cannot be read at the moment; try again"


async def test_that_too_many_log_in_is_told_in_the_words_of_the_call(guarded: People) -> None:
    guesses = [await guarded.client(basic("alice", f"guess {n}")) for n in range(60)]
    asked = [asyncio.create_task(guess("GET", "/_api/job/1")) for guess in guesses]
    others = set(asked)
    put_off: list[Answer] = []
    while not put_off:
        done, others = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        put_off = [task.result() for task in done if task.result().status != 401]
    status, found, document = said(put_off[0])
    assert (status, found, document["errorNum"]) == (429, ARANGO_TYPE, 429)
    assert put_off[0].headers["Retry-After"] == "1"
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
