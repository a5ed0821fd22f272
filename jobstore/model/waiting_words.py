"""Why queued jobs wait, in sentences: the same on pages and on the command line."""

from typing import Final

from jobstore.model import words
from jobstore.model.job import Job
from jobstore.model.target_state import MOST_WAITING, ClosedTarget, TargetSeen, WaitReason

# The reasons for which the state of the job's target says more.
OF_TARGET: Final = frozenset({WaitReason.SLOT, WaitReason.PAUSED, WaitReason.HELD})


def why_it_waits(job: Job, reason: WaitReason | None, target: TargetSeen | None, now: int) -> str:
    """Say why a queued job waits.

    Args:
        reason: what it waits for.
        target: the state of its target; None if it is unknown, or not for this reader.
        now: in microseconds since 1970.
    """
    match reason:
        case WaitReason.JOB:
            return f"It waits until job {job.follows} has succeeded."
        case WaitReason.TIME:
            again = "It will be retried" if job.retried else "It will run"
            return f"{again} {words.relative(job.not_before or now, now)}."
        case WaitReason.PAUSED:
            return f"It waits because its target {job.target} {_paused(target, now)}."
        case WaitReason.HELD:
            why = f"It waits because its target {job.target} {_held(target, now)}."
            return why + _fails(job, target, now)
        case WaitReason.SLOT:
            return f"It waits for a slot of {job.target}{_taken(target)}."
        case None:
            return "It waits."


def why_closed(target: ClosedTarget, now: int) -> str:
    """Say why the jobs of a target wait, after its name.

    Args:
        now: in microseconds since 1970.
    """
    if target.paused_by is not None:
        told = _was_paused(target.paused_by, target.since, target.why, now)
    else:
        told = _unreachable(target.since, target.why, now)
    fail = f" {when_jobs_fail(target.until, now)}" if target.until else ""
    return f"{told}. Its jobs wait.{fail}"


def when_jobs_fail(until: int, now: int) -> str:
    """Say when the jobs fail that wait for a target that cannot be reached."""
    return f"If it is not back, its jobs fail from {words.soon(until, now)} on."


def _paused(target: TargetSeen | None, now: int) -> str:
    state = None if target is None else target.state
    if state is None or state.paused_at is None:
        return "is paused"
    return _was_paused(state.paused_by, state.paused_at, state.reason, now)


def _was_paused(by: str | None, since: int, reason: str | None, now: int) -> str:
    whose = f" by {by}" if by else ""
    return f"was paused{whose} {words.relative(since, now)}{_because(reason)}"


def _held(target: TargetSeen | None, now: int) -> str:
    if target is None or target.hold is None:
        return "cannot be reached"
    return _unreachable(target.hold.since, target.hold.why, now)


def _unreachable(since: int, why: str, now: int) -> str:
    return f"has been unreachable for {words.roughly(now - since)}{_because(why)}"


def _fails(job: Job, target: TargetSeen | None, now: int) -> str:
    """Say when the job fails, if its wait is limited and that is known."""
    hold = None if target is None else target.hold
    fails = None if hold is None else hold.fails_at(job.submitted_at)
    if fails is None:
        return ""
    return f" If it is not back, the job fails at {words.soon(fails, now)} at the earliest."


def _taken(target: TargetSeen | None) -> str:
    if target is None or target.concurrency is None:
        return ""
    taken = f": {target.running:,} of {target.concurrency:,} are taken"
    others = target.waiting - 1
    if others < 1:
        return taken
    more = "more than " if target.waiting > MOST_WAITING else ""
    number = words.plural(min(others, MOST_WAITING), "other job")
    return f"{taken}, with {more}{number} waiting"


def _because(reason: str | None) -> str:
    return f": {reason.rstrip('.')}" if reason else ""
