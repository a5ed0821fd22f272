"""The statements about results: what a reader may ask for, and what becomes of it."""

from typing import Final

from sqlalchemy import bindparam, case, delete, func, null, select, update

from jobstore.model.lifecycle import AWAITED, ENDED, Event, Result
from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement, constant, listed
from jobstore.store.terms import (
    JOB_COLUMNS,
    ZERO,
    in_scope,
    in_state,
    limit,
    now,
    result_event,
    these_jobs,
    this_job,
    with_result,
)

_job, _request, _response = schema.JOB.c, schema.REQUEST.c, schema.RESPONSE.c
_body, _chunk, _event = schema.BODY.c, schema.CHUNK.c, schema.EVENT.c

TAKE: Final = Statement(
    result_event(Event.TAKE).where(this_job).values(fetched_at=now, purgeable_at=now)
)
# A payload that was purged meanwhile does not come back.
_still_kept: Final = _job.purgeable_at.is_not(None)
GIVE_BACK: Final = Statement(
    result_event(Event.GIVE_BACK)
    .where(this_job, _still_kept)
    .values(fetched_at=null(), purgeable_at=null())
    .returning(_job.id)
)
RESTORE: Final = Statement(
    result_event(Event.RESTORE)
    .where(this_job, _still_kept)
    .values(fetched_at=null(), purgeable_at=null())
    .returning(_job.id)
)
_of_response: Final = (_response.reason, _response.headers, _response.content)
RESPONSE_COLUMNS: Final = len(_of_response)
GET_RESPONSE: Final = Statement(
    select(*_of_response).where(_response.job_id == bindparam("job_id"))
)
GET_KEPT: Final = Statement(
    select(*_of_response, *JOB_COLUMNS)
    .select_from(schema.JOB.outerjoin(schema.RESPONSE, _response.job_id == _job.id))
    .where(this_job)
)
# What is kept of a request's headers says how its answer is to be read.
GET_HEADERS: Final = Statement(
    select(_request.headers).where(_request.job_id == bindparam("job_id"))
)
# A job deleted before its end stays unpurgeable until then: it still needs its request.
_since_ended: Final = case((in_state(*ENDED), now), else_=null())
DELETE: Final = Statement(
    result_event(Event.DELETE)
    .where(this_job, with_result(*AWAITED))
    .values(purgeable_at=_since_ended)
    .returning(_job.id)
)
# Whoever may see a job for good may delete what is left of it as well.
DISCARD: Final = Statement(
    result_event(Event.DELETE)
    .where(this_job)
    .values(fetched_at=null(), purgeable_at=_since_ended)
    .returning(_job.id)
)


def _delete_step(awaited: Result) -> Statement:
    return Statement(
        result_event(Event.DELETE)
        .where(
            _job.id.in_(
                select(_job.id)
                .where(
                    with_result(awaited),
                    _job.id > bindparam("after"),
                    _job.id <= bindparam("last"),
                    _job.id.not_in(listed("busy")),
                    in_scope,
                )
                .order_by(_job.id)
                .limit(limit)
                .offset(ZERO)
            )
        )
        .values(purgeable_at=_since_ended)
        .returning(_job.id)
    )


DELETE_STEPS: Final = tuple(_delete_step(awaited) for awaited in AWAITED)
EXPIRE_STEP: Final = Statement(
    result_event(Event.EXPIRE)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(
                with_result(Result.HELD),
                _job.finished_at >= bindparam("since"),
                _job.finished_at < bindparam("before"),
                _job.id.not_in(listed("busy")),
                in_scope,
            )
            .order_by(_job.finished_at)
            .limit(limit)
            .offset(ZERO)
        )
    )
    .values(purgeable_at=now)
    .returning(_job.id, _job.finished_at)
)
_size: Final = func.coalesce(
    select(func.length(_response.content)).where(_response.job_id == _job.id).scalar_subquery(),
    select(_body.size)
    .where(_body.job_id == _job.id, _body.side == constant("response"))
    .scalar_subquery(),
    ZERO,
)
UNCOUNT_RESPONSES: Final = Statement(
    update(schema.JOB).where(these_jobs, _job.stored > ZERO).values(stored=_job.stored - _size)
)
DROP_RESPONSES: Final = Statement(
    delete(schema.RESPONSE).where(_response.job_id.in_(listed("ids")))
)
DROP_RESPONSE_BODIES: Final = Statement(
    update(schema.BODY)
    .where(_body.job_id.in_(listed("ids")), _body.side == constant("response"))
    .values(job_id=null())
)
