import asyncio

import pytest

from jobstore.live.ticks import Ticks

# How long everything may take at most; nothing here comes near it.
LONG = 60


async def told_after(seconds: float, least: float, part: float) -> tuple[float, float]:
    """Put something in, and tell when it was told of, and when it should have been."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    ticks = Ticks[str](least, lambda _: over.set(), part)
    due = loop.time() + seconds
    ticks.after(seconds).add("thing")
    async with asyncio.timeout(LONG):
        await over.wait()
    return loop.time(), due


@pytest.mark.parametrize(("seconds", "least", "part"), [(0.01, 0.005, 0), (0.02, 0.001, 1 / 8)])
async def test_nothing_is_told_of_early(seconds: float, least: float, part: float) -> None:
    told, due = await told_after(seconds, least, part)
    assert told >= due - 1e-6


async def test_what_was_taken_out_is_not_told_of() -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    ticks = Ticks[int](0.001, told.put_nowait)
    due = ticks.after(0.01)
    due.update((1, 2))
    due.discard(1)
    async with asyncio.timeout(LONG):
        assert await told.get() == 2
    assert told.empty()


async def test_what_is_due_at_about_the_same_time_shares_a_timer() -> None:
    ticks = Ticks[int](0.001, lambda _: None, part=1 / 64)
    timers = {id(ticks.after(600 + number / 1000)) for number in range(1000)}
    assert len(timers) <= 2


async def test_there_are_never_many_timers_however_long_is_waited() -> None:
    ticks = Ticks[int](0.001, lambda _: None, part=1 / 64)
    timers = {id(ticks.after(seconds)) for seconds in range(512, 1024)}
    assert len(timers) <= 2 * 64
