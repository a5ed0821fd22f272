import asyncio

from jobstore.live.upcoming import Upcoming
from jobstore.store import waited
from jobstore.store.facts import Waiting
from tests.stores import begun

# How long everything may take at most; nothing here comes near it.
LONG = 60


async def test_whoever_asks_for_a_job_that_has_just_begun_waits_for_its_end() -> None:
    upcoming = Upcoming()
    upcoming.came(Waiting(1))
    waiting = await begun(upcoming.ended(1))
    assert not waiting.done()
    upcoming.ending(1)
    await waiting


async def test_nobody_waits_for_longer_than_a_moment() -> None:
    upcoming = Upcoming()
    upcoming.came(Waiting(1))
    async with asyncio.timeout(LONG):
        await upcoming.ended(1)
        await upcoming.ended(1)


async def test_nobody_waits_for_a_job_that_is_unknown_or_has_ended() -> None:
    upcoming = Upcoming()
    upcoming.came(Waiting(1))
    upcoming.ending(1)
    assert (await begun(upcoming.ended(1))).done()
    assert (await begun(upcoming.ended(2))).done()


async def test_what_each_one_asks_next_shares_the_patience_of_their_own_request() -> None:
    upcoming, asking = Upcoming(), list[waited.Waits | None]()
    upcoming.came(Waiting(1))
    requests = [waited.Waits() for _ in range(3)]
    for request in requests:
        waited.go_on(request)
        upcoming.when_ended(1, lambda: asking.append(waited.of_request()))
    waited.begin()  # that of whoever ends the job
    upcoming.ending(1)
    assert [*map(id, asking)] == [*map(id, requests)]


async def test_one_who_leaves_does_not_keep_the_others_from_waiting() -> None:
    upcoming = Upcoming()
    upcoming.came(Waiting(1))
    leaving, staying = await begun(upcoming.ended(1)), await begun(upcoming.ended(1))
    leaving.cancel()
    await asyncio.wait([leaving])
    assert not staying.done()
    upcoming.ending(1)
    await staying
