"""The statements of what a server does by itself: recovery, retention, and its own starts."""

from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from jobstore.model.lifecycle import AWAITED, ENDED, Event, Result, State
from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement, blank, constant, listed
from jobstore.store.terms import (
    ZERO,
    ending,
    in_state,
    job_event,
    limit,
    now,
    these_jobs,
    with_result,
)

_job, _request, _response = schema.JOB.c, schema.REQUEST.c, schema.RESPONSE.c
_body, _chunk, _event = schema.BODY.c, schema.CHUNK.c, schema.EVENT.c

# --- recovery -----------------------------------------------------------------------------------

ORPHANS: Final = Statement(
    select(
        _job.id,
        _job.boot,
        _job.method,
        _job.path,
        _job.attempt,
        _job.cancel_asked_at,
        _job.retried,
        _job.replay,
    )
    .where(in_state(State.RUNNING), _job.boot < bindparam("boot"))
    .order_by(_job.boot, _job.id)
    .limit(limit)
    .offset(ZERO)
)
RECOVER: Final = Statement(
    job_event(Event.RECOVER)
    .where(these_jobs, _job.cancel_asked_at.is_(None))  # it may have been asked for just now
    .values(started_at=null())
    .returning(_job.id)
)
FAIL_ORPHANS: Final = Statement(
    ending(Event.FAIL)
    .where(these_jobs)
    .values(failure=bindparam("why"), detail=bindparam("because"))
    .returning(_job.id)
)
CANCEL_ORPHANS: Final = Statement(
    ending(Event.CANCEL).where(these_jobs).values(detail=bindparam("because")).returning(_job.id)
)
FORGET_SECRETS_OF: Final = Statement(
    update(schema.REQUEST)
    .where(_request.job_id.in_(listed("ids")), _request.secrets.is_not(None))
    .values(secrets=blank(_request.secrets))
)
NEXT_QUEUED_TARGET: Final = Statement(
    select(func.min(_job.target)).where(in_state(State.QUEUED), _job.target > bindparam("after"))
)
REROUTE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(in_state(State.QUEUED), _job.target == bindparam("old"))
            .limit(limit)
            .offset(ZERO)
        )
    )
    .values(target=bindparam("new"))
)

# --- retention ----------------------------------------------------------------------------------

PURGE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(_job.purgeable_at.is_not(None), _job.purgeable_at < bindparam("before"))
            .order_by(_job.purgeable_at)
            .limit(limit)
            .offset(ZERO)
        )
    )
    .values(purgeable_at=null(), stored=ZERO)
    .returning(_job.id)
)


def _redate(future: ColumnElement[bool], order: ColumnElement[Any]) -> Statement:
    """Take times that lie far ahead for now; both searches have an index."""
    names = ("submitted_at", "started_at", "finished_at", "fetched_at", "purgeable_at")
    found = select(_job.id).where(future).order_by(order.desc()).limit(limit).offset(ZERO)
    return Statement(
        update(schema.JOB)
        .where(_job.id.in_(found))
        .values({name: func.min(_job[name], now) for name in names})
        .returning(_job.id)
    )


_ahead: Final[BindParameter[Any]] = bindparam("ahead")
REDATE: Final = (
    _redate(and_(with_result(Result.HELD), _job.finished_at > _ahead), _job.finished_at),
    _redate(and_(_job.purgeable_at.is_not(None), _job.purgeable_at > _ahead), _job.purgeable_at),
)
DROP_REQUESTS: Final = Statement(delete(schema.REQUEST).where(_request.job_id.in_(listed("ids"))))
DROP_BODIES: Final = Statement(
    update(schema.BODY).where(_body.job_id.in_(listed("ids"))).values(job_id=null())
)
BY_AGE: Final = Statement(
    select(_job.id, _job.submitted_at, _job.finished_at, _job.result)
    .where(_job.id > bindparam("after"))
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
DROP_JOBS: Final = Statement(
    delete(schema.JOB).where(
        these_jobs, in_state(*ENDED), _job.result.not_in([constant(r) for r in AWAITED])
    )
)

# --- boots --------------------------------------------------------------------------------------

BOOT: Final = Statement(
    insert(schema.BOOT).values(started_at=now, pid=bindparam("pid"), version=bindparam("version"))
)
END_BOOT: Final = Statement(
    update(schema.BOOT).where(schema.BOOT.c.id == bindparam("boot")).values(ended_at=now)
)
GET_BOOT: Final = Statement(
    select(schema.BOOT.c.pid, schema.BOOT.c.started_at, schema.BOOT.c.ended_at).where(
        schema.BOOT.c.id == bindparam("boot")
    )
)
