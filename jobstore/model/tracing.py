"""The trace that a request belongs to: https://www.w3.org/TR/trace-context/."""

import re
from collections.abc import Iterable
from typing import Final

from jobstore.model.message import Headers, header

TRACEPARENT: Final = "traceparent"
# What says where a request stands in a trace: https://www.w3.org/TR/baggage/ has the last one.
CONTEXT: Final = frozenset({TRACEPARENT, "tracestate", "baggage"})
# Version, trace, span and flags, and in a later version more. Neither id is all zeros.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def trace_of(headers: Headers) -> str | None:
    """Return the id of the trace that a request belongs to; None if it names none."""
    value = header(headers, TRACEPARENT)
    match = _TRACEPARENT.fullmatch(value.strip()) if value else None
    return match[1] if match else None


def context_of(fields: Iterable[tuple[str, str]]) -> Headers:
    """Return the trace context fields of a request, as received."""
    return tuple((name, value) for name, value in fields if name.lower() in CONTEXT)


def continued(headers: Headers, asking: Iterable[tuple[str, str]]) -> Headers:
    """Return the headers of a request that was caused by another one, with the trace of that one.

    Args:
        headers: its own headers; if they name a trace, they are returned unchanged.
        asking: the trace context fields of the request that caused it.
    """
    if any(name.lower() == TRACEPARENT for name, _ in headers):
        return headers
    return (*headers, *context_of(asking))
