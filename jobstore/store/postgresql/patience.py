"""How long a database may be silent until a connection is given up."""

import asyncio
import select
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from jobstore.store.postgresql.link import Link

# For how long a database may be silent until it counts as away, in seconds.
PATIENCE: Final = 5.0
# What part of its patience somebody keeps for what is asked last: however late that begins, the
# database gets so long to answer it.
LAST: Final = 0.1
# Up to what part of it a database may be silent. The rest is for what is asked when it answers in
# the last moment, and for what follows then: all together does not take longer.
_SILENT: Final = 1 - 2 * LAST
# How many seconds the loop has to take what is there already.
TO_LISTEN: Final = 0.5
# When a timer is so many seconds late, something else has held the loop up.
_LATE: Final = 0.1


def seconds_left(patience: float, began: float, now: float) -> float:
    """Return how long somebody still waits for a database, in seconds.

    Args:
        patience: how long they wait in all.
        began: when they began, by the clock that says what is now.
    """
    return max(began + _SILENT * patience - now, LAST * patience)


@contextmanager
def impatient(
    link: Link, seconds: Callable[[], float], heard_at: Callable[[], float] = lambda: 0.0
) -> Iterator["Patience"]:
    """Close a connection on which nothing was received for too long.

    Its socket is shut down, so that those who wait for an answer learn of it: to cancel them would
    send a message to the database, and wait for that.

    Args:
        link: the connection.
        seconds: tells how long it may be silent from now on.
        heard_at: tells when somebody else has heard something, by the monotonic clock.
    """
    patience = Patience(link, seconds, heard_at)
    try:
        yield patience
    finally:
        patience.timer.cancel()


class Patience:
    """That of one who waits for answers on a connection; see `impatient`.

    Attributes:
        is_over: whether the connection was closed, since the database was silent.
    """

    def __init__(
        self, link: Link, seconds: Callable[[], float], heard_at: Callable[[], float]
    ) -> None:
        self.is_over = self._was_late = False
        self._link = link
        self._seconds = seconds
        self._heard_at = heard_at
        self.timer = self._begin()

    @property
    def was_late(self) -> bool:
        """Whether the loop was held up, so that the connection was not closed in time."""
        late = asyncio.get_running_loop().time() - self.timer.when()
        return not self.is_over and (self._was_late or late > _LATE)

    def renew(self) -> None:
        """Start the wait again, since something was received."""
        self.timer.cancel()
        self.timer = self._begin()

    def _begin(self, seconds: float | None = None) -> asyncio.TimerHandle:
        seconds = self._seconds() if seconds is None else seconds
        return asyncio.get_running_loop().call_later(seconds, self._end)

    def _end(self) -> None:
        """Close the connection, unless the loop had no time to read from it."""
        late = asyncio.get_running_loop().time() - self.timer.when()
        silent = time.monotonic() - self._heard_at()
        if silent < (most := self._seconds()):  # somebody else was answered
            self.timer = self._begin(most - silent)
            return
        with suppress(OSError, psycopg.Error):
            waiting, _, _ = select.select([self._link.fileno()], [], [], 0)
            if waiting or late > _LATE:
                self._was_late = True
                self.timer = self._begin(TO_LISTEN)
            else:
                self.is_over = True
                self._link.break_off()
