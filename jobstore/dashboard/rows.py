"""Jobs as the rows of a list."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from jobstore.dashboard.acting import likely
from jobstore.model import words
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result, State
from jobstore.model.target_state import WaitReason

# A bar is that long, in pixels, for a job that took as many microseconds or more. They differ by
# powers of ten, and so do the bars: one for each second would show either nothing or the longest.
BAR: Final = 80
_SHORTEST: Final = SECOND // 1000
_LONGEST: Final = 3600 * SECOND

_WAITING: Final[Mapping[WaitReason, str]] = {
    WaitReason.SLOT: "waits for a slot",
    WaitReason.TIME: "waits for its time",
    WaitReason.JOB: "waits for another job",
    WaitReason.PAUSED: "waits: its target is paused",
    WaitReason.HELD: "waits: its target cannot be reached",
}


@frozen(kw_only=True)
class JobRow:
    """A job in a list.

    Args:
        took: how long it ran or has been running, in microseconds; None if it has not begun.
        bar: the length of the bar for that, in pixels.
        tone: the bar's colour: done, fail, cancel or run.
        note: what is unusual about it, in a few words, or "".
        wrong: whether the note says what went wrong.
    """

    job: Job
    took: int | None
    bar: int
    tone: str
    note: str
    wrong: bool

    @property
    def path(self) -> str:
        """The path of its request, without a query."""
        return self.job.path.partition("?")[0]

    @property
    def query(self) -> str:
        """The query, with its question mark."""
        return self.job.path[len(self.path) :]

    @property
    def can(self) -> str:
        """The actions that its states allow, separated by spaces."""
        return " ".join(likely(self.job))

    @property
    def result(self) -> str:
        """The state of its result; "" before there can be one."""
        return "" if self.job.result is Result.NONE else self.job.result


def rows(
    jobs: Sequence[Job],
    now: int,
    waits_for: Callable[[Job], WaitReason | None],
    askers: Mapping[int, str],
) -> list[JobRow]:
    """Return jobs as rows.

    Args:
        now: in microseconds since 1970.
        waits_for: returns what a queued job waits for.
        askers: who requested the cancellation, by job.
    """
    return [_row(job, now, waits_for(job), askers.get(job.id)) for job in jobs]


def _row(job: Job, now: int, waits: WaitReason | None, asker: str | None) -> JobRow:
    took = took_of(job, now)
    return JobRow(
        job=job,
        took=took,
        bar=0 if took is None else bar_of(took),
        tone=tone_of(job),
        note=_note(job, now, waits, asker),
        wrong=tone_of(job) == "fail",
    )


def took_of(job: Job, now: int) -> int | None:
    """Return how long the last attempt at a job ran or has been running, in microseconds."""
    if job.started_at is None or job.state is State.QUEUED:
        return None
    return max(0, (job.finished_at or now) - job.started_at)


def bar_of(took: int) -> int:
    """Return the length of the bar for a duration."""
    share = math.log(max(took, _SHORTEST) / _SHORTEST) / math.log(_LONGEST / _SHORTEST)
    return max(2, round(BAR * min(share, 1)))


def tone_of(job: Job) -> str:
    """Return the colour of a job's outcome."""
    match job.state:
        case State.DONE:
            return "done" if job.succeeded else "fail"
        case State.FAILED:
            return "fail"
        case State.CANCELLED:
            return "cancel"
        case State.RUNNING:
            return "run"
        case State.QUEUED:
            return "wait"


def _note(job: Job, now: int, waits: WaitReason | None, asker: str | None) -> str:
    match job.state:
        case State.QUEUED:
            return waiting(job, now, waits)
        case State.RUNNING:
            return "is being cancelled" if job.cancel_asked_at is not None else ""
        case State.FAILED:
            return job.detail or ""
        case State.CANCELLED:
            return f"by {asker}" if asker else job.detail or ""
        case State.DONE:
            return "" if job.succeeded else f"answered {words.status_line(job.status or 0)}"


def waiting(job: Job, now: int, waits: WaitReason | None) -> str:
    """Return what a job waits for, in a few words."""
    if job.follows is not None:
        return f"waits for job {job.follows}"
    if waits is WaitReason.TIME and job.not_before is not None:
        again = "again " if job.retried else "runs "
        return again + words.relative(job.not_before, now)
    return _WAITING.get(waits, "") if waits is not None else ""
