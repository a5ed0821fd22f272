"""Times in requests."""

import re
from datetime import datetime

from jobstore.model.clock import SECOND


def zoned(value: object) -> datetime:
    """Read a time in ISO 8601 with its time zone.

    Raises:
        ValueError: it is invalid.
    """
    if not isinstance(value, str) or not re.match("[0-9]{4}-", value):
        raise ValueError
    time = datetime.fromisoformat(value)
    if time.tzinfo is None:
        raise ValueError
    return time


def microseconds(time: datetime) -> int:
    """Return the microseconds since 1970."""
    return round(time.timestamp() * SECOND)
