"""How long a batch may take: it has the patience of those who have waited for it the longest."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from jobstore.store import waited
from jobstore.store.postgresql.patience import LAST, seconds_left
from jobstore.store.writer import Entry

# What part of the patience a batch may take until the connection is broken off: the rest is for
# the witness.
_OF_BATCH: Final = 0.7
# And what part of it goes by until a batch takes in no further operations.
_OF_OPERATIONS: Final = 0.3


class BatchPatience:
    """The patience with one batch after the other.

    Args:
        seconds: how long anybody waits for a database that is away.
        clock: a monotonic clock, in seconds; None for the process's own.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] | None = None) -> None:
        self.seconds = seconds
        self._clock = clock or time.monotonic
        self._came = self._began = self._until = 0.0

    def note_arrival(self, entry: Entry) -> None:
        """Note when somebody began to wait for an operation, or for what was asked before it."""
        entry.came, entry.waits = self._clock(), waited.of_request()
        if entry.waits is not None:
            entry.came -= entry.waits.before(time.monotonic())

    def begin(self, batch: Sequence[Entry]) -> None:
        """Begin with a batch."""
        self._began = self._clock()
        self._came = min(each.came for each in batch)
        self._until = self._began + seconds_left(self.seconds, self._came, self._began)

    def end(self, batch: Sequence[Entry]) -> None:
        """Note how long the requests have waited for whose operations there are outcomes."""
        now = self._clock()
        if now - self._came < waited.PROMPT:  # as nearly always
            return
        for entry in batch:
            if entry.waits is not None:
                entry.waits.note_all(now - entry.came)

    def extend(self) -> None:
        """Ensure that some time is left, however long the batch has taken.

        The delay may not be the database's: nothing is read while the loop is blocked.
        """
        rest = (1 - _OF_BATCH) * self.seconds
        self._until = max(self._until, self._clock() + rest)

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return self._until - self._clock()

    @property
    def takes_long(self) -> bool:
        """Whether the rest of a batch has to wait for the next one."""
        return self._clock() - self._began > _OF_OPERATIONS * self.seconds

    def silence(self) -> float:
        """Return for how many seconds the database may say nothing from now on."""
        most = _OF_BATCH * self.seconds
        rest = self.left - (self.seconds - most)
        return max(min(most, rest), LAST * self.seconds)

    def of_witness(self, seconds: float) -> Callable[[], float]:
        """Return what tells how many seconds the witness still has, of so many from now on."""
        until = self._clock() + seconds
        return lambda: until - self._clock()
