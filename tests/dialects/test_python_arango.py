"""python-arango, as it comes from PyPI, and what its users get to see."""

import asyncio
import functools
import itertools
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from arango.client import ArangoClient
from arango.cursor import Cursor
from arango.database import StandardDatabase
from arango.exceptions import (
    AQLQueryExecuteError,
    ArangoServerError,
    AsyncExecuteError,
    AsyncJobCancelError,
    AsyncJobClearError,
    AsyncJobListError,
    AsyncJobResultError,
    AsyncJobStatusError,
    CollectionCreateError,
    ServerVersionError,
)
from arango.job import AsyncJob
from arango.response import Response
from arango.result import Result

from tests.conftest import Serve, running

T = TypeVar("T")

ENDLESS = "RETURN SLEEP(100000)"


@contextmanager
def connected(*hosts: str) -> Iterator[StandardDatabase]:
    """Connect a client to its first host; it asks another one only if that one seems to be down."""
    with closing(ArangoClient(hosts=hosts)) as client:
        yield client.db("_system", username="root", password="x")


@pytest.fixture
async def db(serve: Serve) -> AsyncIterator[StandardDatabase]:
    """Give a database of a client that is connected to the demo."""
    with connected((await serve()).url) as database:
        yield database


@pytest.fixture
async def elsewhere(tmp_path: Path) -> AsyncIterator[str]:
    """Give the URL of another server, with jobs of its own, that would gladly answer."""
    async with running(tmp_path / "elsewhere.db") as server:
        yield server.url


def in_a_thread(talk: Callable[..., None]) -> Callable[..., Awaitable[None]]:
    """Let a test talk to a server in this process, since python-arango waits for each answer."""

    @functools.wraps(talk)
    async def test(**fixtures: Any) -> None:
        await asyncio.to_thread(talk, **fixtures)

    return test


def submitted(result: Result[T]) -> AsyncJob[T]:
    """Take what an asynchronous call returned for the job that it is."""
    assert isinstance(result, AsyncJob)
    return result


def ended(job: AsyncJob[T]) -> AsyncJob[T]:
    """Return a job when it is done."""
    while job.status() == "pending":
        pass
    assert job.status() == "done"
    return job


def error_of(job: AsyncJob[Any], kind: type[ArangoServerError]) -> ArangoServerError:
    """Fetch the result of a job that cannot be had, and return the error that it raises."""
    with pytest.raises(kind) as raised:
        job.result()
    return raised.value


# --- results ------------------------------------------------------------------------------------


@in_a_thread
def test_without_async_execution_calls_are_answered_at_once(db: StandardDatabase) -> None:
    assert db.version() == "2.1.0"
    assert db.collections() == []


@in_a_thread
def test_a_result_is_what_the_call_would_have_returned(db: StandardDatabase) -> None:
    job = submitted(db.begin_async_execution().version())
    assert ended(job).result() == db.version()


@in_a_thread
def test_a_result_can_be_had_once(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    job.result()
    error = error_of(job, AsyncJobResultError)
    assert (error.http_code, error.error_code) == (404, 404)
    assert f"job {job.id} not found" in str(error)


@in_a_thread
def test_a_job_that_is_pending_has_no_result_yet(db: StandardDatabase) -> None:
    job = submitted(db.begin_async_execution().aql.execute(ENDLESS))
    assert job.status() == "pending"
    assert f"job {job.id} not done" in str(error_of(job, AsyncJobResultError))
    assert job.status() == "pending"


@in_a_thread
def test_the_status_of_a_fetched_job_is_not_found(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    job.result()
    with pytest.raises(AsyncJobStatusError, match=f"job {job.id} not found"):
        job.status()


@in_a_thread
def test_a_query_gives_its_rows(db: StandardDatabase) -> None:
    job = submitted(db.begin_async_execution().aql.execute("LET x = SLEEP(0.01) RETURN 42"))
    cursor = ended(job).result()
    assert isinstance(cursor, Cursor)
    assert list(cursor) == [42]


@in_a_thread
def test_a_call_that_fails_raises_its_own_error_when_its_result_is_fetched(
    db: StandardDatabase,
) -> None:
    job = submitted(db.begin_async_execution().create_collection(" this name is invalid "))
    error = error_of(ended(job), CollectionCreateError)
    assert (error.http_code, error.error_code) == (400, 1208)
    assert "illegal name" in str(error)


@in_a_thread
def test_nobody_hears_of_results_that_are_not_wanted(db: StandardDatabase) -> None:
    unheard = db.begin_async_execution(return_result=False)
    assert unheard.version() is None
    assert unheard.aql.execute(ENDLESS) is None
    assert unheard.create_collection(" this name is invalid ") is None
    assert db.async_jobs("pending") == []
    assert db.async_jobs("done") == []


# --- cancel and clear ---------------------------------------------------------------------------


@in_a_thread
def test_a_cancelled_query_raises_that_it_was_cancelled(db: StandardDatabase) -> None:
    job = submitted(db.begin_async_execution().aql.execute(ENDLESS))
    assert job.cancel() is True
    error = error_of(ended(job), AQLQueryExecuteError)
    assert (error.http_code, error.error_code) == (410, 21)
    assert "canceled request" in str(error)


@in_a_thread
def test_a_done_job_can_be_cancelled_and_keeps_its_result(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    assert job.cancel() is True
    assert job.result() == "2.1.0"


@in_a_thread
def test_a_fetched_job_cannot_be_cancelled(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    job.result()
    assert job.cancel(ignore_missing=True) is False
    with pytest.raises(AsyncJobCancelError, match=f"job {job.id} not found"):
        job.cancel()


@in_a_thread
def test_a_cleared_job_is_gone(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    assert job.clear() is True
    assert job.clear(ignore_missing=True) is False
    with pytest.raises(AsyncJobClearError, match=f"job {job.id} not found"):
        job.clear()
    with pytest.raises(AsyncJobStatusError, match=f"job {job.id} not found"):
        job.status()


@in_a_thread
def test_a_pending_job_can_be_cleared(db: StandardDatabase) -> None:
    job = submitted(db.begin_async_execution().aql.execute(ENDLESS))
    assert job.clear() is True
    assert db.async_jobs("pending") == []


# --- lists --------------------------------------------------------------------------------------


@in_a_thread
def test_jobs_are_listed_by_their_status(db: StandardDatabase) -> None:
    later = db.begin_async_execution()
    done = [ended(submitted(later.version())).id for _ in range(3)]
    pending = [submitted(later.aql.execute(ENDLESS)).id for _ in range(2)]
    assert db.async_jobs("done") == done
    assert db.async_jobs("done", count=2) == done[:2]
    assert db.async_jobs("pending") == pending
    assert db.async_jobs("pending", count=1) == pending[:1]


@in_a_thread
def test_jobs_of_an_unknown_status_are_an_error(db: StandardDatabase) -> None:
    with pytest.raises(AsyncJobListError) as raised:
        db.async_jobs("bogus")
    assert (raised.value.http_code, raised.value.error_code) == (400, 400)


@in_a_thread
def test_all_jobs_can_be_cleared(db: StandardDatabase) -> None:
    later = db.begin_async_execution()
    job = ended(submitted(later.version()))
    submitted(later.aql.execute(ENDLESS))
    assert db.clear_async_jobs() is True
    assert db.async_jobs("done") == []
    assert db.async_jobs("pending") == []
    assert f"job {job.id} not found" in str(error_of(job, AsyncJobResultError))


@in_a_thread
def test_results_older_than_a_threshold_can_be_cleared(db: StandardDatabase) -> None:
    job = ended(submitted(db.begin_async_execution().version()))
    now = int(time.time())
    assert db.clear_async_jobs(threshold=now - 3600) is True
    assert db.async_jobs("done") == [job.id]
    assert db.clear_async_jobs(threshold=now + 3600) is True
    assert db.async_jobs("done") == []


@in_a_thread
def test_the_job_managers_calls_may_be_jobs_themselves(db: StandardDatabase) -> None:
    later = db.begin_async_execution()
    job = ended(submitted(later.version()))
    listing = ended(submitted(later.async_jobs("done")))
    assert listing.result() == [job.id]
    clearing = ended(submitted(later.clear_async_jobs(threshold=int(time.time()) + 3600)))
    assert db.async_jobs("done") == [clearing.id]
    assert clearing.result() is True


# --- failures -----------------------------------------------------------------------------------


async def test_a_job_whose_target_is_down_raises_that_it_could_not_be_reached(
    serve: Serve, elsewhere: str
) -> None:
    def talk(db: StandardDatabase) -> None:
        error = error_of(ended(submitted(db.begin_async_execution().version())), ServerVersionError)
        assert (error.http_code, error.error_code) == (502, 1)
        assert "no connection" in str(error)

    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    server = await serve(target={"upstream": f"http://127.0.0.1:{port}", "hold": "0"})
    with connected(server.url, elsewhere) as db:
        await asyncio.to_thread(talk, db)


async def test_an_interrupted_job_says_so_and_no_other_server_is_asked(
    store_path: Path, elsewhere: str
) -> None:
    def begin(db: StandardDatabase) -> str:
        return submitted(db.begin_async_execution().aql.execute(ENDLESS)).id

    def finish(db: StandardDatabase, job_id: str) -> Response:
        return ended(AsyncJob(db.conn, job_id, lambda response: response)).result()

    async with running(store_path) as server:
        with connected(server.url) as db:
            job_id = await asyncio.to_thread(begin, db)
    async with running(store_path) as server:
        with connected(server.url, elsewhere) as db:
            response = await asyncio.to_thread(finish, db, job_id)
    assert (response.status_code, response.error_code) == (503, 1)
    assert response.error_message is not None
    assert "interrupted" in response.error_message


async def test_a_full_queue_raises_and_no_other_server_is_asked(
    serve: Serve, elsewhere: str
) -> None:
    def talk(db: StandardDatabase) -> None:
        later = db.begin_async_execution()
        without_end = (later.aql.execute(ENDLESS) for _ in itertools.count())
        with pytest.raises(AsyncExecuteError) as raised:
            list(without_end)
        assert (raised.value.http_code, raised.value.error_code) == (503, 21003)
        assert "queue is full" in str(raised.value)

    server = await serve(executor={"concurrency": 1, "queue_limit": 1})
    with connected(server.url, elsewhere) as db:
        await asyncio.to_thread(talk, db)
