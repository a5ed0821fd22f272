"""Turns: nobody waits for all that another one has piled up."""

import asyncio
from collections.abc import Iterable

from jobstore.web.turns import FairTurns
from tests import loop


async def order_of(
    turns: FairTurns, sources: Iterable[str], taken: list[str]
) -> list[asyncio.Task[None]]:
    """Let tasks wait for their turns in an order; each notes its source when it has its turn."""

    async def wait(source: str) -> None:
        async with turns.turn(source):
            taken.append(source)
            await loop.turns(1)

    tasks = [asyncio.create_task(wait(source)) for source in sources]
    await loop.turns(1)
    return tasks


async def test_the_sources_that_wait_take_turns() -> None:
    turns, taken = FairTurns(1), list[str]()
    async with turns.turn("first"):
        tasks = await order_of(turns, "aaaabbc", taken)
    await asyncio.gather(*tasks)
    assert "".join(taken) == "abcabaa"


async def test_no_more_than_so_many_have_a_turn_at_once() -> None:
    turns, taken = FairTurns(2), list[str]()
    async with turns.turn("x"), turns.turn("y"):
        tasks = await order_of(turns, "ab", taken)
        assert taken == []
    await asyncio.gather(*tasks)
    assert taken == ["a", "b"]


async def test_who_leaves_the_queue_keeps_nobodys_place() -> None:
    turns, taken = FairTurns(1), list[str]()
    async with turns.turn("x"):
        tasks = await order_of(turns, "aab", taken)
        tasks[0].cancel()
        await loop.turns(1)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(taken) == ["a", "b"]
    async with turns.turn("x"):
        pass


async def test_who_leaves_in_the_moment_of_their_turn_passes_it_on() -> None:
    turns, taken = FairTurns(1), list[str]()
    async with turns.turn("x"):
        tasks = await order_of(turns, "ab", taken)
    tasks[0].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert taken == ["b"]
