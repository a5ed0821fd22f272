"""Starts of servers, as people and programs look at them."""

from dataclasses import dataclass
from enum import StrEnum


class StartState(StrEnum):
    """The state of a start's process."""

    ALIVE = "alive"
    SILENT = "silent"  # it was not seen for a whole lease, and nobody has ended its start so far
    ENDED = "ended"
    DIED = "died"


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One start of a server, which is a node if several share the store.

    Args:
        boot: its number.
        name: what the node is called, or "".
        host: the machine that it runs on.
        started_at: by its own clock, in microseconds since 1970.
        seen_at: when it was seen last, in microseconds since 1970; None if nobody can tell.
        ended_at: when it ended, or was declared dead, or None.
    """

    boot: int
    name: str
    host: str
    pid: int
    version: str
    started_at: int
    seen_at: int | None
    ended_at: int | None
    state: StartState
