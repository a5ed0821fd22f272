"""Long work in bounded steps, so that others get their turn in between.

How long a step takes depends on the disk, the processor and the rows. A step that takes its rows
one by one looks at the time itself. One whose statement touches many of them is timed, and the next
one touches as many as fit into the time. Measured: purging 500 small jobs takes 2 ms, deleting as
many takes 7.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeAlias, TypeVar

from jobstore.model.frozen import frozen
from jobstore.store.transaction import Operation, Transaction
from jobstore.store.writer import Writer

# How many rows one step touches if nobody times it.
STEP: Final = 500
# How many rows the first step of some work touches, unless these are large; and any step at least.
FIRST: Final = 64
_LEAST: Final = 4
# For how many turns of the loop a step waits until the writer has begun what was posted before.
_TURNS: Final = 3
# The largest change from one step to the next, and the smallest.
_FASTER: Final = 2.0
_SLOWER: Final = 0.1

T = TypeVar("T")
# Does a part of the work, of as many rows as it is told at the most; false if there is none left.
Step: TypeAlias = Callable[[Transaction, int], T]
# Tells a step whether its time is over.
IsOver: TypeAlias = Callable[[], bool]


@frozen(kw_only=True)
class Pace:
    """How long work shares a file with others.

    Args:
        seconds: how long a step may take.
        most: how many rows it may touch.
        rest: for how long nothing is done after it, as a multiple of the time that it took.
    """

    seconds: float
    most: int
    rest: float = 0


# In the server, where others wait for the same writer and are asked between two steps. Measured: a
# step of 3 ms lets the slowest of them wait a millisecond longer; one of 1 ms is mostly its commit.
AMONG_OTHERS: Final = Pace(seconds=0.002, most=512)
# In another process: a server that finds the file locked looks again after 1, 2, 5, 10, 15 ms, and
# so on. Measured, 100,000 results expired: with no rest it waits up to 240 ms again and again, with
# this one up to 12, but for one time in a hundred.
BESIDE_A_SERVER: Final = Pace(seconds=0.003, most=512, rest=2)
# In a node, a step consists of round trips, which on a busy machine alone take 3 ms: it would then
# touch hardly any rows. Measured, 1,000 results expired beside 8 clients that submit: in 3 ms steps
# 0.6 to 6.7 s, in these 0.2 to 0.4; one client in a hundred waits 16 to 137 ms, and 22 to 87.
IN_A_NODE: Final = Pace(seconds=0.01, most=512)
# Where nobody waits, what counts is how seldom the disk is waited for.
ALONE: Final = Pace(seconds=0.05, most=8192)


class Steps:
    """Do long work step by step.

    Args:
        pace: how to share the store.
        after: called after each step, if given.
        timer: the monotonic time, in seconds.
    """

    def __init__(
        self,
        writer: Writer,
        pace: Pace,
        after: Callable[[], Awaitable[None]] | None = None,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._writer = writer
        self._pace = pace
        self._after = after
        self._timer = timer

    async def all(self, step: Step[int], first: int = FIRST) -> int:
        """Repeat a step as `each` does; return how much it did in total."""
        return sum([done async for done in self.each(step, first)])

    async def each(self, step: Step[T], first: int = FIRST) -> AsyncIterator[T]:
        """Repeat a step until it finds nothing to do.

        Args:
            first: how many rows it may touch at first.

        Yields:
            what each step did, once that is committed.
        """
        rows = first
        while True:
            done, rows = await self.one(step, rows)
            if not done:
                return
            yield done

    async def over(
        self,
        ids: Sequence[int],
        operation: Callable[[Transaction, Sequence[int]], T],
    ) -> list[T]:
        """Change many jobs.

        Args:
            ids: the jobs.
            operation: changes some of them.

        Returns:
            what each step did.
        """
        all_done, rows, start = [], FIRST, 0
        while some := ids[start : start + rows]:
            start += len(some)
            done, rows = await self.one(_of(some, operation), rows)
            all_done.append(done)
        return all_done

    async def beside(self, reading: Awaitable[T]) -> T:
        """Wait for a read beside the writer, and rest after it as after a step."""
        began = self._timer()
        found = await reading
        await asyncio.sleep(self._pace.rest * (self._timer() - began))
        return found

    async def one(self, step: Step[T], rows: int) -> tuple[T, int]:
        """Do one step.

        Args:
            rows: how many rows it may touch.

        Returns:
            what it did, and how many rows the next one may touch.
        """

        def timed(tx: Transaction) -> tuple[T, float]:
            began = self._timer()
            return step(tx, rows), self._timer() - began

        done, took = await self._in_turn(timed)
        return done, self._next(rows, took)

    async def within(self, step: Callable[[Transaction, IsOver], T]) -> T:
        """Do one step that ends by itself when its time is over; return what it did."""

        def limited(tx: Transaction) -> T:
            until = self._timer() + self._pace.seconds
            return step(tx, lambda: self._timer() >= until)

        return await self._in_turn(limited)

    async def _in_turn(self, operation: Operation[T]) -> T:
        """Do something after those who wait for the writer, and rest."""
        began = self._timer()
        for _ in range(_TURNS):  # who has come meanwhile need not wait for another step
            if not self._writer.waiting:
                break
            await asyncio.sleep(0)
        done = await self._writer.run(operation, off_loop=True)
        await asyncio.sleep(self._pace.rest * (self._timer() - began))
        if self._after is not None:
            await self._after()
        return done

    def _next(self, rows: int, took: float) -> int:
        fitting = self._pace.seconds / took if took > 0 else _FASTER
        rows = int(rows * min(max(fitting, _SLOWER), _FASTER))
        return min(max(rows, _LEAST), self._pace.most)


def _of(some: Sequence[int], operation: Callable[[Transaction, Sequence[int]], T]) -> Step[T]:
    return lambda tx, _: operation(tx, some)
