"""The one clock: UTC, in whole microseconds since 1970."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

SECOND: Final = 1_000_000

# How long a clock that was set may go unnoticed.
_LOOK_SECONDS: Final = 10.0

Clock = Callable[[], int]


def now() -> int:
    """Read the wall clock, in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000


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
