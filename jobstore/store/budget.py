"""How long a search may take."""

from collections.abc import Callable
from time import monotonic
from typing import Final

# How long a search takes at most before it gives what it has found, in seconds.
SEARCH_SECONDS: Final = 0.25


class TimeIsUp(Exception):
    """A search has used up its budget."""


class Budget:
    """The time of one search.

    The time does not count until `begin`: the first part of a search is small and always completed,
    so each search makes progress, however slow the disk.

    Args:
        seconds: how long it may take.
        clock: the monotonic time, in seconds.
    """

    def __init__(
        self, seconds: float = SEARCH_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._until: float | None = None

    def again(self) -> "Budget":
        """Return a budget of as much time, for a search that has to be repeated."""
        return Budget(self._seconds, self._clock)

    def begin(self) -> None:
        """Start counting the time."""
        if self._until is None:
            self._until = self._clock() + self._seconds

    def left(self) -> float | None:
        """Return how many seconds are left; None if they do not count yet.

        Raises:
            TimeIsUp: no time is left.
        """
        if self._until is None:
            return None
        left = self._until - self._clock()
        if left <= 0:
            raise TimeIsUp
        return left
