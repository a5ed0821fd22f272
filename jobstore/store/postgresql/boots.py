"""Starts of nodes: see `jobstore.store.postgresql.node_writer` for what their rows are."""

from typing import Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, insert, select, update

from jobstore.store.expressions import NUMBER, Statement, number
from jobstore.store.guards import ONE, now

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
