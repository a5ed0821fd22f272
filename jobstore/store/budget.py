"""How long a search may take."""

from collections.abc import Callable
from time import monotonic
from typing import Final

# How long a search takes at most before it gives what it has found, in seconds.
SEARCH_SECONDS: Final = 0.25


class TimeIsUp(Exception):
    """A search has used its budget up, or was stopped when it had."""


class Budget:
    """The time of one search.

    Until `begin` it does not count: what a search does first is small, and always done to its end,
    so that each search gets on, however slow the disk.

    Args:
        seconds: how long it may take.
        clock: what time it is, in seconds from anywhere.
    """

    def __init__(
        self, seconds: float = SEARCH_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._until = clock() + seconds
        self._counts = False

    def begin(self) -> None:
        """Let the time count from now on."""
        self._counts = True

    def left(self) -> float | None:
        """Tell how many seconds are left; None if they do not count yet.

        Raises:
            TimeIsUp: none are.
        """
        if not self._counts:
            return None
        left = self._until - self._clock()
        if left <= 0:
            raise TimeIsUp
        return left
