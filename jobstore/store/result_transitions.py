"""What becomes of results: each function is one step of a transaction."""

from collections.abc import Sequence
from typing import Final

from jobstore.model.errors import JobNotFound, ResultNotRestorable
from jobstore.model.lifecycle import Result
from jobstore.store import result_statements as results_sql
from jobstore.store import statements as sql
from jobstore.store.codec import decode_job, encode_ids
from jobstore.store.facts import Changed
from jobstore.store.sqlite.engine import Statement
from jobstore.store.transaction import Transaction
from jobstore.store.transitions import awaited, ids_of, note, visible


def take(tx: Transaction, job_id: int) -> bool:
    """Mark a held result as taken.

    Returns:
        whether it was still held.
    """
    return tx.execute(results_sql.TAKE, job_id=job_id, now=tx.now).rowcount == 1


def give_back(tx: Transaction, job_id: int, detail: str) -> None:
    """Hold a result again whose delivery broke off, whether it was marked as taken or not."""
    tx.execute(results_sql.GIVE_BACK, job_id=job_id).fetchone()
    note(tx, job_id, "delivery broken", detail)


def restore(tx: Transaction, job_id: int) -> None:
    """Hold a result again that was taken, for another reader.

    Raises:
        JobNotFound: there is no such job.
        ResultNotRestorable: it was not taken, or its payload is no longer kept.
    """
    if tx.execute(results_sql.RESTORE, job_id=job_id).fetchone():
        note(tx, job_id, "restored")
        tx.tell(Changed(job_id))
        return
    row = tx.execute(sql.GET_JOB, job_id=job_id).fetchone()
    if row is None:
        raise JobNotFound(job_id)
    raise ResultNotRestorable(job_id, _WHY_NOT_RESTORABLE[decode_job(row).result])


_WHY_NOT_RESTORABLE: Final = {
    Result.NONE: "the job has not ended yet",
    Result.HELD: "it is held already",
    Result.TAKEN: "its payload has been purged",
    Result.DELETED: "it was deleted",
    Result.EXPIRED: "it expired",
    Result.UNWANTED: "it was never kept",
}


def delete(tx: Transaction, job_id: int, scope: int | None = None) -> None:
    """Delete a result; the work goes on if it has not ended.

    Raises:
        JobNotFound: nobody may ask for this job any more.
    """
    if scope is not None:
        awaited(tx, job_id, scope)
    if not tx.execute(results_sql.DELETE, job_id=job_id, now=tx.now).fetchone():
        raise JobNotFound(job_id)
    drop_responses(tx, [job_id], "deleted")


def discard(tx: Transaction, job_id: int, scope: int | None) -> None:
    """Delete what is left of a job that stands in the history, whoever may have had its result.

    Raises:
        JobNotFound: there is none.
    """
    job = visible(tx, job_id, scope)
    if job.fetched_at is not None:  # the row forgets it
        tx.execute(sql.NOTE, job_id=job_id, now=job.fetched_at, event="fetched", detail=None)
    tx.execute(results_sql.DISCARD, job_id=job_id, now=tx.now).fetchone()
    drop_responses(tx, [job_id], "deleted")


def delete_step(tx: Transaction, statement: Statement, **values: object) -> list[int]:
    """Delete some of the results of the jobs between two ids; return whose."""
    ids = ids_of(tx, statement, now=tx.now, **values)
    drop_responses(tx, ids, "deleted")
    return ids


def expire_step(tx: Transaction, **values: object) -> list[tuple[int, int]]:
    """Expire some of the held results that were finished between two times.

    Returns:
        whose, each with the time when it was finished.
    """
    rows = tx.execute(results_sql.EXPIRE_STEP, now=tx.now, **values).fetchall()
    drop_responses(tx, [row[0] for row in rows], "expired")
    return rows


def drop_responses(tx: Transaction, ids: Sequence[int], event: str) -> None:
    """Drop the responses of jobs whose results are gone, and note why."""
    listed = encode_ids(ids)
    tx.execute(results_sql.UNCOUNT_RESPONSES, ids=listed)
    tx.execute(results_sql.DROP_RESPONSES, ids=listed)
    tx.execute(results_sql.DROP_RESPONSE_BODIES, ids=listed)
    tx.execute(sql.NOTE_ALL, ids=listed, now=tx.now, event=event, detail=None)
    for job_id in ids:
        tx.tell(Changed(job_id))
