"""What a handler sees of the job it works for."""

from collections.abc import Mapping
from contextvars import ContextVar
from threading import Lock
from typing import Final, Protocol

from jobstore.model.account import NOBODY
from jobstore.model.job import Report

# The job that this code works for: what it submits has come from there.
WORKING_FOR: Final[ContextVar["JobHandle | None"]] = ContextVar("jobstore.job", default=None)


_COUNTING: Final = Lock()


def depth_here() -> int:
    """Tell how many jobs made one another before one that is submitted here and now."""
    job = WORKING_FOR.get()
    return 0 if job is None or job.id is None else job.depth + 1


class Reporter(Protocol):
    """Where a handle's reports go."""

    def reported(self, handle: "JobHandle") -> None:
        """Note that progress or counters have changed."""

    def warned(self, report: Report) -> None:
        """Note a warning."""


class JobHandle:
    """The running job, as its handler sees it: report on it, and ask whether to go on.

    Threads that the handler has put to work may do so as well.

    A request that is answered at once has a handle too: its reports go nowhere.

    Args:
        id: the job's id, or None if the request is no job.
        attempt: which attempt at the job this is, from 1.
        reporter: where reports go.
        owner: whose job it is.
        account: to which it belongs.
        depth: how many jobs made one another before it.
        source: the address that the request came from, or None if it came over no network.

    Attributes:
        connecting: whether its request waits for a connection, so that nothing of it was sent.
    """

    __slots__ = (
        "_cancelled",
        "_counters",
        "_progress",
        "_reporter",
        "account",
        "attempt",
        "connecting",
        "depth",
        "id",
        "owner",
        "source",
    )

    def __init__(  # noqa: PLR0913, PLR0917 - what a handler may know of its job
        self,
        job_id: int | None = None,
        attempt: int = 0,
        reporter: Reporter | None = None,
        owner: str = "",
        account: int = NOBODY,
        depth: int = 0,
        source: str | None = None,
    ) -> None:
        self.id = job_id
        self.attempt = attempt
        self.owner = owner
        self.account = account
        self.depth = depth
        self.source = source
        self._reporter = reporter
        self._progress: float | None = None
        self._counters: dict[str, int] = {}
        self._cancelled = False
        self.connecting = False

    @property
    def progress(self) -> float | None:
        """The percentage reported last, or None."""
        return self._progress

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters reported so far."""
        return self._counters

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the job's cancellation."""
        return self._cancelled

    def report(self, progress: float) -> None:
        """Report how far the work is.

        Args:
            progress: percent, 0 to 100; a value outside is taken as the nearest one inside.
        """
        self._progress = min(100.0, max(0.0, float(progress)))
        if self._reporter:
            self._reporter.reported(self)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the job's counters.

        Args:
            name: the counter, such as ``IMPORT_RECORDS``.
            amount: what to add.
        """
        with _COUNTING:  # several threads may work for one job
            self._counters = {**self._counters, name: self._counters.get(name, 0) + amount}
        if self._reporter:
            self._reporter.reported(self)

    def warn(self, message: str) -> None:
        """Report something that the reader of the history should know."""
        if self._reporter and self.id is not None:
            warning = Report(job_id=self.id, attempt=self.attempt, warnings=(message,))
            self._reporter.warned(warning)

    def snapshot(self) -> Report:
        """Say what has been reported so far of progress and counters."""
        assert self.id is not None
        return Report(
            job_id=self.id,
            attempt=self.attempt,
            progress=self._progress,
            counters=self._counters,
        )

    def cancel(self) -> None:
        """Note that somebody asked for the job's cancellation."""
        self._cancelled = True
