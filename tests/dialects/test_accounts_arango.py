"""python-arango and curl, as they come, with the accounts of two people."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import pytest
from arango.client import ArangoClient
from arango.database import StandardDatabase
from arango.exceptions import (
    AsyncExecuteError,
    AsyncJobCancelError,
    AsyncJobClearError,
    AsyncJobListError,
    AsyncJobResultError,
    AsyncJobStatusError,
    ServerVersionError,
)
from arango.job import AsyncJob

from jobstore.model.account import Role
from tests.accounts import PASSWORD, People
from tests.conftest import Serve
from tests.dialects.test_python_arango import ENDLESS, ended, submitted

NOT_AUTHORIZED = (401, 11)


@contextmanager
def connected(url: str, name: str, password: str = PASSWORD) -> Iterator[StandardDatabase]:
    """Connect a client that gives a name and a password."""
    with closing(ArangoClient(hosts=url)) as client:
        yield client.db("_system", username=name, password=password)


@dataclass(frozen=True, slots=True)
class Users:
    """Clients of people in each role, and where their server is."""

    url: str
    alice: StandardDatabase
    bob: StandardDatabase
    admin: StandardDatabase
    reader: StandardDatabase


@pytest.fixture
async def users(serve: Serve) -> AsyncIterator[Users]:
    """Give clients of two users, an admin and a reader, at a server with the demo behind it."""
    server = await serve()
    async with AsyncExitStack() as stack:
        people = People(server, stack)
        for name, role in (("admin", Role.ADMIN), ("reader", Role.READER)):
            await people.add(name, role)
        for name in ("alice", "bob"):
            await people.add(name)
        names = ("alice", "bob", "admin", "reader")
        clients = {name: stack.enter_context(connected(server.url, name)) for name in names}
        yield Users(server.url, **clients)


def in_a_thread(talk: Callable[..., None]) -> Callable[..., Awaitable[None]]:
    """Let a test talk to a server in this process, since its clients wait for each answer."""

    @wraps(talk)
    async def test(**fixtures: Any) -> None:
        await asyncio.to_thread(talk, **fixtures)

    return test


def done(db: StandardDatabase) -> AsyncJob[str]:
    """Submit a job and return it when it is done."""
    return ended(submitted(db.begin_async_execution().version()))


def as_(db: StandardDatabase, job: AsyncJob[Any]) -> AsyncJob[Any]:
    """Let somebody else ask for a job by its id."""
    return AsyncJob(db.conn, job.id, lambda response: response.body)


# --- python-arango ------------------------------------------------------------------------------


@in_a_thread
def test_each_user_gets_the_results_of_their_own_jobs(users: Users) -> None:
    jobs = [done(db) for db in (users.alice, users.bob)]
    assert [job.result() for job in jobs] == ["2.1.0", "2.1.0"]


@in_a_thread
def test_each_user_lists_their_own_jobs(users: Users) -> None:
    mine, theirs = done(users.alice), done(users.bob)
    pending = submitted(users.alice.begin_async_execution().aql.execute(ENDLESS))
    assert users.alice.async_jobs("done") == [mine.id]
    assert users.bob.async_jobs("done") == [theirs.id]
    assert users.alice.async_jobs("pending") == [pending.id]
    assert users.bob.async_jobs("pending") == []
    assert users.admin.async_jobs("done") == [mine.id, theirs.id]
    assert users.reader.async_jobs("done") == [mine.id, theirs.id]


@in_a_thread
def test_a_job_of_another_user_is_not_found(users: Users) -> None:
    job = done(users.alice)
    theirs = as_(users.bob, job)
    not_found = f"job {job.id} not found"
    with pytest.raises(AsyncJobStatusError, match=not_found):
        theirs.status()
    with pytest.raises(AsyncJobResultError, match=not_found):
        theirs.result()
    with pytest.raises(AsyncJobCancelError, match=not_found):
        theirs.cancel()
    with pytest.raises(AsyncJobClearError, match=not_found):
        theirs.clear()
    assert theirs.clear(ignore_missing=True) is False
    assert job.result() == "2.1.0"


@in_a_thread
def test_clearing_all_jobs_clears_those_of_who_asks(users: Users) -> None:
    job = done(users.alice)
    done(users.bob)
    assert users.bob.clear_async_jobs() is True
    assert users.bob.clear_async_jobs(threshold=int(time.time()) + 3600) is True
    assert users.bob.async_jobs("done") == []
    assert job.result() == "2.1.0"


@in_a_thread
def test_an_admin_clears_the_jobs_of_all(users: Users) -> None:
    job = done(users.alice)
    assert users.admin.clear_async_jobs(threshold=int(time.time()) + 3600) is True
    with pytest.raises(AsyncJobResultError, match=f"job {job.id} not found"):
        job.result()


@in_a_thread
def test_an_admin_takes_the_result_of_another_users_job(users: Users) -> None:
    job = done(users.alice)
    assert as_(users.admin, job).result()["version"] == "2.1.0"
    with pytest.raises(AsyncJobResultError, match=f"job {job.id} not found"):
        job.result()


@in_a_thread
def test_a_reader_sees_jobs_and_is_forbidden_all_else(users: Users) -> None:
    job = done(users.alice)
    seen = as_(users.reader, job)
    assert seen.status() == "done"
    with pytest.raises(AsyncJobResultError) as taking:
        seen.result()
    with pytest.raises(AsyncJobClearError) as clearing:
        users.reader.clear_async_jobs()
    with pytest.raises(AsyncExecuteError) as submitting:
        users.reader.begin_async_execution().version()
    for raised in (taking, clearing, submitting):
        assert (raised.value.http_code, raised.value.error_code) == (403, 11)
    assert users.reader.version() == "2.1.0"
    assert job.result() == "2.1.0"


@in_a_thread
def test_a_job_that_lists_jobs_lists_those_of_its_owner(users: Users) -> None:
    mine, theirs = done(users.alice), done(users.bob)
    for db, job in ((users.alice, mine), (users.bob, theirs)):
        listing = ended(submitted(db.begin_async_execution().async_jobs("done")))
        assert listing.result() == [job.id]


@in_a_thread
def test_a_job_that_clears_jobs_clears_those_of_its_owner(users: Users) -> None:
    job, cleared = done(users.alice), done(users.bob)
    later = users.bob.begin_async_execution()
    clearing = ended(submitted(later.clear_async_jobs(threshold=int(time.time()) + 3600)))
    assert clearing.result() is True
    assert cleared.clear(ignore_missing=True) is False
    assert job.result() == "2.1.0"


@pytest.mark.parametrize(
    ("name", "password"), [("alice", "wrong horse"), ("mallory", PASSWORD), ("root", "")]
)
async def test_who_is_not_let_in_is_told_so_as_arangodb_tells_it(
    users: Users, name: str, password: str
) -> None:
    def talk() -> None:
        with connected(users.url, name, password) as db:
            with pytest.raises(ServerVersionError) as asking:
                db.version()
            with pytest.raises(AsyncJobListError) as listing:
                db.async_jobs("done")
            with pytest.raises(AsyncExecuteError) as submitting:
                db.begin_async_execution().version()
        for raised in (asking, listing, submitting):
            assert (raised.value.http_code, raised.value.error_code) == NOT_AUTHORIZED

    await asyncio.to_thread(talk)


# --- curl ---------------------------------------------------------------------------------------


async def curl(*arguments: str) -> tuple[int, dict[str, str], bytes]:
    """Call curl, and return the status, the headers and the body that it was answered with."""
    process = await asyncio.create_subprocess_exec(
        "curl", "--silent", "--include", *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    head, _, body = out.partition(b"\r\n\r\n")
    status, *lines = head.decode().splitlines()
    pairs = (line.partition(": ") for line in lines)
    return int(status.split()[1]), {name.lower(): value for name, _, value in pairs}, body


async def test_with_curl_each_user_works_with_their_own_jobs(users: Users) -> None:
    alice, bob = ("-u", f"alice:{PASSWORD}"), ("-u", f"bob:{PASSWORD}")
    asking = ("-H", "x-arango-async: store", users.url + "/_api/version")
    status, headers, body = await curl(*alice, *asking)
    assert (status, body) == (202, b"")
    job = f"{users.url}/_api/job/{headers['x-arango-async-id']}"
    while (await curl(*alice, job))[0] == 204:
        pass
    assert [(await curl(*who, job))[0] for who in (alice, bob)] == [200, 404]
    assert (await curl(*bob, "-X", "PUT", job))[0] == 404
    assert (await curl(*bob, "-X", "DELETE", job))[0] == 404
    status, _, body = await curl(*alice, "-X", "PUT", job)
    assert (status, json.loads(body)["version"]) == (200, "2.1.0")


async def test_with_curl_a_stranger_is_asked_for_credentials(users: Users) -> None:
    for who in ((), ("-u", "alice:wrong horse"), ("--oauth2-bearer", "jobstore_abc")):
        status, headers, body = await curl(*who, users.url + "/_api/version")
        assert (status, json.loads(body)["errorNum"]) == NOT_AUTHORIZED
        assert headers["www-authenticate"] == 'Bearer realm="jobstore"'  # the last one of two


async def test_curl_finds_the_password_by_itself_when_it_is_asked_for(users: Users) -> None:
    answer = await curl("--anyauth", "-u", f"alice:{PASSWORD}", users.url + "/_api/version")
    assert b'"version"' in answer[2]
