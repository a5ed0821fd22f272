"""What a server changes by itself: each function is one step of a transaction, of bounded size."""

from collections.abc import Sequence
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.job import CANCELLED_STATUS, Failure
from jobstore.store import result_statements as results_sql
from jobstore.store import statements as sql
from jobstore.store import upkeep_statements as upkeep_sql
from jobstore.store.codec import encode_ids, writable
from jobstore.store.facts import Ended, Ready
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.engine import Statement
from jobstore.store.transaction import Transaction
from jobstore.store.transitions import break_off, ids_of, note_all

# How much of a file may be free for what comes next, in pages and as a part of the whole. Measured:
# where all of it is given back after each purge, storing and purging cost a third more. A round of
# the janitor frees little, by default the 1440th part of a day's payloads, or an hour's if the
# rounds are that rare: 4 %.
_KEPT_PAGES: Final = 256
_KEPT_PART: Final = 0.05

# Times that are so far ahead are those of a clock that was wrong; less is waited for.
_FAR_AHEAD: Final = 24 * 3600 * SECOND


def purge_step(tx: Transaction, before: int, limit: int) -> int:
    """Drop some of the payloads that nobody could ask for since before a time; return how many."""
    ids = ids_of(tx, upkeep_sql.PURGE, before=before, limit=limit)
    listed = encode_ids(ids)
    for statement in (
        upkeep_sql.DROP_REQUESTS,
        results_sql.DROP_RESPONSES,
        upkeep_sql.DROP_BODIES,
    ):
        tx.execute(statement, ids=listed)
    return len(ids)


def redate(tx: Transaction, limit: int) -> int:
    """Take the times of some ended jobs for now that lie far ahead; return of how many."""
    ids = [
        job_id
        for statement in upkeep_sql.REDATE
        for job_id in ids_of(tx, statement, now=tx.now, ahead=tx.now + _FAR_AHEAD, limit=limit)
    ]
    if ids:
        detail = "it had ended by a clock that was more than a day ahead; its times were corrected"
        note_all(tx, ids, "redated", detail)
    return len(ids)


def forget(tx: Transaction, ids: Sequence[int]) -> int:
    """Remove ended jobs from the history; return how many."""
    return tx.execute(upkeep_sql.DROP_JOBS, ids=encode_ids(ids)).rowcount


def recover(tx: Transaction, ids: Sequence[int], detail: str) -> int:
    """Queue orphaned jobs again; return how many."""
    interrupted = {"answered": None, "why": Failure.INTERRUPTED, "because": writable(detail)}
    tx.execute(sql.PUT_ATTEMPTS, ids=encode_ids(ids), now=tx.now, **interrupted)
    recovered = ids_of(tx, upkeep_sql.RECOVER, ids=encode_ids(ids))
    note_all(tx, recovered, "recovered", detail)
    tx.changes.queued += len(recovered)
    tx.tell(Ready(None))
    return len(recovered)


def fail_orphans(tx: Transaction, ids: Sequence[int], detail: str) -> None:
    """End orphaned jobs that must not run again."""
    failure = Failure.INTERRUPTED
    _end_orphans(
        tx,
        upkeep_sql.FAIL_ORPHANS,
        ids,
        status=failure.status,
        why=failure,
        because=writable(detail),
    )


def cancel_orphans(tx: Transaction, ids: Sequence[int], detail: str) -> None:
    """End orphaned jobs whose cancellation was asked for."""
    _end_orphans(
        tx, upkeep_sql.CANCEL_ORPHANS, ids, status=CANCELLED_STATUS, because=writable(detail)
    )


def _end_orphans(
    tx: Transaction, statement: Statement, ids: Sequence[int], **values: object
) -> None:
    ended = ids_of(tx, statement, ids=encode_ids(ids), now=tx.now, **values)
    tx.execute(upkeep_sql.FORGET_SECRETS_OF, ids=encode_ids(ended))
    for job_id in ended:
        tx.tell(Ended(job_id))
    break_off(tx, *ended)


def reroute(tx: Transaction, old: str, new: str, limit: int) -> int:
    """Queue some of the jobs of a target that is gone for another one; return how many."""
    tx.tell(Ready(new))
    return tx.execute(upkeep_sql.REROUTE, old=old, new=new, limit=limit).rowcount


def give_back(tx: Transaction, limit: int, *, wholly: bool) -> int:
    """Give some of a file's free pages back; return how many.

    Args:
        tx: the transaction.
        limit: how many at most.
        wholly: whether to keep none for what comes next.
    """
    file = tx.connection
    kept = 0 if wholly else max(_KEPT_PAGES, int(pages.count(file) * _KEPT_PART))
    return pages.give_back(file, min(limit, pages.free_pages(file) - kept))
