"""Delete and expire results: each function is one step of a transaction."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Select,
    Update,
    and_,
    bindparam,
    case,
    exists,
    func,
    null,
    select,
    update,
)
from sqlalchemy import delete as delete_from

from jobstore.model.errors import JobNotFound
from jobstore.model.lifecycle import AWAITED, ENDED, Event, Result
from jobstore.store import events, jobs, schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement, constant, listed
from jobstore.store.facts import Changed, Expired
from jobstore.store.guards import (
    ZERO,
    in_scope,
    in_state,
    limit,
    no_reader,
    now,
    result_event,
    still_with_result,
    these_jobs,
    this_job,
    with_result,
)
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_response: Final = schema.RESPONSE.c
_body: Final = schema.BODY.c
_event: Final = schema.EVENT.c

# A job deleted before its end stays unpurgeable until then: it still needs its request.
_since_ended: Final = case((in_state(*ENDED), now), else_=null())
_delete: Final = (
    result_event(Event.DELETE)
    .where(this_job, still_with_result(*AWAITED))
    .values(purgeable_at=_since_ended)
    .returning(_job.finished_at)  # which says what the result was: none until then
)
DELETE: Final = Statement(_delete, _delete.where(no_reader))


def delete(tx: Transaction, job_id: int, scope: int | None = None) -> None:
    """Delete a result; the work goes on if it has not ended.

    Raises:
        JobNotFound: the job can no longer be asked for.
    """
    if scope is not None:
        jobs.awaited(tx, job_id, scope)
    row = tx.execute(DELETE, job_id=job_id, now=tx.now).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    tx.tally.passed(Result.NONE if row[0] is None else Result.HELD, Result.DELETED)
    drop_responses(tx, [job_id], events.DELETED)


# Whoever may see a job for good may delete what is left of it as well.
DISCARD: Final = Statement(
    result_event(Event.DELETE)
    .where(this_job)
    .values(fetched_at=null(), purgeable_at=_since_ended)
    .returning(_job.id)
)


def discard(tx: Transaction, job_id: int, scope: int | None) -> None:
    """Delete what is left of a job in the history, even if its result was fetched.

    Raises:
        JobNotFound: it does not exist.
    """
    _discard(tx, job_id, scope)
    drop_responses(tx, [job_id], events.DELETED)


def withdraw(tx: Transaction, job_id: int, scope: int | None, because: str) -> None:
    """Delete a result as `discard` does, but let `restore` undo it until it is purged.

    Args:
        because: the note for the job's history.

    Raises:
        JobNotFound: it does not exist.
    """
    _discard(tx, job_id, scope)
    events.note(tx, job_id, events.DELETED, because)
    tx.tell(Changed(job_id))


def _discard(tx: Transaction, job_id: int, scope: int | None) -> None:
    if tx.shared:  # another node may take it between the look and the deletion
        tx.execute(jobs.LOCK, job_id=job_id)
    job = jobs.visible(tx, job_id, scope)
    if job.fetched_at is not None:  # the row forgets it
        tx.execute(events.NOTE, job_id=job_id, now=job.fetched_at, event="fetched", detail=None)
    tx.execute(DISCARD, job_id=job_id, now=tx.now).fetchone()
    tx.tally.passed(job.result, Result.DELETED)


def _delete_step(awaited: Result) -> Statement:
    found = (
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

    def delete(found: Select[Any]) -> Update:
        return (
            result_event(Event.DELETE)
            .where(_job.id.in_(found))
            .values(purgeable_at=_since_ended)
            .returning(_job.id)
        )

    return Statement(delete(found), delete(found.where(no_reader)).where(no_reader))


DELETE_STEPS: Final = {awaited: _delete_step(awaited) for awaited in AWAITED}


def delete_step(tx: Transaction, awaited: Result, **values: object) -> list[int]:
    """Delete some of the results of jobs between two ids; return the jobs."""
    ids = tx.ids(DELETE_STEPS[awaited], now=tx.now, **values)
    tx.tally.passed(awaited, Result.DELETED, len(ids))
    drop_responses(tx, ids, events.DELETED)
    return ids


def not_restored(since: str) -> ColumnElement[bool]:
    """Match jobs whose result was not restored since a time: what was waits for its reader anew.

    Args:
        since: the name of the parameter.
    """
    restored = _event.event == constant(events.RESTORED)
    return ~exists().where(_event.job_id == _job.id, restored, _event.at >= bindparam(since))


_outlived: Final = (
    select(_job.id)
    .where(
        with_result(Result.HELD),
        _job.finished_at >= bindparam("since"),
        _job.finished_at < bindparam("before"),
        not_restored("restored_since"),
        _job.id.not_in(listed("busy")),
        in_scope,
    )
    .order_by(_job.finished_at)
    .limit(limit)
    .offset(ZERO)
)


def _expire(found: Select[Any]) -> Update:
    return (
        result_event(Event.EXPIRE)
        .where(_job.id.in_(found))
        .values(purgeable_at=now)
        .returning(_job.id, _job.finished_at)
    )


EXPIRE_STEP: Final = Statement(
    _expire(_outlived), _expire(_outlived.where(no_reader)).where(no_reader)
)


def expire_step(tx: Transaction, **values: object) -> list[tuple[int, int]]:
    """Expire some of the held results of jobs that ended between two times.

    Returns:
        the jobs, each with its end.
    """
    rows = tx.execute(EXPIRE_STEP, now=tx.now, **values).fetchall()
    tx.tally.passed(Result.HELD, Result.EXPIRED, len(rows))
    drop_responses(tx, [row[0] for row in rows], "expired")
    tx.tell(Expired(len(rows)))
    return rows


_size: Final = func.coalesce(
    select(func.length(_response.content)).where(_response.job_id == _job.id).scalar_subquery(),
    select(_body.size)
    .where(_body.job_id == _job.id, _body.side == constant("response"))
    .scalar_subquery(),
    ZERO,
)
_counted: Final = and_(these_jobs, _job.stored > ZERO)
COUNTED_RESPONSES: Final = Statement(select(_job.account, _size).where(_counted))
UNCOUNT_RESPONSES: Final = Statement(
    update(schema.JOB).where(_counted).values(stored=_job.stored - _size)
)
DROP_RESPONSES: Final = Statement(
    delete_from(schema.RESPONSE).where(_response.job_id.in_(listed("ids")))
)
DROP_RESPONSE_BODIES: Final = Statement(
    update(schema.BODY)
    .where(_body.job_id.in_(listed("ids")), _body.side == constant("response"))
    .values(job_id=null())
)


def drop_responses(tx: Transaction, ids: Sequence[int], event: str) -> None:
    """Drop the responses of jobs whose results are gone, and note why."""
    listed = encode_ids(ids)
    for account, size in tx.execute(COUNTED_RESPONSES, ids=listed):
        tx.tally.stored(account, -size)
    tx.execute(UNCOUNT_RESPONSES, ids=listed)
    tx.execute(DROP_RESPONSES, ids=listed)
    tx.execute(DROP_RESPONSE_BODIES, ids=listed)
    tx.execute(events.NOTE_ALL, ids=listed, now=tx.now, event=event, detail=None)
    for job_id in ids:
        tx.tell(Changed(job_id))
