"""Take results and hold them again: each function is one step of a transaction."""

from typing import Final

from sqlalchemy import Update, exists, null, or_

from jobstore.model.errors import JobNotFound, ResultNotRestorable
from jobstore.model.lifecycle import Event, Result, State
from jobstore.store import elsewhere, events, jobs, schema
from jobstore.store.codec import decode_job
from jobstore.store.expressions import Statement, checked, no_earlier, number
from jobstore.store.facts import Changed, GivenBack
from jobstore.store.guards import in_state, no_reader, now, own_boot, result_event, this_job
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_response: Final = schema.RESPONSE.c
_body: Final = schema.BODY.c
_event: Final = schema.EVENT.c
_take: Final = (
    result_event(Event.TAKE)
    .where(this_job)
    .values(fetched_at=no_earlier(now, _job.finished_at), purgeable_at=now)
)
TAKE: Final = Statement(_take, _take.where(no_reader).values(reader=own_boot))


def take(tx: Transaction, job_id: int) -> bool:
    """Mark a held result as taken.

    Returns:
        whether it was still held.
    """
    if tx.execute(TAKE, job_id=job_id, now=tx.now).rowcount != 1:
        return False
    tx.tally.passed(Result.HELD, Result.TAKEN)
    return True


# A payload that was purged meanwhile does not come back.
_still_kept: Final = checked(_job.purgeable_at.is_not(None))


def _hold_again(event: Event) -> Update:
    return (
        result_event(event)
        .where(this_job, _still_kept)
        .values(fetched_at=null(), purgeable_at=null())
        .returning(_job.id)
    )


# By now, another node may have restored it, and given it to somebody else.
_read_by: Final = _job.reader == number("reader")
GIVE_BACK: Final = Statement(
    _hold_again(Event.GIVE_BACK),
    _hold_again(Event.GIVE_BACK).where(_read_by).values(reader=null()),
)


def give_back(tx: Transaction, job_id: int, reader: int, detail: str) -> None:
    """Hold a result again whose delivery broke off, whether it was marked as taken or not.

    Args:
        reader: the start of the server that was delivering it.
    """
    if tx.execute(GIVE_BACK, job_id=job_id, reader=reader).fetchone():
        tx.tally.passed(Result.TAKEN, Result.HELD)
    tx.tell(GivenBack(job_id))
    if tx.shared:
        elsewhere.unreserve(tx, job_id, reader)
        tx.tell(Changed(job_id))  # who waits for it at another node
    if tx.execute(jobs.LOCK, job_id=job_id).fetchone() is not None:  # it may be forgotten by now
        events.note(tx, job_id, "delivery broken", detail)


def require_own(tx: Transaction, job_id: int, scope: int | None) -> None:
    """Ensure that the caller may see a job, deleted or not.

    Raises:
        JobNotFound: it does not exist, or belongs to another account.
    """
    row = tx.execute(jobs.GET_JOB, job_id=job_id).fetchone()
    if row is None or scope not in {None, decode_job(row).account}:
        raise JobNotFound(job_id)


# What has no answer needs none: its reader is told how it failed.
_answered_or_none: Final = or_(
    in_state(State.FAILED, State.CANCELLED), exists().where(_response.job_id == _job.id)
)
_restored: Final = _hold_again(Event.RESTORE).where(_answered_or_none)
RESTORE: Final = Statement(_restored, _restored.values(reader=null()))


def restore(tx: Transaction, job_id: int, because: str | None = None) -> None:
    """Hold a result again that was taken or deleted, for another reader.

    Args:
        because: the note for the job's history.

    Raises:
        JobNotFound: there is no such job.
        ResultNotRestorable: it was neither taken nor deleted, or its payload is no longer kept.
    """
    if tx.shared:  # another node may purge it between the look and the change
        tx.execute(jobs.LOCK, job_id=job_id)
    row = tx.execute(jobs.GET_JOB, job_id=job_id).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    result = decode_job(row).result
    if not tx.execute(RESTORE, job_id=job_id).fetchone():
        raise ResultNotRestorable(job_id, _WHY_NOT_RESTORABLE[result])
    tx.tally.passed(result, Result.HELD)
    events.note(tx, job_id, events.RESTORED, because)
    tx.tell(Changed(job_id))


_WHY_NOT_RESTORABLE: Final = {
    Result.NONE: "the job has not ended yet",
    Result.HELD: "it is held already",
    Result.TAKEN: "its payload has been purged",
    Result.DELETED: "it was deleted, and its payload is not kept",
    Result.EXPIRED: "it expired",
    Result.UNWANTED: "it was never kept",
}
