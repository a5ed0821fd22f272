"""Shared timers: everything that is due at about the same time is woken by one of them.

A timer of the event loop costs several microseconds to create and cancel, and nearly all timers
are cancelled. An entry here costs one item in a set.
"""

import asyncio
import math
from collections.abc import Callable
from functools import lru_cache
from typing import Generic, TypeVar

T = TypeVar("T")


class Ticks(Generic[T]):
    """Call back when the time of an entry has come: never early, and at most a tick late.

    Args:
        least: the shortest tick, in seconds.
        over: called with each entry that is still there when its tick ends.
        part: the length of a tick as a fraction of an entry's waiting time; 0 for the shortest
            tick always. There are never many more pending ticks than one divided by this.
    """

    def __init__(self, least: float, over: Callable[[T], None], part: float = 0) -> None:
        self._least = least
        self._over = over
        self._part = part
        self._loop = asyncio.get_running_loop()
        self._due: dict[tuple[float, int], set[T]] = {}

    def after(self, seconds: float) -> set[T]:
        """Return the set of entries that are due after so many seconds.

        Entries put into it are called back then, unless they were removed before.
        """
        length = self._least
        if self._part:
            length = max(length, _rounded(seconds * self._part))
        tick = length, math.ceil((self._loop.time() + seconds) / length)
        due = self._due.get(tick)
        if due is None:
            due = self._due[tick] = set()
            self._loop.call_at(length * tick[1], self._end, tick)
        return due

    def _end(self, tick: tuple[float, int]) -> None:
        due = self._due.pop(tick)
        while due:
            self._over(due.pop())


@lru_cache  # nearly all wait for as long as others
def _rounded(seconds: float) -> float:
    """Round down to a power of two: few lengths, so that many share a timer."""
    _, exponent = math.frexp(seconds)
    return math.ldexp(0.5, exponent)
