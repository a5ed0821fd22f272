"""What the viewers of a store are told of its changes: one message, nothing while none looks."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from jobstore.live import Store
from jobstore.live.changes import LISTENERS, MOST_IDS, Change, ChangeFeed, Counters
from jobstore.model.errors import StoreFailing, TooManyListeners
from jobstore.store.facts import Changed, Changes, Expired
from tests.stock import Stock
from tests.stores import StandingClock, beside, opened, owned

Following = Callable[[], Awaitable[Change]]


class Told:
    """Counters that somebody else keeps, and how often they were read."""

    def __init__(self) -> None:
        self.reads = 0
        self.fails = False

    async def __call__(self) -> Counters:
        """Give how many there are, which is another number each time."""
        self.reads += 1
        if self.fails:
            raise StoreFailing(Path("jobs.db"), "it fails")
        return {("job", "queued"): self.reads}


def batch(*ids: int) -> Changes:
    return Changes(facts=[Changed(job_id) for job_id in ids])


async def test_a_viewer_is_told_the_counters_and_then_which_jobs_have_changed(
    store_path: Path,
) -> None:
    async with opened(store_path) as store:
        quick(store)
        stock = Stock(store, StandingClock())
        await stock.queued()
        with store.changes.listening() as listener:
            news = aiter(listener)
            first = await anext(news)
            assert (first.changed, first.more) == ((), False)
            assert first.counters["jobs"]["queued"] == 1
            done = await stock.done("/work")
            change = await anext(news)
            while not change.counters["jobs"]["done"]:  # a message may come in the middle
                change = (await anext(news)).after(change)
            assert (change.changed, change.more) == ((done,), False)
            assert change.counters["results"]["held"] == 1


def quick(store: Store) -> None:
    """Let messages come as soon as there is anything to tell."""
    store.changes._tick = 0  # noqa: SLF001 - nobody else sets it


async def test_what_is_put_in_beside_a_server_is_told(store_path: Path) -> None:
    async with owned(store_path) as store, beside(store_path) as other:
        quick(store)
        noticing = asyncio.create_task(store.noticed())
        with store.changes.listening() as listener:
            news = aiter(listener)
            await anext(news)
            await Stock(other, StandingClock()).queued()
            change = await anext(news)
            while not change.counters["jobs"]["queued"]:
                change = await anext(news)
            assert change.more or change.changed
        noticing.cancel()  # a node is told by others, and looks for itself only at its next beat
        await asyncio.wait([noticing])
        assert noticing.cancelled() or noticing.exception() is None


async def test_nothing_is_noted_and_nothing_runs_while_nobody_listens() -> None:
    told = Told()
    feed = ChangeFeed(told, tick=0)
    feed.settle(batch(1))
    with feed.listening() as listener:
        assert (await anext(aiter(listener))).changed == ()
    feed.settle(batch(2))
    assert (feed.listeners, told.reads) == (0, 1)
    with feed.listening() as listener:
        assert (await anext(aiter(listener))).changed == ()


async def test_all_are_given_the_same_message_for_one_look_at_the_counters() -> None:
    told = Told()
    feed = ChangeFeed(told, tick=0)
    with ExitStack() as stack:
        news = [aiter(stack.enter_context(feed.listening())) for _ in range(LISTENERS)]
        with pytest.raises(TooManyListeners), feed.listening():
            pass
        first, *others = [await anext(each) for each in news]
        assert all(other is first for other in others)
        assert told.reads == 1


async def test_a_message_names_the_newest_jobs_and_says_whether_there_are_more() -> None:
    feed = ChangeFeed(Told(), tick=0)
    with feed.listening() as listener:
        news = aiter(listener)
        await anext(news)
        feed.settle(batch(*range(1, MOST_IDS + 2)))
        change = await anext(news)
        assert (change.changed, change.more) == (tuple(range(2, MOST_IDS + 2)), True)
        feed.settle(Changes(facts=[Expired(3)]))
        change = await anext(news)
        assert (change.changed, change.more) == ((), True)


async def test_who_is_slow_finds_in_one_message_what_they_have_missed() -> None:
    feed = ChangeFeed(Told(), tick=0)
    with feed.listening() as quick, feed.listening() as slow:
        news, late = aiter(quick), aiter(slow)
        for job_id in (1, 2, 3):
            feed.settle(batch(job_id))
            await anext(news)
        assert (await anext(late)).changed == (1, 2, 3)


async def test_a_store_in_trouble_leaves_the_counters_as_they_were() -> None:
    told = Told()
    feed = ChangeFeed(told, tick=0)
    with feed.listening() as listener:
        news = aiter(listener)
        known = (await anext(news)).counters
        told.fails = True
        feed.settle(batch(7))
        assert await anext(news) == Change(known, (7,))


async def test_it_ends_when_the_server_stops() -> None:
    feed = ChangeFeed(Told(), tick=0)
    with feed.listening() as listener:
        news = aiter(listener)
        await anext(news)
        ending = asyncio.create_task(anext(news, None))
        feed.dismiss()
        assert await ending is None
