"""How a job spent its time, as consecutive spans."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Job, Moment
from jobstore.model.lifecycle import State
from jobstore.model.retry import asked_for

_MOST_ROWS: Final = 14
# What a pause is called in which something happened, and what is said of it.
_PAUSES: Final[Mapping[str, tuple[str, str]]] = {
    "held": ("held", ", its target could not be reached"),
    "recovered": ("restart", ", the server was started again"),
}


@frozen(kw_only=True)
class SpanRow:
    """A row of the drawing.

    Args:
        name: its name.
        kind: its colour: wait, fail, done, run or cancel.
        start: when it began, in microseconds since 1970.
        end: when it ended.
        label: the text beside it.
        attempt: whether it is an attempt.
    """

    name: str
    kind: str
    start: int
    end: int
    label: str
    attempt: bool = False

    @property
    def length(self) -> int:
        """How long it is."""
        return self.end - self.start


def spans(
    job: Job, attempts: Sequence[Attempt], timeline: Sequence[Moment], now: int
) -> list[SpanRow]:
    """Return how a job spent its time, in order.

    Args:
        now: in microseconds since 1970.
    """
    found = [*_spans(job, attempts, timeline, now)]
    if len(found) <= _MOST_ROWS:
        return found
    left_out = found[2 : len(found) - _MOST_ROWS + 3]
    between = SpanRow(
        name="…",
        kind="wait",
        start=left_out[0].start,
        end=left_out[-1].end,
        label=f"{words.plural(sum(each.attempt for each in left_out), 'attempt')} more",
    )
    return [*found[:2], between, *found[2 + len(left_out) :]]


def _spans(
    job: Job, attempts: Sequence[Attempt], timeline: Sequence[Moment], now: int
) -> Iterator[SpanRow]:
    free, before = job.submitted_at, None
    for attempt in attempts:
        yield _pause(free, attempt.started_at, timeline, before)
        yield _attempt(job, attempt, now)
        free, before = attempt.ended_at or now, attempt
    if job.state is State.QUEUED:
        end = now if job.not_before is None else max(now, job.not_before)
        yield _pause(free, end, timeline, before)
    elif not attempts and job.finished_at is not None:
        yield _pause(free, job.finished_at, timeline, before)


def _pause(start: int, end: int, timeline: Sequence[Moment], before: Attempt | None) -> SpanRow:
    """Describe a pause: by the history of that time, or else as waiting for the next attempt."""
    name, why = ("waiting", "") if before is None else ("backoff", _asked(before))
    within = {each.event for each in timeline if start <= each.at <= end}
    for event, (named, because) in _PAUSES.items():
        if event in within:
            name, why = named, because
    label = words.duration(end - start) + why
    return SpanRow(name=name, kind="wait", start=start, end=end, label=label)


def _asked(attempt: Attempt) -> str:
    """Say that the target of an attempt asked for the pause after it, if it did."""
    asked = asked_for(attempt.detail)
    return f" ({asked})" if asked else ""


def _attempt(job: Job, attempt: Attempt, now: int) -> SpanRow:
    end = attempt.ended_at or now
    kind, became = _became(job, attempt)
    return SpanRow(
        name=f"attempt {attempt.number}",
        kind=kind,
        start=attempt.started_at,
        end=end,
        label=f"{became} {words.duration(end - attempt.started_at)}",
        attempt=True,
    )


def _became(job: Job, attempt: Attempt) -> tuple[str, str]:
    """Return the colour of an attempt, and what became of it."""
    last = attempt.number == job.attempt and job.state is not State.QUEUED
    if attempt.ended_at is None:
        return "run", "has been running for"
    if last and job.state is State.CANCELLED:
        return "cancel", "cancelled after"
    if attempt.failure is not None:
        return "fail", f"{attempt.failure} after"
    answered = f"{attempt.status or 'interrupted'} after"
    return "done" if last and job.succeeded else "fail", answered
