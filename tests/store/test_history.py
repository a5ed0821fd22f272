import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobstore.model.clock import SECOND
from jobstore.model.errors import BodyGone, JobNotFound, StoreDamaged, StoreMissing
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import chunks
from jobstore.store.expressions import Statement
from jobstore.store.history import History
from jobstore.store.reading import Searcher
from jobstore.store.search import Search
from jobstore.store.sqlite.opening import open_history
from jobstore.store.windows import WINDOW
from tests.stock import Stock, stocking
from tests.stores import START, leave_out_ids, reading

LARGE = bytes(range(256)) * 4096  # one MiB, in several chunks


@pytest.fixture
async def stock(store_path: Path) -> AsyncIterator[Stock]:
    async with stocking(store_path) as stock:
        yield stock


@pytest.fixture
async def history(stock: Stock, store_path: Path) -> AsyncIterator[History]:
    del stock  # it has made the store
    async with reading(store_path) as history:
        yield history


async def found(history: History, limit: int | None = None, **search: object) -> list[int]:
    pages = history.pages(Search(**search), limit)  # type: ignore[arg-type]  # the tests say what
    return [job.id async for jobs in pages for job in jobs]


async def read(history: History, job: Job) -> bytes:
    response = await history.response(job)
    assert response is not None
    return b"".join([chunk async for chunk in chunks(response.body)])


# One job


async def test_a_job_is_found_whatever_became_of_its_result(stock: Stock, history: History) -> None:
    job_id = await stock.done("/a", status=201)
    await stock.store.results.delete(job_id)
    job = await history.job(job_id)
    assert (job.state, job.result, job.status) == (State.DONE, Result.DELETED, 201)


@pytest.mark.parametrize("job_id", [-1, 0, 1, 2**63 - 1, 2**63, 10**30])
async def test_a_job_that_is_not_there_is_not_found(history: History, job_id: int) -> None:
    with pytest.raises(JobNotFound, match=f"no job {job_id}"):
        await history.job(job_id)


async def test_a_request_is_shown_without_its_secrets_from_the_start(
    stock: Stock, history: History
) -> None:
    job_id = await stock.queued(headers=(("Accept", "*/*"), ("Authorization", "Basic x")))
    request = await history.request(await history.job(job_id))
    assert request is not None
    assert request.headers == (("Accept", "*/*"), ("Authorization", "[redacted]"))


async def test_a_large_body_is_read_as_it_was(stock: Stock, history: History) -> None:
    job_id = await stock.done(answer={"body": LARGE})
    assert await read(history, await history.job(job_id)) == LARGE


async def test_a_body_that_is_purged_while_it_is_read_is_said_to_be_gone(
    stock: Stock, history: History
) -> None:
    job_id = await stock.done(answer={"body": LARGE})
    response = await history.response(await history.job(job_id))
    assert response is not None
    body = chunks(response.body)
    await anext(body)
    await stock.store.results.delete(job_id)
    await stock.store.upkeep.sweep()
    with pytest.raises(BodyGone):
        await anext(body)


async def test_what_was_purged_is_no_longer_there(stock: Stock, history: History) -> None:
    job_id = await stock.done(body=LARGE, answer={"body": LARGE})
    await stock.fetch(job_id)
    await stock.store.upkeep.purge(START + SECOND)
    job = await history.job(job_id)
    assert (await history.request(job), await history.response(job)) == (None, None)


async def test_a_job_that_failed_has_no_response(stock: Stock, history: History) -> None:
    job_id = await stock.failed()
    assert await history.response(await history.job(job_id)) is None


async def test_a_timeline_tells_what_happened_in_order(stock: Stock, history: History) -> None:
    claim = await stock.running()
    stock.clock.now += SECOND
    stock.handle(claim).warn("row 17 is odd")
    await stock.finish(claim)  # in the same transaction as the warning, and at the same time
    stock.clock.now += SECOND
    await stock.fetch(claim.job_id)
    await stock.store.results.restore(claim.job_id)
    moments = await history.timeline(claim.job_id)
    assert [(moment.at - START, moment.event, moment.detail) for moment in moments] == [
        (0, "submitted", None),
        (0, "started", "attempt 1"),
        (SECOND, "warned", "row 17 is odd"),
        (SECOND, "done", "status 200"),
        (2 * SECOND, "restored", None),
    ]


# What can still be asked for


class Ending:
    """A reader beside which a job ends as soon as anything was read."""

    def __init__(self, reader: Searcher, end: Callable[[], Awaitable[None]]) -> None:
        self._reader = reader
        self._end = end

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Return all rows, after which the job ends."""
        rows = await self._reader.rows(statement, **values)
        await self._end()
        return rows

    async def together(self, statements: Sequence[Statement], **values: object) -> list[list[Any]]:
        """Return the rows of several statements, after which the job ends."""
        rows = await self._reader.together(statements, **values)
        await self._end()
        return rows


async def test_a_record_shows_a_job_as_it_was_at_one_moment(stock: Stock) -> None:
    claim = await stock.running()

    async def end() -> None:
        await stock.finish(claim)

    reader = Ending(stock.store.history.searcher, end)
    record = await History(reader).record(claim.job_id)  # type: ignore[arg-type]  # all it needs
    assert record.job.state is State.RUNNING
    assert [each.ended_at for each in record.attempts] == [None]
    assert [each.event for each in record.timeline] == ["submitted", "started"]
    record = await stock.store.history.record(claim.job_id)
    assert record.job.state is State.DONE
    assert [each.ended_at for each in record.attempts] == [record.job.finished_at]
    assert record.timeline[-1].event == "done"
    for missing in (0, claim.job_id + 1, 10**30):
        with pytest.raises(JobNotFound):
            await stock.store.history.record(missing)


async def test_pending_and_held_jobs_are_listed_the_newest_last(
    stock: Stock, history: History
) -> None:
    held, queued = await stock.done(), await stock.queued()
    await stock.store.results.delete(await stock.done())
    await stock.done(wanted=False)
    running = (await stock.running()).job_id
    assert [job.id for job in await history.awaited(10)] == [held, queued, running]


async def test_of_too_many_jobs_the_newest_are_listed(stock: Stock, history: History) -> None:
    ids = [await stock.queued(), await stock.done(), await stock.queued(), await stock.done()]
    assert [job.id for job in await history.awaited(3)] == ids[-3:]


# All jobs


async def test_the_history_goes_from_the_newest_job_to_the_oldest(
    stock: Stock, history: History
) -> None:
    ids = [await stock.queued(), await stock.done(), await stock.failed(), await stock.cancelled()]
    assert await found(history) == ids[::-1]


async def test_the_history_is_read_page_by_page_and_nothing_is_missed(
    stock: Stock, history: History
) -> None:
    await stock.many(2 * WINDOW + 1)
    pages = [len(jobs) async for jobs in history.pages(Search())]
    assert (pages, len(set(await found(history)))) == ([WINDOW, WINDOW, 1], 2 * WINDOW + 1)


async def test_a_rare_job_is_found_behind_many_others(stock: Stock, history: History) -> None:
    rare = await stock.queued("/rare")
    await stock.many(WINDOW + 1)
    assert await found(history, path="/rare") == [rare]


async def test_ids_that_are_gone_leave_no_hole_in_the_history(
    stock: Stock, history: History, store_path: Path
) -> None:
    oldest = await stock.queued()
    leave_out_ids(store_path, 2 << 40)
    newest = await stock.queued()
    assert await found(history) == [newest, oldest]


async def test_no_more_jobs_are_given_than_asked_for(stock: Stock, history: History) -> None:
    ids = [await stock.queued() for _ in range(3)]
    assert await found(history, limit=2) == ids[:0:-1]


async def test_jobs_are_found_by_their_state(stock: Stock, history: History) -> None:
    queued, failed, cancelled = await stock.queued(), await stock.failed(), await stock.cancelled()
    assert await found(history, states=(State.FAILED,)) == [failed]
    assert await found(history, states=(State.QUEUED, State.CANCELLED)) == [cancelled, queued]


async def test_jobs_are_found_by_their_owner(stock: Stock, history: History) -> None:
    nobodys, alices = await stock.queued(), await stock.queued(owner="alice")
    assert await found(history, owner="alice") == [alices]
    assert await found(history, owner="") == [nobodys]


async def test_jobs_are_found_by_how_their_path_begins(stock: Stock, history: History) -> None:
    ids = {path: await stock.queued(path) for path in ("/a_b", "/aXb", "/A_b", "/a_b/c?d=%25")}
    assert await found(history, path="/a_") == [ids["/a_b/c?d=%25"], ids["/a_b"]]
    assert await found(history, path="/a_b/c?d=%") == [ids["/a_b/c?d=%25"]]


async def test_jobs_are_found_by_when_they_were_submitted(stock: Stock, history: History) -> None:
    first = await stock.queued()
    stock.clock.now += SECOND
    second = await stock.queued()
    stock.clock.now += SECOND
    third = await stock.queued()
    assert await found(history, since=START + SECOND) == [third, second]
    assert await found(history, until=START + SECOND) == [first]
    assert await found(history, since=START + 1, until=START + 2 * SECOND) == [second]
    assert await found(history, since=START + 3 * SECOND) == []


async def test_a_clock_that_was_set_back_hides_no_job(stock: Stock, history: History) -> None:
    early = await stock.queued()
    stock.clock.now -= SECOND
    await stock.queued()
    assert await found(history, since=START) == [early]


async def test_jobs_are_found_by_the_status_of_their_answer(stock: Stock, history: History) -> None:
    await stock.done(status=200)
    broken, failed = await stock.done(status=500), await stock.failed()
    assert await found(history, lowest_status=500, highest_status=500) == [broken]
    assert await found(history, lowest_status=500, highest_status=599) == [failed, broken]


# Beside a server, after a crash, and on a bad day


@pytest.mark.file
async def test_a_reader_that_rests_between_two_pages_holds_nobody_up(
    stock: Stock, history: History, store_path: Path
) -> None:
    await stock.many(WINDOW + 1)
    pages = history.pages(Search())
    await anext(pages)
    await stock.queued()
    with sqlite3.connect(store_path) as connection:
        assert connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    assert len(await anext(pages)) == 1


@pytest.mark.file
async def test_what_a_killed_server_left_in_the_wal_is_read(
    stock: Stock, store_path: Path, tmp_path: Path
) -> None:
    job_id = await stock.done("/last")
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for name in ("jobs.db", "jobs.db-wal"):
        shutil.copy(store_path.with_name(name), crashed)
    async with open_history(crashed / "jobs.db") as history:
        assert (await history.job(job_id)).path == "/last"


def test_a_store_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    async def look() -> None:
        async with open_history(tmp_path / "none.db"):
            pass

    with pytest.raises(StoreMissing, match=r"jobstore serve.*jobstore migrate"):
        asyncio.run(look())
    assert not list(tmp_path.iterdir())


@pytest.mark.file
async def test_a_body_in_a_damaged_part_of_the_file_is_said_to_be_damaged(
    store_path: Path,
) -> None:
    async with stocking(store_path) as stock:
        job_id = await stock.done(answer={"body": LARGE})
    with sqlite3.connect(store_path) as connection:
        # A page that is the root of a table says which kind it is in its first byte.
        root = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'chunk'")
        start = (root.fetchone()[0] - 1) * 4096
    connection.close()
    with store_path.open("r+b") as file:
        file.seek(start)
        file.write(b"\xff" * 4096)
    async with open_history(store_path) as history:
        with pytest.raises(StoreDamaged, match=r"jobs\.db: the file is damaged"):
            await read(history, await history.job(job_id))
