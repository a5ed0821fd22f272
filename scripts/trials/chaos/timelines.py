"""Whether what happened to a job could happen: its timeline, held against the lifecycle tables."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, TypeAlias

from jobstore.model.lifecycle import ENDED, INITIAL_RESULTS, JOB, RESULT, Result, State
from jobstore.model.lifecycle import Event as Step
from trials.chaos.evidence import Attempt, Event, Evidence, Job

# How an attempt ends that is not the last one.
_AGAIN: Final = ("recovered", "retried", "held")
# What is said of an attempt that was none, since its target was not reached, begins otherwise.
_ATTEMPT: Final = "attempt "
# What is said of a claim that a node has made without learning of it: no attempt has begun.
_NOT_BEGUN: Final = "it was claimed, and not begun"
_END: Final[Mapping[str, Step]] = {
    State.DONE: Step.FINISH,
    State.FAILED: Step.FAIL,
    State.CANCELLED: Step.CANCEL,
}
# Where a result stands, and whether its job has ended.
_Stand: TypeAlias = tuple[Result, bool]


@dataclass(frozen=True, slots=True)
class Story:
    """All that is known of what happened to a job.

    Args:
        job: how it stands.
        attempts: those that were not the last one, in order.
        events: what was out of the ordinary, in order.
    """

    job: Job
    attempts: Sequence[Attempt]
    events: Sequence[Event]


def stories(evidence: Evidence) -> Iterator[Story]:
    """Put together what is known of each job."""
    attempts: dict[int, list[Attempt]] = defaultdict(list)
    events: dict[int, list[Event]] = defaultdict(list)
    for attempt in evidence.attempts:
        attempts[attempt.job_id].append(attempt)
    for event in evidence.events:
        events[event.job_id].append(event)
    for job in evidence.jobs.values():
        yield Story(job, attempts[job.id], events[job.id])


def faults(story: Story) -> Iterator[str]:
    """Tell what cannot have happened to a job, by the tables."""
    if not _work_is_legal(story):
        yield f"the work of {story.job} cannot have gone like this: {_told(story)}"
    if not _result_is_legal(story):
        yield f"the result of {story.job} cannot have gone like this: {_told(story)}"


def disorder(story: Story) -> Iterator[str]:
    """Tell what happened to a job before something that it had to follow."""
    job = story.job
    moments: list[int | None] = [job.submitted_at]
    for attempt in story.attempts:
        moments += [attempt.started_at, attempt.ended_at]
    moments += [job.started_at, job.finished_at, job.fetched_at]
    # What is noted when a result is deleted that was fetched is older than its row.
    noted = [event.at for event in story.events if event.event != "fetched"]
    if not _is_ordered(moments) or not _is_ordered([job.submitted_at, *noted]):
        yield f"the times of {job} are not in order: {_told(story)}"


def _is_ordered(moments: Iterable[int | None]) -> bool:
    return all(one <= other for one, other in pairwise(at for at in moments if at is not None))


def _told(story: Story) -> str:
    return ", ".join([str(each) for each in (*story.attempts, *story.events)])


# --- the work -----------------------------------------------------------------------------------


def _work_is_legal(story: Story) -> bool:
    job, earlier = story.job, len(story.attempts)
    queued = [event for event in story.events if _queued_again(event)]
    again = [event for event in queued if event.event != "held" or _counted(event)]
    steps = [step for event in queued for step in (Step.CLAIM, _step_of(event.event))]
    if job.started_at is not None:
        steps.append(Step.CLAIM)
    if job.state in _END:
        gave_up = job.state == State.FAILED and job.started_at is None
        steps.append(Step.GIVE_UP if gave_up else _END[job.state])
    counted = [attempt.number for attempt in story.attempts] == list(range(1, len(again) + 1))
    claims = earlier + (job.started_at is not None)
    return counted and job.attempt == claims and _walked(steps) == job.state


def _queued_again(event: Event) -> bool:
    return event.event in _AGAIN and event.detail != _NOT_BEGUN


def _counted(event: Event) -> bool:
    return (event.detail or "").startswith(_ATTEMPT)


def _step_of(word: str) -> Step:
    return {"recovered": Step.RECOVER, "held": Step.HOLD}.get(word, Step.RETRY)


def _walked(steps: Iterable[Step]) -> State | None:
    """Follow the table from the beginning; None if it does not allow some step."""
    state: State | None = State.QUEUED
    for step in steps:
        state = JOB[step].get(state) if state else None
    return state


# --- the result ---------------------------------------------------------------------------------


def _result_is_legal(story: Story) -> bool:
    """Tell whether the tables allow a result to stand where it does.

    Some steps are not told: when the job ended among the others, and what was taken and given back.
    So all stands are followed at once that are possible.
    """
    stands = _untold({(result, False) for result in INITIAL_RESULTS}, story.job)
    for event in story.events:
        stands = _untold(
            {after for stand in stands for after in _told_step(event, stand)}, story.job
        )
    return (Result(story.job.result), story.job.state in ENDED) in stands


def _told_step(event: Event, stand: _Stand) -> Iterator[_Stand]:
    """Give where a result may stand after an event that was noted."""
    result, ended = stand
    match event.event:
        case "deleted":
            yield from _after(Step.DELETE, stand)
        case "expired":
            yield from _after(Step.EXPIRE, stand)
        case "restored":
            yield from _after(Step.RESTORE, stand)
        case "delivery broken" if ended:
            # What was not marked yet, was deleted or purged meanwhile stays where it is.
            yield stand
            yield from _after(Step.GIVE_BACK, stand)
        case "fetched" if result is Result.TAKEN:
            yield stand
        case word if word not in {"delivery broken", "fetched"}:
            yield stand


def _after(step: Step, stand: _Stand) -> Iterator[_Stand]:
    result, ended = stand
    if result in RESULT[step]:
        yield RESULT[step][result], ended


def _untold(stands: set[_Stand], job: Job) -> set[_Stand]:
    """Add the stands that may be reached by steps that leave no note."""
    found = set(stands)
    for result, ended in stands:
        if not ended and job.state in _END and result in RESULT[_END[job.state]]:
            found.add((RESULT[_END[job.state]][result], True))
    for stand in list(found):
        found.update(_after(Step.TAKE, stand))
    return found
