"""How long a request has waited for the database already: what it asks next shares its patience."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf
from typing import Final

# A database that answers within so many seconds is there: what was waited for before is forgotten.
PROMPT: Final = 1.0


@dataclass(slots=True)
class Waits:
    """What somebody has waited for a database that is slow, or away.

    Args:
        seconds: the waits that followed one another directly, in all.
        ended_at: when the last one ended, by the monotonic clock.
    """

    seconds: float = 0.0
    ended_at: float = -inf

    def note(self, began: float) -> None:
        """Note a wait that ends now.

        Args:
            began: by the monotonic clock.
        """
        took = time.monotonic() - began
        self.note_all(0.0 if took < PROMPT else self.before(began) + took)

    def note_all(self, seconds: float) -> None:
        """Note how many seconds were waited in all, up to now."""
        self.seconds, self.ended_at = seconds, time.monotonic()

    def before(self, now: float) -> float:
        """Return how long was waited directly before, in seconds."""
        return self.seconds if now - self.ended_at < PROMPT else 0.0


_WAITS: Final[ContextVar[Waits | None]] = ContextVar("waits", default=None)


def begin() -> None:
    """Begin a request, which has not waited for anything."""
    _WAITS.set(Waits())


def of_request() -> Waits | None:
    """Return the waits of the request for which something is done; None if it is for none."""
    return _WAITS.get()


@contextmanager
def waiting() -> Iterator[float]:
    """Wait for the database while the context lasts.

    Yields:
        when the waiting began, with the waits directly before, by the monotonic clock.
    """
    began, waits = time.monotonic(), _WAITS.get()
    try:
        yield began - waits.before(began) if waits else began
    finally:
        if waits:
            waits.note(began)
