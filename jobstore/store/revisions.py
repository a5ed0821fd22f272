"""Revision numbers, by which one process notices what another one has changed."""

from typing import Final

from sqlalchemy import bindparam, select, update

from jobstore.store import schema
from jobstore.store.expressions import Statement, constant
from jobstore.store.guards import ONE

REVISE: Final = Statement(
    update(schema.REVISION)
    .where(schema.REVISION.c.of == constant("queue"))
    .values(number=schema.REVISION.c.number + ONE)
)


REVISION: Final = Statement(
    select(schema.REVISION.c.number).where(schema.REVISION.c.of == bindparam("of"))
)
