"""Starts of nodes; see `jobstore.store.postgresql.node_writer` for the meaning of their rows."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    bindparam,
    column,
    func,
    insert,
    literal_column,
    null,
    select,
    table,
    text,
    update,
)

from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Replay
from jobstore.model.lifecycle import Event, State
from jobstore.store import events, schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import NUMBER, Statement, constant, listed, number
from jobstore.store.facts import Ready
from jobstore.store.guards import ONE, in_state, job_event, limit, now, own_boot
from jobstore.store.transaction import Transaction

# For how long the jobs of a target wait for a node that asks it, when the last one has ended.
GONE: Final = 600 * SECOND
# By the one clock that all nodes share.
CLOCK: Final = literal_column(
    "CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT)", NUMBER
)

_boot: Final = schema.BOOT.c
_job: Final = schema.JOB.c
_this: Final = _boot.id == number("boot")
_alive: Final = _boot.ended_at.is_(None)
BEGIN: Final = Statement(
    insert(schema.BOOT)
    .values(
        started_at=now,
        pid=bindparam("pid"),
        version=bindparam("version"),
        name=bindparam("name"),
        targets=bindparam("targets"),
        host=bindparam("host"),
        seen_at=CLOCK,
    )
    .returning(_boot.id)
)
FENCE: Final = Statement(
    update(schema.BOOT)
    .where(_this, _alive)
    .values(batch=number("batch"), seen_at=CLOCK)
    .returning(_boot.id)
)
# It waits for the session that broke in its commit, if the server still has it.
WITNESS: Final = Statement(select(_boot.batch).where(_this).with_for_update())
ALIVE: Final = Statement(select(_boot.id, _boot.batch).where(_alive, _boot.id != own_boot))
# Who has been here all the time, and who is called the same.
OTHERS: Final = Statement(select(_boot.id, _boot.name, _boot.started_at).where(_alive))
DIED: Final = Statement(
    update(schema.BOOT)
    .where(
        _boot.id.in_(
            select(_boot.id)
            .where(_this, _alive, _boot.batch == number("batch"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(ended_at=now, died=ONE)
)
SERVE: Final = Statement(
    update(schema.BOOT)
    .where(_boot.id == own_boot)
    .values(targets=bindparam("targets"), delivering=bindparam("delivering"))
)
SERVED: Final = Statement(
    select(_boot.targets).where(
        _boot.id != own_boot, func.coalesce(_boot.ended_at, now) > now - number("gone")
    )
)
# The newest starts of nodes, and what time it is there.
LATEST: Final = Statement(
    select(
        _boot.id,
        _boot.name,
        _boot.host,
        _boot.pid,
        _boot.version,
        _boot.started_at,
        _boot.seen_at,
        _boot.ended_at,
        _boot.died,
        CLOCK,
    )
    .order_by(_boot.id.desc())
    .limit(limit)
)
# For how long a batch that has begun already is waited for.
PATIENTLY: Final = Statement(text("SET LOCAL lock_timeout TO '10s'"))
# Whoever changes a row of a start waits for the end of the transaction.
KEEP_OUT: Final = Statement(text("LOCK TABLE boot IN SHARE ROW EXCLUSIVE MODE"))
CLAIMED: Final = Statement(
    select(_job.id, _job.cancel_asked_at).where(_job.boot == own_boot, in_state(State.RUNNING))
)
ENDED: Final = Statement(
    select(_job.id).where(_job.id.in_(listed("ids")), _job.finished_at.is_not(None))
)
_META: Final = table("meta", column("cleaned_at", NUMBER))
# One node a round cleans up: who comes first when it is time.
TURN: Final = Statement(
    update(_META)
    .where(_META.c.cleaned_at <= now - number("interval"))
    .values(cleaned_at=now)
    .returning(_META.c.cleaned_at)
)
FOLD: Final = Statement(select(func.fold()))
# A start that is over from its beginning, for jobs whose attempts got lost.
NOBODY: Final = Statement(
    insert(schema.BOOT)
    .values(started_at=now, pid=bindparam("pid"), version=constant(""), ended_at=now, died=ONE)
    .returning(_boot.id)
)
_lost: Final = (_job.id.in_(listed("ids")), _job.boot == own_boot)
GIVE_UP: Final = Statement(
    update(schema.JOB).where(*_lost, in_state(State.RUNNING)).values(boot=number("to"))
)
UNCLAIM: Final = Statement(
    job_event(Event.RECOVER)
    .where(*_lost, _job.cancel_asked_at.is_(None))
    .values(started_at=null(), attempt=_job.attempt - ONE)
    .returning(_job.id, _job.account)
)


@frozen
class Other:
    """Another node that has not been declared dead.

    Args:
        started_at: microseconds since 1970.
    """

    boot: int
    name: str
    started_at: int


def give_up(tx: Transaction, ids: Sequence[int]) -> None:
    """Release jobs that a node started but no longer runs, so that they are recovered."""
    nobody = tx.insert(NOBODY, now=tx.now, pid=os.getpid())
    tx.execute(GIVE_UP, ids=encode_ids(ids), to=nobody)


def unclaim(tx: Transaction, ids: Sequence[int]) -> None:
    """Queue jobs again that a node claimed without noticing: none of them was started."""
    rows = tx.execute(UNCLAIM, ids=encode_ids(ids)).fetchall()
    for _, account in rows:
        tx.tally.moved(account, State.RUNNING, State.QUEUED)
    queued = [row[0] for row in rows]
    events.note_all(tx, queued, "unclaimed", "its node did not learn that it had claimed it")
    tx.changes.queued += len(queued)
    tx.tell(Ready(None))


def encode_targets(targets: Mapping[str, Replay]) -> str:
    """Encode which targets a node serves, and what each allows to be sent again."""
    return json.dumps(targets)


def served(rows: Sequence[Any]) -> frozenset[str]:
    """Return the targets in rows of `SERVED`."""
    return frozenset(name for (targets,) in rows for name in json.loads(targets))
