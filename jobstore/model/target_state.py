"""Targets at run time: what operators set, and what servers observe."""

from collections.abc import Collection, Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any, Final

from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import State

# How many other jobs that wait for a target are counted where one of them is described.
MOST_WAITING: Final = 1_000
# The target of jobs that call jobstore's own APIs.
OWN_CALLS: Final = "/_api/job"


class WaitReason(StrEnum):
    """What a queued job waits for."""

    SLOT = "slot"  # of its target
    TIME = "time"
    JOB = "job"  # which has to succeed first
    PAUSED = "paused"  # its target is paused by an operator
    HELD = "held"  # its target cannot be reached


@frozen(kw_only=True)
class TargetState:
    """The stored settings of a target; times in microseconds since 1970.

    Args:
        name: its prefix.
        paused_at: since when it has been paused, or None.
        paused_by: who paused it.
        reason: why, in their words.
        concurrency: how many of its jobs may run at once, in place of what the configuration says.
    """

    name: str
    paused_at: int | None = None
    paused_by: str | None = None
    reason: str | None = None
    concurrency: int | None = None


@frozen(kw_only=True)
class TargetChange:
    """A change of a target.

    Args:
        paused: whether to pause it; None leaves it as it is.
        reason: why, or None if not given.
        sizes: whether ``concurrency`` is given.
        concurrency: how many of its jobs may run at once; None means the configured number.
    """

    paused: bool | None = None
    reason: str | None = None
    sizes: bool = False
    concurrency: int | None = None


@frozen(kw_only=True)
class Hold:
    """A hold of a target that cannot be reached.

    Args:
        since: since when, in microseconds since 1970.
        why: why the last connection failed.
        until: when jobs fail that have waited since then; None if they never do, or if only a
            server knows that keeps it to itself.
        limit: for how long a job may wait that came later, in microseconds.
    """

    since: int
    why: str
    until: int | None = field(default=None, compare=False)  # which a pause moves
    limit: int = field(default=0, compare=False)

    def fails_at(self, submitted_at: int) -> int | None:
        """Return the earliest time at which a job fails; None if that is not known."""
        return None if self.until is None else max(self.until, submitted_at + self.limit)


@frozen(kw_only=True)
class ClosedTarget:
    """A target that starts no jobs at a server.

    Args:
        since: since when, in microseconds since 1970.
        why: the reason that was given for the pause, or why the last connection failed; "" if
            none was given.
        paused_by: who paused it; None if it cannot be reached.
        until: when the first jobs fail that wait; None if none does, or that is not known.
    """

    name: str
    since: int
    why: str
    paused_by: str | None = None
    until: int | None = None


@frozen(kw_only=True)
class TargetSeen:
    """The state of a target, for display.

    Args:
        concurrency: how many of its jobs may run at once.
        configured: the configured number, or None if no server has stored it.
        running: how many run.
        waiting: how many of its jobs wait for a slot.
        state: what operators have set.
        hold: set while it cannot be reached, or None.
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
    """Return what a queued job waits for; None if it is not queued.

    Args:
        states: what operators have set, by the targets' names.
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
