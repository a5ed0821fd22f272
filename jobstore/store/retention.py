"""Retention: each function is one step of a transaction, of bounded size."""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    delete,
    func,
    not_,
    null,
    or_,
    select,
    update,
)

from jobstore.model.clock import SECOND
from jobstore.model.lifecycle import AWAITED, ENDED, Result
from jobstore.store import deleting, events, schema
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement, constant, listed, lower
from jobstore.store.facts import PayloadsGone
from jobstore.store.guards import ONE, ZERO, limit, now, still_in_state, these_jobs, with_result
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
_body: Final = schema.BODY.c
PURGEABLE: Final = Statement(
    select(_job.id, _job.account, _job.stored)
    .where(_job.purgeable_at.is_not(None), _job.purgeable_at < bindparam("before"))
    .order_by(_job.purgeable_at)
    .limit(limit)
    .offset(ZERO)
    .with_for_update(skip_locked=True)  # another node may hold their results again at the moment
)
PURGE: Final = Statement(
    update(schema.JOB).where(these_jobs).values(purgeable_at=null(), stored=ZERO)
)
DROP_REQUESTS: Final = Statement(delete(schema.REQUEST).where(_request.job_id.in_(listed("ids"))))
DROP_BODIES: Final = Statement(
    update(schema.BODY).where(_body.job_id.in_(listed("ids"))).values(job_id=null())
)


def purge_step(tx: Transaction, before: int, limit: int) -> int:
    """Delete some of the payloads unavailable since before a time; return how many."""
    rows = tx.execute(PURGEABLE, before=before, limit=limit).fetchall()
    listed = encode_ids(row[0] for row in rows)
    for statement in (PURGE, DROP_REQUESTS, deleting.DROP_RESPONSES, DROP_BODIES):
        tx.execute(statement, ids=listed)
    for _, account, stored in rows:
        tx.tally.stored(account, -stored)
    tx.tell(PayloadsGone(len(rows)))
    return len(rows)


# What `restore` can bring back was promised for a time of its own, however old its job is.
_restorable: Final = and_(
    with_result(Result.TAKEN, Result.DELETED), _job.purgeable_at >= bindparam("restorable")
)
_forgettable: Final = and_(
    _job.finished_at < bindparam("before"),
    _job.result.not_in([constant(each) for each in AWAITED]),
    or_(_job.purgeable_at.is_(None), not_(_restorable)),
)
BY_AGE: Final = Statement(
    select(_job.id, _job.submitted_at, _forgettable.label("forgettable"))
    .where(_job.id > bindparam("after"))
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
DROP_JOBS: Final = Statement(
    delete(schema.JOB)
    .where(these_jobs, still_in_state(*ENDED), _forgettable)
    .returning(_job.account, _job.state, _job.result, _job.stored)
)


def forget(tx: Transaction, ids: Sequence[int], before: int, restorable: int) -> int:
    """Remove jobs that ended before a time from the history; return how many.

    Args:
        restorable: what was fetched or deleted since then stays, since it can be restored.
    """
    times = {"before": before, "restorable": restorable}
    rows = tx.execute(DROP_JOBS, ids=encode_ids(ids), **times).fetchall()
    for row in rows:
        tx.tally.gone(*row)
    return len(rows)


# --- what will be done soon ---------------------------------------------------------------------

# How many jobs are counted at most.
COUNTED: Final = 100_000


def _counted(*which: ColumnElement[bool]) -> Statement:
    found = select(ONE).select_from(schema.JOB).where(*which).limit(limit).offset(ZERO).subquery()
    return Statement(select(func.count()).select_from(found))


EXPIRING: Final = _counted(
    with_result(Result.HELD),
    _job.finished_at < bindparam("before"),
    deleting.not_restored("before"),
)
PURGING: Final = _counted(_job.purgeable_at.is_not(None), _job.purgeable_at < bindparam("before"))

# --- times that cannot be right -------------------------------------------------------------------


# A time this far ahead comes from a clock that was wrong; one that is less ahead is waited for.
_FAR_AHEAD: Final = 24 * 3600 * SECOND


def _redate(future: ColumnElement[bool], order: ColumnElement[Any]) -> Statement:
    """Replace times in the far future by now; both searches have an index."""
    names = ("submitted_at", "started_at", "finished_at", "fetched_at", "purgeable_at")
    found = select(_job.id).where(future).order_by(order.desc()).limit(limit).offset(ZERO)
    return Statement(
        update(schema.JOB)
        .where(_job.id.in_(found))
        .values({name: lower(_job[name], now) for name in names})
        .returning(_job.id)
    )


_ahead: Final[BindParameter[Any]] = bindparam("ahead")
REDATE: Final = (
    _redate(and_(with_result(Result.HELD), _job.finished_at > _ahead), _job.finished_at),
    _redate(and_(_job.purgeable_at.is_not(None), _job.purgeable_at > _ahead), _job.purgeable_at),
)


def redate(tx: Transaction, limit: int) -> int:
    """Replace times of ended jobs in the far future by now; return how many."""
    ids = [
        job_id
        for statement in REDATE
        for job_id in tx.ids(statement, now=tx.now, ahead=tx.now + _FAR_AHEAD, limit=limit)
    ]
    if ids:
        detail = "it had ended by a clock that was more than a day ahead; its times were corrected"
        events.note_all(tx, ids, "redated", detail)
    return len(ids)
