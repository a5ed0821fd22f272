"""Whether this process is alive: its event loop turns, and its writer commits.

Neither is guessed. The loop is measured by the delay of a timer; the writer by an empty operation
that takes the same path as all others, through the queue and the thread into a commit. A hanging
disk, a lock that is not released, or a thread that is stuck all keep it from completing.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from jobstore.model.errors import StoreError
from jobstore.store.transaction import Outcome
from jobstore.store.writer import Writer, nothing

# How often the loop shows that it turns, and the writer that it commits, in seconds.
BEAT: Final = 0.25
WRITER_BEAT: Final = 2.0
# For how long the worst delay of the loop is remembered.
REMEMBERED: Final = 15.0


class Pulse:
    """The signs of life of a running server.

    Attributes:
        beating: called at each beat.
    """

    def __init__(self, writer: Writer) -> None:
        self.beating: Callable[[], None] = _nothing
        self._writer = writer
        self._asked = False
        self._lags: deque[tuple[float, float]] = deque()
        self._committed_at = asyncio.get_running_loop().time()
        self._asked_at = self._committed_at

    async def run(self) -> None:
        """Watch until cancelled."""
        loop = asyncio.get_running_loop()
        self._committed_at = loop.time()
        while True:
            due = loop.time() + BEAT
            await asyncio.sleep(BEAT)
            now = loop.time()
            self.beating()
            self._lags.append((now, max(0.0, now - due)))
            while self._lags[0][0] < now - REMEMBERED:
                self._lags.popleft()
            if not self._asked and now >= self._asked_at + WRITER_BEAT:
                self.ask()

    def ask(self) -> None:
        """Check that the writer commits."""
        self._asked, self._asked_at = True, asyncio.get_running_loop().time()
        self._writer.queue(nothing, self._told)

    async def beat(self) -> None:
        """Send an empty operation through the writer.

        It also returns if the writer reports an error, such as a full disk: a writer that answers
        is alive.
        """
        with suppress(StoreError):
            await self._writer.run(nothing)

    def _told(self, outcome: Outcome) -> None:
        self._asked = False
        if outcome.error is None:
            self._committed_at = asyncio.get_running_loop().time()

    @property
    def silent(self) -> float:
        """How many seconds the writer has failed to commit anything."""
        return asyncio.get_running_loop().time() - self._committed_at

    @property
    def lag(self) -> float:
        """The longest recent delay of the event loop, in seconds."""
        return max((lag for _, lag in self._lags), default=0.0)


def _nothing() -> None:
    """Count nothing."""
