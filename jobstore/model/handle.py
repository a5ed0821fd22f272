"""The handle of a running job, for its handler."""

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
    """Return how many jobs led to one that is submitted here."""
    job = WORKING_FOR.get()
    return 0 if job is None or job.id is None else job.depth + 1


class Reporter(Protocol):
    """Where a handle's reports go."""

    def reported(self, handle: "JobHandle") -> None:
        """Note that progress or counters have changed."""

    def warned(self, report: Report) -> None:
        """Note a warning."""


class JobHandle:
    """The running job, as its handler sees it: report progress, and ask whether to go on.

    It may also be used from threads that the handler waits for.

    Attributes:
        id: the job's id, or None if the request is not a job.
        attempt: the number of this attempt, from 1.
        owner: the name of the job's owner.
        account: the account that the job belongs to.
        depth: how many jobs led to this one, each of which submitted the next.
        source: the address that the job was submitted from, or None.
    """

    __slots__ = (
        "_cancelled",
        "_counters",
        "_progress",
        "_reporter",
        "account",
        "attempt",
        "depth",
        "id",
        "owner",
        "source",
    )

    def __init__(
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

    @property
    def progress(self) -> float | None:
        """The last reported percentage, or None."""
        return self._progress

    @property
    def counters(self) -> Mapping[str, int]:
        """The counters reported so far."""
        return self._counters

    @property
    def cancelled(self) -> bool:
        """Whether the cancellation of the job was requested: stop soon, and return."""
        return self._cancelled

    def report(self, progress: float) -> None:
        """Report progress.

        Args:
            progress: percent, 0 to 100; other values are clamped.
        """
        self._progress = min(100.0, max(0.0, float(progress)))
        if self._reporter:
            self._reporter.reported(self)

    def count(self, name: str, amount: int = 1) -> None:
        """Add to one of the job's counters.

        Args:
            name: the counter, such as ``IMPORT_RECORDS``.
            amount: what to add; any kind of whole number.
        """
        name, amount = str(name), int(amount)  # NumPy's, for one, could not be stored
        with _COUNTING:  # several threads may work for one job
            self._counters = {**self._counters, name: self._counters.get(name, 0) + amount}
        if self._reporter:
            self._reporter.reported(self)

    def warn(self, message: str) -> None:
        """Add a warning to the job's history."""
        if self._reporter and self.id is not None:
            warning = Report(job_id=self.id, attempt=self.attempt, warnings=(str(message),))
            self._reporter.warned(warning)

    def snapshot(self) -> Report:
        """Return the progress and counters reported so far."""
        assert self.id is not None
        return Report(
            job_id=self.id,
            attempt=self.attempt,
            progress=self._progress,
            counters=self._counters,
        )

    def cancel(self) -> None:
        """Note that the cancellation of the job was requested."""
        self._cancelled = True


class AttemptHandle(JobHandle):
    """The same, as whoever sends the request and the target see it: handlers do not need the rest.

    Attributes:
        connecting: whether the request waits for a connection, so that nothing of it was sent.
        unrepeatable: whether the request must not be sent twice, whatever its method.
    """

    connecting = False
    unrepeatable = False
