"""The one clock: UTC, in whole microseconds since 1970.

It may be set while a server runs: by hand, by NTP after a start with a wrong clock, or when a
virtual machine resumes. The store handles that as follows:

* A time that was given as a time (``not_before``, ``Retry-After`` with a date) does not change.
* A wait of a given length (``delay``, the pause before another attempt) keeps its length: the
  time at which it ends is moved with the clock. If the clock was set while the server was down, a
  wait may start over, but never takes longer than its full length from now.
* Schedules follow the clock as it is now; see `schedule.reconsidered`.
* Results do not age when the clock is set forward: a result that was held before that is kept by
  its true age. If the clock is set back, results are kept longer by that amount, but times more
  than a day ahead of the clock count as now.
* Whatever is only measured uses a monotonic clock: time limits, long polls, logins, and how fast
  owners submit.
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
    """Read a monotonic clock, in microseconds since an arbitrary point."""
    return time.clock_gettime_ns(_STEADY) // 1000


class ClockWatch:
    """Notice when the wall clock is set, by comparing it with a monotonic clock.

    Args:
        wall: microseconds since 1970.
        steady: microseconds since an arbitrary point, never set.

    Attributes:
        steady: the same clock.
    """

    def __init__(self, wall: Clock = now, steady: Clock = steady) -> None:
        self._wall = wall
        self.steady = steady
        self._ahead = self._measured()
        self._settings: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)

    def set_by(self) -> int:
        """Return by how many microseconds the wall clock was set since the last call, or 0."""
        ahead = self._measured()
        by, self._ahead = ahead - self._ahead, ahead
        if abs(by) < NOTICED:
            return 0
        self._settings.append((self.steady(), by))
        return by

    def overlook(self, by: int) -> None:
        """Forget the last observation, so that it is reported again: it could not be acted on."""
        self._settings.pop()
        self._ahead -= by

    def exaggeration(self, age: int) -> int:
        """Return by how much something may seem older than it is, that is not older than an age.

        Args:
            age: in microseconds, as the answer.
        """
        most = total = 0
        for at, by in reversed(self._settings):
            if self.steady() - at >= age:
                break
            total += by
            most = max(most, total)
        return most

    def _measured(self) -> int:
        for _ in range(_LOOKS):
            before = self.steady()
            ahead = self._wall() - before
            if self.steady() - before < _BRIEF:
                break
        return ahead


class Alarm:
    """Wait until a given time, which may be moved forward meanwhile.

    Args:
        clock: the current time. It may be set at any time, so it is read again now and then.
    """

    def __init__(self, clock: Clock = now) -> None:
        self._clock = clock
        self._at: int | None = None
        self._brought_forward = asyncio.Event()

    def set(self, at: int | None) -> None:
        """Set it to go off at a time, unless it goes off earlier; None means never."""
        if at is not None and (self._at is None or at < self._at):
            self._at = at
            self._brought_forward.set()

    async def wait(self) -> None:
        """Wait until it goes off, and unset it."""
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
