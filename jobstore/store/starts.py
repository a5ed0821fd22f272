"""Starts of servers, as people and programs look at them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import bindparam, select

from jobstore.store import schema
from jobstore.store.expressions import Statement
from jobstore.store.guards import ZERO, limit

_boot: Final = schema.BOOT.c

# The newest starts of the one server of a file.
STARTS: Final = Statement(
    select(_boot.id, _boot.pid, _boot.version, _boot.started_at, _boot.ended_at)
    .where(_boot.id <= bindparam("last"))
    .order_by(_boot.id.desc())
    .limit(limit)
    .offset(ZERO)
)


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


def of_file(row: Sequence[Any], last: int) -> Start:
    """Give the start in a row of `STARTS`.

    Args:
        last: the number of the start of the server that runs.
    """
    boot, pid, version, started_at, ended_at = row
    if ended_at is not None:
        state = StartState.ENDED
    else:
        state = StartState.ALIVE if boot == last else StartState.DIED
    return Start(
        boot=boot,
        name="",
        host="",
        pid=pid,
        version=version,
        started_at=started_at,
        seen_at=None,
        ended_at=ended_at,
        state=state,
    )
