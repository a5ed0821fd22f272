"""The trace that a request belongs to, as the W3C has it: https://www.w3.org/TR/trace-context/."""

import re
from typing import Final

from jobstore.model.message import Headers, header

TRACEPARENT: Final = "traceparent"
# Version, trace, span and flags, and in a later version more. Neither id is all zeros.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)


def trace_of(headers: Headers) -> str | None:
    """Return the id of the trace that a request belongs to; None if it names none."""
    value = header(headers, TRACEPARENT)
    match = _TRACEPARENT.fullmatch(value.strip()) if value else None
    return match[1] if match else None
