"""Jobs whose target cannot be reached: each function is one step of a transaction."""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import bindparam, exists, null, select

from jobstore.model.job import Claim, Failure
from jobstore.model.lifecycle import Event, State
from jobstore.model.retry import AttemptEnded
from jobstore.store import elsewhere, ending, events, schema
from jobstore.store.codec import encode_ids, writable
from jobstore.store.expressions import Statement
from jobstore.store.facts import Changed, Ready
from jobstore.store.guards import (
    ONE,
    ZERO,
    ended_by,
    in_state,
    job_event,
    limit,
    these_jobs,
    this_claim,
)
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_delay: Final = schema.DELAY.c
_wanted: Final = (this_claim, _job.cancel_asked_at.is_(None))
_queued_again: Final = {"target": bindparam("to"), "started_at": null(), "progress": null()}
# The attempt that reached nobody was none: the next one has its number.
HOLD: Final = Statement(
    job_event(Event.HOLD)
    .where(*_wanted)
    .values({**_queued_again, "attempt": _job.attempt - ONE})
    .returning(_job.id)
)
# One that may have reached somebody was one.
HOLD_AFTER: Final = Statement(
    job_event(Event.HOLD).where(*_wanted).values(_queued_again).returning(_job.id)
)


def hold(tx: Transaction, claim: Claim, target: str, ended: AttemptEnded, *, sent: bool) -> bool:
    """Queue a job again whose target could not be reached.

    Args:
        target: the target's name; the job waits for it now.
        ended: why it could not be reached.
        sent: whether the request may have been sent anyway, so that this was an attempt.

    Returns:
        whether it was queued; if not, the claim is no longer valid or a cancellation was requested,
        and nothing was changed.
    """
    this = {"job_id": claim.job_id, "boot": claim.boot, "claimed_attempt": claim.attempt}
    if sent:
        said = {"answered": None, "why": ended.failure, "because": writable(ended.detail)}
        tx.execute(ending.PUT_ATTEMPT, now=tx.now, **this, **said)
    statement = HOLD_AFTER if sent else HOLD
    if tx.execute(statement, **this, to=target).fetchone() is None:
        return False
    tx.tally.moved(claim.account, State.RUNNING, State.QUEUED)
    detail = f"attempt {claim.attempt}: {ended.detail}" if sent else ended.detail
    events.note(tx, claim.job_id, "held", detail)
    tx.changes.queued += 1
    tx.tell(Ready(target))
    tx.tell(Changed(claim.job_id))
    return True


# --- when it has taken too long -------------------------------------------------------------------

_waiting: Final = (
    in_state(State.QUEUED),
    _job.target == bindparam("target"),
    _job.follows.is_(None),
    _job.not_before.is_(None),
)
# Some that have waited since before a time. A job that had to wait for something else
# first has waited since the end of that, which its delay says.
OVERDUE: Final = Statement(
    select(_job.id)
    .where(
        *_waiting,
        _job.submitted_at <= bindparam("before"),
        ~exists().where(
            _delay.job_id == _job.id, _job.submitted_at + _delay.length > bindparam("before")
        ),
    )
    .limit(limit)
    .offset(ZERO)
)
GIVE_UP: Final = Statement(
    ended_by(Event.GIVE_UP)
    .where(these_jobs, *_waiting)
    .values(failure=bindparam("why"), detail=bindparam("because"))
)


def give_up(tx: Transaction, target: str, ids: Sequence[int], detail: str) -> list[int]:
    """Fail jobs that have waited too long for a target that no node can reach.

    Returns:
        the ids of the failed jobs.
    """
    if elsewhere.reached(tx, target):
        return []
    failure = Failure.UNREACHABLE
    values = {"status": failure.status, "why": failure, "because": writable(detail)}
    which = {"ids": encode_ids(ids), "target": target}
    ended = ending.end(tx, GIVE_UP, State.QUEUED, State.FAILED, **which, **values)
    tx.execute(ending.FORGET_SECRETS_OF, ids=encode_ids(ended))
    tx.changes.queued -= len(ended)
    ending.break_off(tx, *ended)
    return ended
