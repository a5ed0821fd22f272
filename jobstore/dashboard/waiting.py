"""Why a queued job waits, in a sentence: the same on its page and on the command line."""

from typing import Final

from jobstore.dashboard import words
from jobstore.model.job import Job
from jobstore.model.target_state import MOST_WAITING, TargetSeen, WaitReason

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


def _paused(target: TargetSeen | None, now: int) -> str:
    if target is None or target.state.paused_at is None:
        return "is paused"
    by = f" by {target.state.paused_by}" if target.state.paused_by else ""
    since = words.relative(target.state.paused_at, now)
    return f"was paused{by} {since}{_because(target.state.reason)}"


def _held(target: TargetSeen | None, now: int) -> str:
    if target is None or target.hold is None:
        return "cannot be reached"
    lasting = words.roughly(now - target.hold.since)
    return f"has been unreachable for {lasting}{_because(target.hold.why)}"


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
