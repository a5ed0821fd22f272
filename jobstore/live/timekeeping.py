"""Notice when the clock is set, and correct what was computed from it, as `clock` describes."""

import asyncio
import logging
from typing import Final

from jobstore.live.scheduling import Schedules
from jobstore.model.clock import SECOND, ClockWatch
from jobstore.store import claiming
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

# How long a clock that was set may go unnoticed, unless somebody is about to rely on it.
_LOOK_SECONDS: Final = 1.0

log = logging.getLogger(__name__)


class Timekeeping:
    """Keep stored waiting times in step with a clock that may be set.

    Args:
        watch: notices when the clock is set.
        schedules: the fire times of definitions.
    """

    def __init__(self, writer: Writer, watch: ClockWatch, schedules: Schedules) -> None:
        self._writer = writer
        self._watch = watch
        self._schedules = schedules

    async def begin(self) -> None:
        """Correct stored times at a start: the clock may have been set while no server was running.

        Raises:
            StoreError: it could not be written.
        """
        await self._writer.run(lambda tx: claiming.move_delayed(tx, 0), off_loop=True)

    async def run(self) -> None:
        """Check the clock now and then, until cancelled."""
        while True:
            self.check()
            await asyncio.sleep(_LOOK_SECONDS)

    def check(self) -> None:
        """Check the clock now, so that later writes are based on corrected times."""
        by = self._watch.set_by()
        if not by:
            return
        log.warning(
            "the clock was set %s by %.1f s",
            "forward" if by > 0 else "back",
            abs(by) / SECOND,
            extra={"action": "clock", "seconds": by / SECOND},
        )

        def move(tx: Transaction) -> None:
            claiming.move_delayed(tx, by)

        self._writer.queue(move, lambda outcome: self._moved(by, outcome.error))
        self._schedules.clock_was_set()

    def _moved(self, by: int, error: Exception | None) -> None:
        """Move stored times; if that cannot be written, try again at the next check."""
        if error is not None:
            log.warning("will try again: %s", error, extra={"action": "clock"})
            self._watch.overlook(by)

    def exaggeration(self, seconds: float) -> int:
        """Return by how many microseconds something may seem older than it is; see `ClockWatch`."""
        return self._watch.exaggeration(int(seconds * SECOND))
