"""Who is waiting for a change of a job."""

import asyncio
from collections import defaultdict
from collections.abc import Collection
from types import TracebackType
from typing import Final, Self

from jobstore.live.ticks import Ticks
from jobstore.store.facts import CancelAsked, Changed, Ended, Started

_TICK: Final = 0.25  # seconds that one may wait longer, so that many share a timer


class Watch:
    """A waiter for changes of a job, while the context lasts.

    Ten thousand may wait at once, so that each is kept small.

    Args:
        others: all who wait for the same job's sake, by its id.
        ending: all whose time is over together, or None.

    Attributes:
        over: whether there is nothing more to wait for.
    """

    __slots__ = ("_changed", "_ending", "_job_id", "_others", "_waiting", "over")

    def __init__(
        self, others: dict[int, set["Watch"]], job_id: int, ending: set["Watch"] | None
    ) -> None:
        self.over = False
        self._others = others
        self._job_id = job_id
        self._ending = ending
        self._changed = False
        self._waiting: asyncio.Future[None] | None = None

    def __enter__(self) -> Self:
        """Begin to note changes."""
        self._others[self._job_id].add(self)
        if self._ending is not None:
            self._ending.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Note no changes any more."""
        of_job = self._others[self._job_id]
        of_job.discard(self)
        if self._ending is not None:
            self._ending.discard(self)
        if not of_job:
            del self._others[self._job_id]

    @property
    def limited(self) -> bool:
        """Whether there is a time when it is over."""
        return self._ending is not None

    def change(self) -> asyncio.Future[None]:
        """Give a future of the next change, or of one that has not been waited for yet."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._changed:
            self.tell()
        return self._waiting

    def tell(self) -> None:
        """Say that something has happened."""
        self._changed = self._waiting is None or self._waiting.done()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def end(self) -> None:
        """Say that there is nothing more to wait for."""
        self.over = True
        self.tell()


class Watchers:
    """Wake those who wait for a job when it changes.

    Attributes:
        dismissed: whether nobody shall wait any more.
    """

    def __init__(self) -> None:
        self._of: defaultdict[int, set[Watch]] = defaultdict(set)
        self._ending = Ticks(_TICK, Watch.end)
        self.dismissed = False

    def watching(self, job_id: int, seconds: float | None = None) -> Watch:
        """Watch a job.

        Args:
            seconds: after how long there is nothing more to wait for, or None for never.
        """
        watch = Watch(self._of, job_id, None if seconds is None else self._ending.after(seconds))
        watch.over = self.dismissed
        return watch

    def followers(self) -> tuple[int, int]:
        """Tell how many follow jobs for as long as they like, and how many for a while only."""
        patient = [watch.limited for of_job in self._of.values() for watch in of_job]
        return patient.count(False), patient.count(True)

    def count(self, job_id: int) -> int:
        """Tell how many watch a job."""
        return len(self._of.get(job_id, ()))

    @property
    def jobs(self) -> Collection[int]:
        """Which jobs are watched."""
        return self._of.keys()

    def dismiss(self) -> None:
        """Wake all waiters for good."""
        self.dismissed = True
        for watch in [watch for of_job in self._of.values() for watch in of_job]:
            watch.end()

    def tell_all(self) -> None:
        """Say that something has happened that may concern everybody."""
        for of_job in self._of.values():
            for watch in of_job:
                watch.tell()

    def tell(self, job_id: int) -> None:
        """Say that a job has changed, once that is on the disk."""
        for watch in self._of.get(job_id, ()):
            watch.tell()

    def changed(self, fact: Ended | Changed | CancelAsked) -> None:
        """Note that a job has changed."""
        if self._of:
            self.tell(fact.job_id)

    def started(self, fact: Started) -> None:
        """Note that a job runs."""
        if self._of:
            self.tell(fact.claim.job_id)
