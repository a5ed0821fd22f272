"""How long a batch may take: it has the patience of those who have waited for it the longest."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from jobstore.store import waited
from jobstore.store.postgresql.patience import LAST, seconds_left
from jobstore.store.writer import Entry

# What part of the patience is left when a silent connection is broken off: for a new one, on which
# the batch is tried once more, or the witness asked.
_OF_NEW_LINK: Final = 0.2
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
            entry.before = entry.waits.before(time.monotonic())

    def begin(self, batch: Sequence[Entry]) -> None:
        """Begin with a batch."""
        self._began = self._clock()
        self._came = min(each.came - each.before for each in batch)
        self._until = self._began + seconds_left(self.seconds, self._came, self._began)

    def end(self, batch: Sequence[Entry]) -> None:
        """Note how long the requests have waited for whose operations there are outcomes."""
        now = self._clock()
        if now - self._came < waited.PROMPT:  # as nearly always
            return
        for entry in batch:
            if entry.waits is not None:
                entry.waits.note(now - entry.came, entry.before)

    def forgive(self) -> None:
        """Ensure that some time is left, since the loop was held up, and not by the database."""
        self._until = max(self._until, self._clock() + LAST * self.seconds)

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
        return max(self.left - _OF_NEW_LINK * self.seconds, LAST * self.seconds)

    def of_witness(self, least: float = 0.0) -> Callable[[], float]:
        """Return what tells how many seconds are left for the witness.

        Args:
            least: what part of the patience it has at least, however long the batch has taken.
        """
        until = max(self._until, self._clock() + least * self.seconds)
        return lambda: until - self._clock()
