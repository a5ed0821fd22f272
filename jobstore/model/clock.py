"""The one clock: UTC, in whole microseconds since 1970.

It may be set while a server runs: by hand, by NTP after a start with a wrong clock, by a virtual
machine that goes on. What the store makes of that:

* A time that somebody named (``not_before``, ``Retry-After`` with a date) stays that time.
* A wait of a given length (``delay``, the pause before another attempt) stays as long as it is: the
  time at which it ends is moved with the clock. If nobody watched the clock being set, since the
  server was down, a wait begins again at most: it never takes longer than from now on.
* Schedules go by the clock as it is now; `schedule.reconsidered` says what that means.
* Results do not get older because the clock is put forward: for as long as a result is kept, what
  ended before that is kept by its true age. If the clock is put back, they are kept longer by that,
  but times more than a day ahead of the clock are taken for now.
* Whatever is only measured goes by a clock that nobody sets: time limits, long polls, logins.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

SECOND: Final = 1_000_000

# How long a clock that was set may go unnoticed.
_LOOK_SECONDS: Final = 10.0

# A clock that is set by less is not told from one that is steered: chrony steers by up to 8 %.
NOTICED: Final = SECOND
# Between two looks at two clocks the machine may do something else; such looks are repeated.
_BRIEF: Final = SECOND // 100
_LOOKS: Final = 5
_REMEMBERED: Final = 64

Clock = Callable[[], int]


def now() -> int:
    """Read the wall clock, in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000


# Linux has one that goes on while the machine sleeps, as the wall clock does.
_STEADY: Final[int] = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def steady() -> int:
    """Read a clock that nobody sets, in microseconds from anywhere."""
    return time.clock_gettime_ns(_STEADY) // 1000


class ClockWatch:
    """Notice that the wall clock was set, by holding it against one that nobody sets.

    Args:
        wall: microseconds since 1970.
        steady: microseconds from anywhere.
    """

    def __init__(self, wall: Clock = now, steady: Clock = steady) -> None:
        self._wall = wall
        self._steady = steady
        self._ahead = self._measured()
        self._settings: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def set_by(self) -> int:
        """Tell by how many microseconds the wall clock was set since the last look; 0 if not."""
        ahead = self._measured()
        by, self._ahead = ahead - self._ahead, ahead
        if abs(by) < NOTICED:
            return 0
        self._settings.append((self._steady(), by))
        return by

    def overlook(self, by: int) -> None:
        """Let what was noticed last be noticed again: nothing could be done about it."""
        self._settings.pop()
        self._ahead -= by

    def exaggeration(self, age: int) -> int:
        """Tell by how much something may seem older than it is, that is not older than an age.

        Args:
            age: in microseconds, as the answer.
        """
        most = total = 0
        for at, by in reversed(self._settings):
            if self._steady() - at >= age:
                break
            total += by
            most = max(most, total)
        return most

    def _measured(self) -> int:
        for _ in range(_LOOKS):
            before = self._steady()
            ahead = self._wall() - before
            if self._steady() - before < _BRIEF:
                break
        return ahead


class Alarm:
    """Wait for a moment, which may be brought forward meanwhile.

    Args:
        clock: what time it is. It may be set at any time, so that it is looked at now and then.
    """

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._at: int | None = None
        self._brought_forward = asyncio.Event()

    def set(self, at: int | None) -> None:
        """Have it go off at a moment, unless it will before; None is never."""
        if at is not None and (self._at is None or at < self._at):
            self._at = at
            self._brought_forward.set()

    async def wait(self) -> None:
        """Wait until it goes off; then it is not set any more."""
        while self._at is None or (left := self._at - self._clock()) > 0:
            self._brought_forward.clear()
            seconds = None if self._at is None else min(left / SECOND, _LOOK_SECONDS)
            try:
                async with asyncio.timeout(seconds):
                    await self._brought_forward.wait()
            except TimeoutError:
                pass
        self._at = None


def iso(moment: int) -> str:
    """Write a moment, in microseconds since 1970, as ISO 8601 in UTC with milliseconds."""
    utc = datetime.fromtimestamp(moment / SECOND, UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
