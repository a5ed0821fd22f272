"""The one clock: UTC, in whole microseconds since 1970."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

SECOND: Final = 1_000_000

Clock = Callable[[], int]


def now() -> int:
    """Read the wall clock, in microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000


def iso(moment: int) -> str:
    """Write a moment, in microseconds since 1970, as ISO 8601 in UTC with milliseconds."""
    utc = datetime.fromtimestamp(moment / SECOND, UTC)
    return utc.isoformat(timespec="milliseconds").replace("+00:00", "Z")
