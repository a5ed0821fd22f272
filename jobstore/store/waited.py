"""How long a request has waited for the database already: what it asks next shares its patience."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

# A database that answers within so many seconds is there: nobody has waited for it.
PROMPT: Final = 1.0


@dataclass(slots=True)
class Waits:
    """What somebody has waited for a database that is slow, or away.

    It is forgotten as time goes by without such a wait, a second in each second. So all operations
    of a request share one patience, however many they are, and one that takes hours meets each
    absence of the database with all its patience.

    Args:
        until: when all is forgotten, by the monotonic clock.
    """

    until: float = 0.0

    def note(self, took: float, before: float) -> None:
        """Note a wait that ends now.

        Args:
            took: how long, in seconds.
            before: what had been waited when it began, in seconds.
        """
        if took >= PROMPT:
            self.until = max(self.until, time.monotonic() + before + took)

    def before(self, now: float) -> float:
        """Return how long was waited before, in seconds, as far as it is not forgotten."""
        return self.until - now if self.until > now else 0.0


_WAITS: Final[ContextVar[Waits | None]] = ContextVar("waits", default=None)


def begin() -> Waits:
    """Begin a request, which has not waited for anything."""
    waits = Waits()
    _WAITS.set(waits)
    return waits


def go_on(waits: Waits) -> None:
    """Go on in this context with a request that has begun in another one."""
    _WAITS.set(waits)


def of_request() -> Waits | None:
    """Return the waits of the request for which something is done; None if it is for none."""
    return _WAITS.get()


@contextmanager
def waiting() -> Iterator[float]:
    """Wait for the database while the context lasts.

    Yields:
        when the waiting began, with the waits before, by the monotonic clock.
    """
    began, waits = time.monotonic(), _WAITS.get()
    before = waits.before(began) if waits else 0.0
    try:
        yield began - before
    finally:
        if waits:
            waits.note(time.monotonic() - began, before)
