"""Figures about waiting jobs for monitoring, read beside the writer.

The number of waiting jobs is not kept per target, so the index of waiting jobs
is scanned up to a limit.
"""

from typing import Final

from sqlalchemy import func, select

from jobstore.model.lifecycle import State
from jobstore.store import claiming, schema
from jobstore.store.expressions import Statement
from jobstore.store.guards import ONE, ZERO, in_state, limit, now, these_jobs

_job: Final = schema.JOB.c
_definition: Final = schema.DEFINITION.c

_some: Final = select(_job.id).where(claiming.WAITING).limit(limit).offset(ZERO).subquery("some")
# How many wait for a slot of a target, and the first of them that came.
OF_TARGET: Final = Statement(select(func.count(_some.c.id), func.min(_some.c.id)))
# From when on jobs could have run.
SINCE: Final = Statement(
    select(_job.target, claiming.since_last_end).where(these_jobs, in_state(State.QUEUED))
)
# The first of the times at which a definition was to run, and has not.
OVERDUE: Final = Statement(
    select(_definition.fires_at)
    .where(_definition.fires_at <= now)
    .order_by(_definition.fires_at)
    .limit(ONE)
    .offset(ZERO)
)
