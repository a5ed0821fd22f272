"""What the demo understands of a query: how long it takes, and what it returns."""

import json
import re
import sys
from typing import Any, Final

NUMBER: Final = r"(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"
_TIMED: Final = re.compile(
    r"\bFOR\s+\w+\s+IN\s+(?P<first>-?\d{1,15})\s*\.\.\s*(?P<last>-?\d{1,15})\b"
    rf"|\bSLEEP\s*\(\s*(?P<sleep>{NUMBER})\s*\)",
    re.ASCII | re.IGNORECASE,
)
_LAST_RETURN: Final = re.compile(r".*\bRETURN\b(?P<value>.*)", re.DOTALL | re.IGNORECASE)


def query_seconds(query: str) -> float:
    """Return how many seconds a query's calls of ``sleep`` take.

    It understands ``sleep(x)`` with a number and ``FOR v IN a..b`` with whole numbers: a call
    happens once for every row of the ranges before it. Everything else takes no time and removes no
    row; in particular, filters, subqueries, comments and quotation marks are ignored.
    """
    rows, seconds = 1.0, 0.0
    for found in _TIMED.finditer(query):
        if found["sleep"]:
            seconds += rows * float(found["sleep"])
        else:
            size = abs(int(found["last"]) - int(found["first"])) + 1
            rows = min(rows * size, sys.float_info.max)  # infinity times sleep(0) is no number
    return seconds


def query_result(query: str) -> list[Any]:
    """Return the single row of a query that ends in ``RETURN`` and a JSON literal, else no row."""
    found = _LAST_RETURN.match(query)
    if found is None:
        return []
    try:
        value = json.loads(found["value"])
        json.dumps(value, allow_nan=False)  # loads takes NaN and 1e999, which JSON cannot say
    except (ValueError, RecursionError):
        return []
    return [value]
