"""Starts of nodes: see `jobstore.store.postgresql.node_writer` for what their rows are."""

import os
from collections.abc import Sequence
from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, insert, select, update

from jobstore.model.lifecycle import State
from jobstore.store import schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import NUMBER, Statement, constant, listed, number
from jobstore.store.guards import ONE, in_state, now
from jobstore.store.transaction import Transaction

BOOT: Final = Table(
    "boot",
    MetaData(),
    Column("id", BigInteger, primary_key=True),
    Column("started_at", NUMBER),
    Column("pid", NUMBER),
    Column("version", Text),
    Column("ended_at", NUMBER),
    Column("name", Text),
    Column("batch", NUMBER),
    Column("died", NUMBER),
)
_boot: Final = BOOT.c
_this: Final = _boot.id == number("boot")
BEGIN: Final = Statement(
    insert(BOOT).values(
        started_at=now,
        pid=bindparam("pid"),
        version=bindparam("version"),
        name=bindparam("name"),
    )
)
FENCE: Final = Statement(
    update(BOOT)
    .where(_this, _boot.ended_at.is_(None))
    .values(batch=number("batch"))
    .returning(_boot.id)
)
# It waits for the session that broke in its commit, if the server still has it.
WITNESS: Final = Statement(select(_boot.batch).where(_this).with_for_update())
ALIVE: Final = Statement(
    select(_boot.id, _boot.batch).where(_boot.ended_at.is_(None), _boot.id != number("boot"))
)
DIED: Final = Statement(
    update(BOOT)
    .where(
        _boot.id.in_(
            select(_boot.id)
            .where(_this, _boot.ended_at.is_(None), _boot.batch == number("batch"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(ended_at=now, died=ONE)
)
CLAIMED: Final = Statement(
    select(schema.JOB.c.id, schema.JOB.c.cancel_asked_at).where(
        schema.JOB.c.boot == number("boot"), in_state(State.RUNNING)
    )
)
# A start that is over from its beginning, for jobs whose claims got lost.
NONE: Final = Statement(
    insert(BOOT).values(
        started_at=now, pid=bindparam("pid"), version=constant(""), ended_at=now, died=ONE
    )
)
GIVE_UP: Final = Statement(
    update(schema.JOB)
    .where(
        schema.JOB.c.id.in_(listed("ids")),
        schema.JOB.c.boot == number("boot"),
        in_state(State.RUNNING),
    )
    .values(boot=number("to"))
)


def give_up(tx: Transaction, ids: Sequence[int], boot: int) -> None:
    """Let jobs be recovered that a node has claimed and does not run."""
    nobody = tx.insert(NONE, now=tx.now, pid=os.getpid())
    tx.execute(GIVE_UP, ids=encode_ids(ids), boot=boot, to=nobody)
