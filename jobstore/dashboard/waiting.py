"""Why a queued job waits, in a sentence: the same on its page and on the command line."""

from typing import Final

from jobstore.dashboard import words
from jobstore.model.job import Job
from jobstore.model.target_state import TargetSeen, WaitReason

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
            return f"It waits because its target {job.target} {_held(target, now)}."
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


def _taken(target: TargetSeen | None) -> str:
    if target is None or target.concurrency is None:
        return ""
    taken = f": {target.running:,} of {target.concurrency:,} are taken"
    others = target.waiting - 1
    return f"{taken}, with {words.plural(others, 'other job')} waiting" if others > 0 else taken


def _because(reason: str | None) -> str:
    return f": {reason.rstrip('.')}" if reason else ""
