"""A search takes no longer than its budget, gets on all the same, and keeps nobody waiting."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from sqlalchemy import text

from jobstore.dialects.native.listing import Listing
from jobstore.model.account import Identity
from jobstore.model.clock import iso
from jobstore.model.definition_reader import parse
from jobstore.model.errors import QueryInvalid
from jobstore.model.lifecycle import State
from jobstore.store import jobs
from jobstore.store.budget import Budget, TimeIsUp
from jobstore.store.expressions import Statement
from jobstore.store.reading import Searcher
from jobstore.store.search import Search
from jobstore.store.windows import FIRST, WIDEST, Page
from jobstore.web import standing
from jobstore.web.filters import search_of
from tests.loop import turns
from tests.stock import Stock, stocking
from tests.stores import START, connected, copy_job, execute

ENDLESS: Final = Statement(
    text("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n")
)
ONE_ROW: Final = Statement(text("SELECT 1"))


class Hurry:
    """A clock on which a tenth of a second passes between two looks at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time, and let some pass."""
        self.now += 0.1
        return self.now


def hurried() -> Budget:
    """Give a budget that lasts for a few steps."""
    return Budget(clock=Hurry())


def spent() -> Budget:
    """Give a budget that lasts for the first step only."""
    return Budget(seconds=0.0)


@pytest.fixture
async def stock(store_path: Path) -> AsyncIterator[Stock]:
    """Give a store that its server owns."""
    async with stocking(store_path) as stock:
        yield stock


async def filled(stock: Stock, store_path: Path, jobs: int, every: int) -> list[int]:
    """Put many jobs of bob's in; each so many-th is alice's, whose ids are given, newest first."""
    await stock.queued(owner="bob")
    copy_job(store_path, 1, jobs - 1)
    execute(store_path, "UPDATE job SET owner = 'alice' WHERE id % ? = 0", every)
    return [job_id for job_id in range(jobs, 0, -1) if job_id % every == 0]


async def all_pages(
    stock: Stock, search: Search, limit: int, budget: Callable[[], Budget]
) -> list[Page]:
    """Turn the pages of a search over until there is no next one."""
    pages, before = list[Page](), jobs.LARGEST_ID
    while True:
        page = await stock.store.history.page(search, limit, before, budget())
        pages.append(page)
        if page.searched_to is None:
            return pages
        assert page.searched_to < before
        before = page.searched_to


@pytest.mark.parametrize("budget", [hurried, spent])
@pytest.mark.parametrize("since", [None, START])
async def test_a_search_that_finds_nothing_comes_back_soon_and_goes_on_to_the_end(
    stock: Stock, store_path: Path, budget: Callable[[], Budget], since: int | None
) -> None:
    await filled(stock, store_path, 20 * FIRST, every=10**9)
    pages = await all_pages(stock, Search(owner="nobody", since=since), 100, budget)
    assert [page.jobs for page in pages] == [[]] * len(pages)
    assert 2 < len(pages) <= 21


@pytest.mark.parametrize("budget", [Budget, hurried, spent])
@pytest.mark.parametrize("limit", [1, 7, 1000])
@pytest.mark.parametrize("since", [None, START])
async def test_however_a_search_is_cut_into_pages_it_finds_each_job_once(
    stock: Stock, store_path: Path, budget: Callable[[], Budget], limit: int, since: int | None
) -> None:
    alices = await filled(stock, store_path, 10 * FIRST, every=97)
    pages = await all_pages(stock, Search(owner="alice", since=since), limit, budget)
    assert [job.id for page in pages for job in page.jobs] == alices
    assert max(len(page.jobs) for page in pages) <= limit


async def test_the_latest_run_of_a_definition_is_found_at_first_glance_however_long_ago_it_was(
    stock: Stock, store_path: Path
) -> None:
    draft = parse({"name": "daily", "path": "/daily", "target": "/work"})
    definition = await stock.store.definitions.create(draft, "bob")
    await filled(stock, store_path, 20 * FIRST, every=10**9)
    execute(store_path, "UPDATE job SET definition = ? WHERE id IN (3, 900)", definition.id)
    search = Search(definition=definition.id)
    latest = await stock.store.history.page(search, 1, jobs.LARGEST_ID, spent())
    before = await stock.store.history.page(search, 1, 900, spent())
    assert [job.id for job in (*latest.jobs, *before.jobs)] == [900, 3]


async def test_what_failed_is_found_at_first_glance_however_long_ago_it_did(
    stock: Stock, store_path: Path
) -> None:
    failed = await stock.failed()
    await stock.queued()
    copy_job(store_path, failed + 1, 20 * FIRST)
    search = Search(states=(State.FAILED,))
    page = await stock.store.history.page(search, 1, jobs.LARGEST_ID, spent())
    assert [job.id for job in page.jobs] == [failed]


async def test_jobs_that_are_purged_between_two_pages_leave_no_gap(
    stock: Stock, store_path: Path
) -> None:
    alices = await filled(stock, store_path, 10 * FIRST, every=97)
    first = await stock.store.history.page(Search(owner="alice"), 100, jobs.LARGEST_ID, spent())
    assert first.searched_to is not None
    gone = first.searched_to - 500
    execute(store_path, "DELETE FROM job WHERE id > ? AND owner = 'bob'", gone)
    found = [job.id for job in first.jobs]
    before: int | None = first.searched_to
    while before is not None:
        page = await stock.store.history.page(Search(owner="alice"), 100, before, spent())
        found += [job.id for job in page.jobs]
        before = page.searched_to
    assert found == alices


async def test_a_search_with_time_looks_at_more_and_more_at_once(
    stock: Stock, store_path: Path
) -> None:
    await filled(stock, store_path, 3 * WIDEST, every=10**9)
    looks = Hurry()
    # So much time that only the number of steps tells how far it gets.
    budget = Budget(seconds=3600.0, clock=looks)
    page = await stock.store.history.page(Search(owner="nobody"), 100, jobs.LARGEST_ID, budget)
    assert (page.jobs, page.searched_to) == ([], None)
    assert looks.now < 3.0


async def test_what_went_wrong_is_found_at_first_glance_however_long_ago_it_was(
    stock: Stock, store_path: Path
) -> None:
    wrong = [await stock.failed()]
    for _ in range(2):
        copy_job(store_path, await stock.queued(), 10 * FIRST)
        wrong.append(await stock.done("/gone", status=404))
    copy_job(store_path, await stock.done(), 10 * FIRST)
    found, before = list[int](), jobs.LARGEST_ID
    while len(found) < len(wrong):
        page = await stock.store.history.page(Search(errors=True), 1, before, spent())
        (job,) = page.jobs
        before = page.searched_to or 0
        found.append(job.id)
    assert found == wrong[::-1]
    assert await stock.store.history.submitted_to(found[0]) == START
    fine = await all_pages(stock, Search(errors=False), 10_000, Budget)
    assert not {job.id for page in fine for job in page.jobs} & {*wrong}


# --- over the wire ------------------------------------------------------------------------------


@pytest.fixture
async def listing(stock: Stock) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Give a client of the list alone, whose budget lasts for the first step."""

    @web.middleware
    async def known(request: web.Request, handler: Any) -> Any:
        request[standing.IDENTITY] = Identity(name="")
        return await handler(request)

    app = web.Application(middlewares=[known])
    app.router.add_get("/_jobs", Listing(stock.store, spent).list)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_page_may_be_empty_and_still_have_a_next_one(
    stock: Stock, store_path: Path, listing: TestClient[web.Request, web.Application]
) -> None:
    alices = await filled(stock, store_path, 5 * FIRST, every=5 * FIRST - 1)
    query, pages = {"owner": "alice", "limit": "10"}, []
    while True:
        answer = await listing.get("/_jobs", params=query)
        pages.append(json.loads(await answer.read()))
        if pages[-1]["next"] is None:
            break
        query["cursor"] = pages[-1]["next"]
    assert [job["id"] for page in pages for job in page["jobs"]] == alices
    assert [page["searched_to"] for page in pages] == [
        *(5 * FIRST - looked + 1 for looked in range(FIRST, 5 * FIRST, FIRST)),
        None,
    ]
    assert pages[2]["jobs"] == []
    assert {page["searched_to_time"] for page in pages[:-1]} == {iso(START)}


async def test_what_went_wrong_is_a_filter_with_two_values(
    stock: Stock, listing: TestClient[web.Request, web.Application]
) -> None:
    failed, done = await stock.failed(), await stock.done()
    for word, expected in (("yes", [failed]), ("no", [done])):
        answer = await listing.get("/_jobs", params={"error": word})
        assert [job["id"] for job in (await answer.json())["jobs"]] == expected
    with pytest.raises(QueryInvalid, match="error: expected yes or no"):
        search_of({"error": "maybe"}, None)


# --- nobody waits -------------------------------------------------------------------------------


async def test_who_knows_what_to_read_does_not_wait_for_a_search(stock: Stock) -> None:
    job_id = await stock.done("/a")
    searching = asyncio.create_task(stock.store.history.searcher.within(None, ENDLESS))
    await turns(1)
    assert (await stock.store.history.job(job_id)).path == "/a"
    assert await stock.store.history.timeline(job_id)
    assert (await stock.store.results.read(job_id)).body is not None
    await stock.fetch(job_id)
    assert await stock.store.definitions.page(0, 10) == []
    searching.cancel()
    await asyncio.wait([searching])


@pytest.fixture
async def connection(stock: Stock, store_path: Path) -> AsyncIterator[Searcher]:
    """Give a connection for reading."""
    del stock  # it has made the store
    async with connected(store_path) as connection:
        yield connection


async def test_a_statement_is_stopped_when_its_time_is_over(connection: Searcher) -> None:
    with pytest.raises(TimeIsUp):
        await connection.within(0.01, ENDLESS)
    assert await connection.within(None, ONE_ROW) == [(1,)]


async def test_a_statement_is_stopped_when_whoever_asked_has_left(connection: Searcher) -> None:
    asking = asyncio.create_task(connection.within(None, ENDLESS))
    await turns(1)
    asking.cancel()
    await asyncio.wait([asking])
    assert await connection.rows(ONE_ROW) == [(1,)]


async def test_only_the_statement_whose_time_is_over_is_stopped(connection: Searcher) -> None:
    endless = asyncio.create_task(connection.within(None, ENDLESS))
    await turns(1)
    # It is over while this one waits for the other, which goes on.
    behind = asyncio.create_task(connection.within(0.0, ONE_ROW))
    last = asyncio.create_task(connection.within(None, ONE_ROW))
    await turns(100)
    assert not endless.done()
    endless.cancel()
    with pytest.raises(TimeIsUp):
        await behind
    assert await last == [(1,)]


def test_the_time_of_a_search_does_not_begin_before_its_first_part_is_done() -> None:
    now = 0.0
    budget = Budget(0.25, lambda: now)
    now = 10.0  # such as on a machine that has no time
    assert budget.left() is None
    budget.begin()
    assert budget.left() == 0.25
    now = 10.25
    with pytest.raises(TimeIsUp):
        budget.left()
