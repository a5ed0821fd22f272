"""What happened to a job, in sentences: its state and why, and what came before and after."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

from jobstore.dashboard.rows import took_of
from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Dialect, Failure, Job, Moment
from jobstore.model.lifecycle import Result, State
from jobstore.model.target_state import TargetSeen, WaitReason
from jobstore.model.waiting_words import why_it_waits
from jobstore.store.events import RETRY_OF

_DIALECTS: Final[Mapping[Dialect, str]] = {
    Dialect.ARANGO: "ArangoDB's API",
    Dialect.KINETICA: "Kinetica's API",
    Dialect.DATAMEER: "Datameer's API",
    Dialect.NATIVE: "jobstore's own API",
}
_ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth")
_MOST_TOLD: Final = 3  # of the earlier attempts


@frozen(kw_only=True)
class KnownJob:
    """A job, with related facts.

    Args:
        waits: what it waits for, if it is queued.
        target: the state of its target, if it is queued and that may be shown.
        asker: who requested its cancellation.
        now: in microseconds since 1970.
    """

    job: Job
    attempts: Sequence[Attempt]
    timeline: Sequence[Moment]
    waits: WaitReason | None
    target: TargetSeen | None
    asker: str | None
    now: int


@frozen(kw_only=True)
class Story:
    """Sentences about a job.

    Args:
        first: its state, and why.
        more: the other sentences, in order.
    """

    first: str
    more: Sequence[str]


def told(known: KnownJob) -> Story:
    """Return what happened to a job."""
    more = [*_earlier(known), _submitted(known), *_asked_to_stop(known), *_after(known)]
    return Story(first=_stands(known), more=more)


def sentence(text: str) -> str:
    """Return words as a sentence, with a capital letter and a full stop."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


# --- how it stands ------------------------------------------------------------------------------


def _stands(known: KnownJob) -> str:
    job = known.job
    took = took_of(job, known.now)
    lasting = "" if took is None else words.duration(took)
    match job.state:
        case State.QUEUED:
            return why_it_waits(job, known.waits, known.target, known.now)
        case State.RUNNING:
            progress = "" if job.progress is None else f" and is {job.progress:g} % done"
            return f"It has been running for {lasting}{_which(job)}{progress}."
        case State.DONE:
            status = job.status or 0
            error = "" if job.succeeded else "with an error, "
            what = f"{error}{words.status_line(status)}, after {lasting}{_which(job)}"
            return f"The target {job.target} answered {what}."
        case State.FAILED:
            which = "" if job.failure is Failure.INTERRUPTED else _which(job)  # it says so itself
            return sentence(job.failing + which)
        case State.CANCELLED:
            by = f" by {known.asker}" if known.asker else ""
            ran = f" after it had run for {lasting}" if lasting else " before it ran"
            return _unless_said(job, f"Cancelled{by}{ran}.")


def _unless_said(job: Job, otherwise: str) -> str:
    """Return why a job was cancelled, unless somebody requested it."""
    return sentence(job.detail) if job.detail and job.cancel_asked_at is None else otherwise


def _which(job: Job) -> str:
    """Return which attempt it was, if there were several."""
    return f", at the {_ordinal(job.attempt)} attempt" if job.attempt > 1 else ""


def _ordinal(number: int) -> str:
    if number <= len(_ORDINALS):
        return _ORDINALS[number - 1]
    ending = "th" if number % 100 // 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


# --- before and after ---------------------------------------------------------------------------


def _earlier(known: KnownJob) -> Iterator[str]:
    """Describe the earlier attempts, the latest first."""
    job = known.job
    ended = [each for each in known.attempts if each.ended_at is not None]
    earlier = ended if job.state is State.QUEUED else ended[:-1]
    if job.state is State.RUNNING:
        earlier = ended
    alike = [list(each) for _, each in groupby(reversed(earlier), key=_became)]
    for attempts in alike[:_MOST_TOLD]:
        yield _said_of(attempts)
    left = sum(map(len, alike[_MOST_TOLD:]))
    if left:
        yield f"{words.plural(left, 'attempt')} before that failed as well."


def _said_of(attempts: Sequence[Attempt]) -> str:
    """Describe attempts that ended alike, the latest first."""
    last, first = attempts[0].number, attempts[-1].number
    why = _became(attempts[0])
    if attempts[0].failure is Failure.INTERRUPTED and attempts[0].detail:  # it says itself which
        return sentence(why)
    which = f"Attempt {last}" if last == first else f"Attempts {first} to {last}"
    return f"{which}: {why}."


def _became(attempt: Attempt) -> str:
    if attempt.failure is None and attempt.status is not None:
        return f"answered {words.status_line(attempt.status)}"
    return (attempt.detail or attempt.failure or "interrupted").rstrip(".")


def _submitted(known: KnownJob) -> str:
    job = known.job
    who = f"{job.owner} submitted it" if job.owner else "It was submitted"
    run = ", as a run of a definition" if job.definition is not None else ""
    when = words.relative(job.submitted_at, known.now)
    for moment in known.timeline:
        if moment.event == RETRY_OF and moment.detail:
            return f"It was submitted {when} as a retry of {moment.detail}."
    return f"{who} {when} through {_DIALECTS[job.dialect]}{run}."


def _asked_to_stop(known: KnownJob) -> Iterator[str]:
    asked = known.job.cancel_asked_at
    if asked is not None and known.job.state is State.RUNNING:
        who = known.asker or "Somebody"
        yield f"{who} requested its cancellation {words.relative(asked, known.now)}."


def _after(known: KnownJob) -> Iterator[str]:
    """Describe what happened to the result."""
    job, now = known.job, known.now
    match job.result:
        case Result.NONE:
            return
        case Result.HELD:
            lasting = words.roughly(now - (job.finished_at or now))
            status = f" ({job.status})" if job.status is not None else ""
            yield f"Its response{status} is held: it has waited {lasting} for its reader."
        case Result.TAKEN:
            fetched = f" {words.relative(job.fetched_at, now)}" if job.fetched_at else ""
            yield f"Its result was fetched{fetched}."
        case Result.DELETED:
            yield "Its result was deleted."
        case Result.EXPIRED:
            yield "Its result has expired: nobody fetched it in time."
        case Result.UNWANTED:
            yield "Its result was not kept: the job was submitted without keeping it."
