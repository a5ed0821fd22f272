"""The vocabulary of targets at run time: what operators set, and what servers find out."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from jobstore.model.clock import iso
from jobstore.model.job import Job
from jobstore.model.lifecycle import State


class WaitReason(StrEnum):
    """What a queued job waits for."""

    SLOT = "slot"  # of its target
    TIME = "time"
    JOB = "job"  # which has to succeed first
    PAUSED = "paused"  # its target is paused by an operator
    HELD = "held"  # its target cannot be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """The stored settings of a target; times in microseconds since 1970.

    Args:
        name: the path that it owns with everything below it.
        paused_at: since when none of its jobs is started, or None.
        paused_by: who said so.
        reason: why, in their words.
        concurrency: how many of its jobs may run at once, in place of what the configuration says.
    """

    name: str
    paused_at: int | None = None
    paused_by: str | None = None
    reason: str | None = None
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetChange:
    """A change of a target.

    Args:
        paused: whether it shall be paused, or None to leave that.
        reason: why, or None if nobody says.
        sizes: whether ``concurrency`` is said at all.
        concurrency: how many of its jobs may run at once; None is what the configuration says.
    """

    paused: bool | None = None
    reason: str | None = None
    sizes: bool = False
    concurrency: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """That a target cannot be reached.

    Args:
        since: since when, in microseconds since 1970.
        why: what kept the last connection from being made.
    """

    since: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSeen:
    """The state of a target, for display.

    Args:
        concurrency: how many of its jobs may run at once.
        configured: how many the configuration says, or None if no server has said so.
        running: how many run.
        waiting: how many of its jobs wait for a slot.
        state: what operators have said.
        hold: that it cannot be reached, or None.
    """

    name: str
    concurrency: int | None
    configured: int | None
    running: int
    waiting: int
    state: TargetState
    hold: Hold | None = None


def described(target: TargetSeen) -> dict[str, Any]:
    """Describe the state of a target in JSON; missing values are null."""
    state, hold = target.state, target.hold
    return {
        "name": target.name,
        "concurrency": target.concurrency,
        "concurrency_from": "configuration" if state.concurrency is None else "store",
        "configured": target.configured,
        "running": target.running,
        "waiting": target.waiting,
        "paused": state.paused_at is not None,
        "paused_at": None if state.paused_at is None else iso(state.paused_at),
        "paused_by": state.paused_by,
        "reason": state.reason,
        "held": hold is not None,
        "held_at": None if hold is None else iso(hold.since),
        "held_why": None if hold is None else hold.why,
    }


def waits_for(
    job: Job, states: Mapping[str, TargetState], held: Collection[str]
) -> WaitReason | None:
    """Tell what a job waits for that has not begun; None if it has.

    Args:
        states: what operators have said, by the targets' names.
        held: the targets that cannot be reached.
    """
    if job.state is not State.QUEUED:
        return None
    if job.follows is not None:
        return WaitReason.JOB
    if job.not_before is not None:
        return WaitReason.TIME
    state = states.get(job.target)
    if state is not None and state.paused_at is not None:
        return WaitReason.PAUSED
    return WaitReason.HELD if job.target in held else WaitReason.SLOT
