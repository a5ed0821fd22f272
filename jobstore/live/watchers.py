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

    Ten thousand may wait at once, so each is kept small.

    Args:
        others: all waiters for the same job, by its id.
        ending: the waiters whose time ends together, or None.

    Attributes:
        over: whether waiting has ended.
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
        """Stop noting changes."""
        of_job = self._others[self._job_id]
        of_job.discard(self)
        if self._ending is not None:
            self._ending.discard(self)
        if not of_job:
            del self._others[self._job_id]

    @property
    def limited(self) -> bool:
        """Whether it waits for a limited time."""
        return self._ending is not None

    def change(self) -> asyncio.Future[None]:
        """Return a future of the next change, or of one that nobody has waited for yet."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._changed:
            self.tell()
        return self._waiting

    def tell(self) -> None:
        """Report a change."""
        self._changed = self._waiting is None or self._waiting.done()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def end(self) -> None:
        """End the waiting."""
        self.over = True
        self.tell()


class Watchers:
    """Wake those who wait for a job when it changes.

    Attributes:
        dismissed: whether waiting has ended for everybody.
    """

    def __init__(self) -> None:
        self._of: defaultdict[int, set[Watch]] = defaultdict(set)
        self._ending = Ticks(_TICK, Watch.end)
        self.dismissed = False

    def watching(self, job_id: int, seconds: float | None = None) -> Watch:
        """Watch a job.

        Args:
            seconds: how long to wait at most, or None for no limit.
        """
        watch = Watch(self._of, job_id, None if seconds is None else self._ending.after(seconds))
        watch.over = self.dismissed
        return watch

    def followers(self) -> tuple[int, int]:
        """Return how many clients follow jobs without a time limit, and how many with one."""
        patient = [watch.limited for of_job in self._of.values() for watch in of_job]
        return patient.count(False), patient.count(True)

    def count(self, job_id: int) -> int:
        """Return how many watch a job."""
        return len(self._of.get(job_id, ()))

    @property
    def jobs(self) -> Collection[int]:
        """The watched jobs."""
        return self._of.keys()

    def dismiss(self) -> None:
        """Wake all waiters for good."""
        self.dismissed = True
        for watch in [watch for of_job in self._of.values() for watch in of_job]:
            watch.end()

    def tell_all(self) -> None:
        """Report a change that may concern everybody."""
        for of_job in self._of.values():
            for watch in of_job:
                watch.tell()

    def tell(self, job_id: int) -> None:
        """Report a change of a job, once it is on the disk."""
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
