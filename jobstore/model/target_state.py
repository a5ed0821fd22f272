"""The words of targets at run time: what operators say of them, and what servers find."""

from dataclasses import dataclass
from enum import StrEnum


class Waits(StrEnum):
    """What a queued job waits for."""

    SLOT = "slot"  # of its target
    TIME = "time"
    JOB = "job"  # which has to succeed first
    PAUSED = "paused"  # its target is paused by an operator
    HELD = "held"  # its target cannot be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What operators have said of a target, and is kept; times in microseconds since 1970.

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
    """What shall be different of a target.

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
    """A target as it stands, for whoever looks.

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
