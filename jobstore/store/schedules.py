"""Schedules of definitions: each function is one step of a transaction."""

import logging
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import and_, bindparam, null, select, tuple_, update

from jobstore.model.definition import Definition
from jobstore.model.frozen import frozen
from jobstore.model.schedule import reconsidered
from jobstore.store import definitions, schema
from jobstore.store.definitions import decoded, row_id
from jobstore.store.expressions import Statement
from jobstore.store.guards import ONE, ZERO, limit, now
from jobstore.store.transaction import Transaction

log = logging.getLogger(__name__)

_definition: Final = schema.DEFINITION.c
_job: Final = schema.JOB.c
_this: Final = and_(_definition.id == bindparam("definition"), _definition.deleted_at.is_(None))
# In order of time, so that what has to wait is passed over.
FIRING: Final = Statement(
    select(*definitions.COLUMNS)
    .where(
        _definition.fires_at <= now,
        tuple_(_definition.fires_at, _definition.id)
        > tuple_(bindparam("after_at"), bindparam("after_id")),
    )
    .order_by(_definition.fires_at, _definition.id)
    .limit(limit)
    .offset(ZERO)
)
NEXT_FIRING: Final = Statement(
    select(_definition.fires_at)
    .where(_definition.fires_at > now)
    .order_by(_definition.fires_at)
    .limit(ONE)
    .offset(ZERO)
)
# Guarded by the fire time: only one of several nodes moves on from it.
FIRE: Final = Statement(
    update(schema.DEFINITION)
    .where(_this, _definition.fires_at == bindparam("due"))
    .values(fires_at=bindparam("next_at"))
    .returning(_definition.id)
)
# The schedules of an account run no more.
PAUSE_ALL: Final = Statement(
    update(schema.DEFINITION)
    .where(
        _definition.fires_at.is_not(None),
        _definition.account == bindparam("of_account"),
    )
    .values(paused=ONE, fires_at=null(), changed_at=now)
    .returning(_definition.id)
)
# What will never fire again is paused, so that people see it, and may mend it.
PAUSE: Final = Statement(update(schema.DEFINITION).where(_this).values(paused=ONE, fires_at=null()))
# Schedules by the id of their definition, so that none is left out whose time changes meanwhile.
SCHEDULED: Final = Statement(
    select(*definitions.COLUMNS)
    .where(_definition.fires_at > now, _definition.id > bindparam("after"))
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)
OLDEST_UNENDED: Final = Statement(
    select(_job.id, _job.submitted_at)
    .where(
        _job.definition == bindparam("definition"),
        _job.finished_at.is_(None),
    )
    .order_by(_job.id)
    .limit(ONE)
    .offset(ZERO)
)

# How many definitions one step may look at: it stalls nobody for longer than a few milliseconds.
STEP: Final = 10
# How many jobs it may submit.
AT_ONCE: Final = 50
# Where a walk through what is due has come to: a fire time and the id of its definition.
Place: TypeAlias = tuple[int, int]
BEGINNING: Final[Place] = (-1, 0)


@frozen(kw_only=True)
class Moved:
    """A schedule whose stored fire time has changed, since the clock was set.

    Args:
        definition: the definition as it was before.
        fires_at: when it fires now.
    """

    definition: Definition
    fires_at: int


def due(tx: Transaction, place: Place) -> list[Definition]:
    """Return some due definitions, in order; pause those that cannot be read."""
    while True:
        at, after = place
        rows = tx.execute(FIRING, now=tx.now, after_at=at, after_id=after, limit=STEP).fetchall()
        due = [definition for row in rows if (definition := _understood(tx, row)) is not None]
        if due or not rows:
            return due


def reconsider(tx: Transaction, after: int) -> tuple[list[Moved], int | None]:
    """Correct the fire times of some definitions; return them, and the last id or None."""
    rows = tx.execute(SCHEDULED, now=tx.now, after=after, limit=AT_ONCE).fetchall()
    moved = []
    for row in rows:
        definition = _understood(tx, row)
        if definition is None:
            continue
        fires_at, schedule = definition.fires_at, definition.draft.schedule
        assert fires_at is not None
        assert schedule is not None
        right = reconsidered(schedule, fires_at, tx.now)
        if right != fires_at and move_on(tx, definition.id, fires_at, right):
            moved.append(Moved(definition=definition, fires_at=right))
    return moved, row_id(rows[-1]) if rows else None


def _understood(tx: Transaction, row: Sequence[Any]) -> Definition | None:
    """Return the definition in a row; pause it if the row cannot be read."""
    try:
        definition = decoded(row)
    except ValueError as senseless:
        tx.execute(PAUSE, definition=row_id(row))
        log.warning(
            "definition %d was paused: its stored schedule is invalid: %s",
            row_id(row),
            senseless,
            extra={"action": "fire", "definition": row_id(row)},
        )
        return None
    if definition.draft.schedule is None:  # a row that somebody has written by hand
        tx.execute(PAUSE, definition=definition.id)
        return None
    return definition


def oldest_unended(tx: Transaction, definition: int) -> tuple[int | None, int | None]:
    """Find the oldest run of a definition that has not ended, and when it was submitted."""
    row = tx.execute(OLDEST_UNENDED, definition=definition).fetchone()
    return (None, None) if row is None else (row[0], row[1])


def move_on(tx: Transaction, definition: int, due: int, next_at: int | None) -> bool:
    """Set a definition's next fire time; return False if somebody else did so first."""
    row = tx.execute(FIRE, definition=definition, due=due, next_at=next_at).fetchone()
    return row is not None
