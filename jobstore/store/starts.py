"""Starts of servers, as people and programs look at them."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Text, bindparam, literal_column, null, select

from jobstore.model.frozen import frozen
from jobstore.store import schema
from jobstore.store.expressions import Statement
from jobstore.store.guards import ZERO, limit

_boot: Final = schema.BOOT.c

_NAMELESS: Final = literal_column("''", Text)

# The newest starts of the one server of a file, in the columns that `started` reads.
STARTS: Final = Statement(
    select(
        _boot.id,
        _NAMELESS,
        _NAMELESS,
        _boot.pid,
        _boot.version,
        _boot.started_at,
        null(),
        _boot.ended_at,
    )
    .where(_boot.id <= bindparam("last"))
    .order_by(_boot.id.desc())
    .limit(limit)
    .offset(ZERO)
)


class StartState(StrEnum):
    """The state of a start's process."""

    ALIVE = "alive"
    SILENT = "silent"  # not seen for a whole lease, and not declared dead yet
    ENDED = "ended"
    DIED = "died"


@frozen(kw_only=True)
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
    """Return the start in a row of `STARTS`.

    Args:
        last: the number of the start of the server that runs.
    """
    if row[-1] is not None:
        return started(row, StartState.ENDED)
    return started(row, StartState.ALIVE if row[0] == last else StartState.DIED)


def started(row: Sequence[Any], state: StartState) -> Start:
    """Return the start in a row of its columns, with either engine."""
    boot, name, host, pid, version, started_at, seen_at, ended_at = row
    return Start(
        boot=boot,
        name=name,
        host=host,
        pid=pid,
        version=version,
        started_at=started_at,
        seen_at=seen_at or None,
        ended_at=ended_at,
        state=state,
    )
