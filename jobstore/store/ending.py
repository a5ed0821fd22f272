"""How the work of jobs ends: each function is one step of a transaction."""

from typing import Final

from sqlalchemy import ColumnElement, and_, bindparam, case, func, insert, null, select, update

from jobstore.model.frozen import frozen
from jobstore.model.job import CANCELLED_STATUS, Claim, Failure, succeeded
from jobstore.model.lifecycle import Event, Result, State
from jobstore.model.message import Headers
from jobstore.model.retry import AttemptEnded
from jobstore.store import bodies, claiming, events, jobs, schema
from jobstore.store.bodies import Content
from jobstore.store.codec import encode_ids, encode_reason, writable, write_headers
from jobstore.store.expressions import Statement, blank, constant, inserting, listed
from jobstore.store.facts import Answered, CancelAsked, Changed, Due, Ended
from jobstore.store.guards import (
    ONE,
    ZERO,
    ended_by,
    job_event,
    now,
    still_in_state,
    still_with_result,
    these_jobs,
    this_claim,
    this_job,
)
from jobstore.store.search import asked_by
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c


@frozen
class CapturedResponse:
    """A response, ready to be stored."""

    status: int
    reason: str | None
    headers: Headers
    content: Content


FINISH: Final = Statement(
    ended_by(Event.FINISH)
    .where(this_claim)
    .values(
        stored=case(
            (_job.result == constant(Result.NONE), _job.stored + bindparam("size")),
            else_=_job.stored,
        )
    )
)
PUT_RESPONSE: Final = inserting(
    schema.RESPONSE, {column.name: bindparam(column.name) for column in schema.RESPONSE.columns}
)
FORGET_SECRETS: Final = Statement(
    update(schema.REQUEST)
    .where(_request.job_id == bindparam("of_job"), _request.secrets.is_not(None))
    .values(secrets=blank(_request.secrets))
)
FORGET_SECRETS_OF: Final = Statement(
    update(schema.REQUEST)
    .where(_request.job_id.in_(listed("ids")), _request.secrets.is_not(None))
    .values(secrets=blank(_request.secrets))
)


def finish(tx: Transaction, claim: Claim, capture: CapturedResponse) -> None:
    """End a job with its target's answer, which is kept unless its result is unwanted.

    If the claim is no longer valid, nothing is changed.
    """
    size = bodies.size_of(capture.content)
    if tx.shared and tx.followed is None:
        tx.foresee(ANY_FOLLOWER)
    row = tx.execute(
        FINISH,
        job_id=claim.job_id,
        boot=claim.boot,
        claimed_attempt=claim.attempt,
        now=tx.now,
        status=capture.status,
        size=size,
    ).fetchone()
    if row is None:
        return
    error = not succeeded(capture.status)
    tx.tally.ended(row, State.RUNNING, State.DONE, tx.now, error=error, size=size)
    if row[2] == Result.HELD:
        _hold(tx, claim, capture)
    if claim.secrets:
        tx.execute(FORGET_SECRETS, of_job=claim.job_id)
    tx.tell(Ended(claim.job_id, claim.target, State.DONE, tx.now - row[5]))
    if error:
        break_off(tx, claim.job_id)
    else:
        _release(tx, claim.job_id)


def _hold(tx: Transaction, claim: Claim, capture: CapturedResponse) -> None:
    reason, headers, content = capture.reason, capture.headers, capture.content
    tx.execute(
        PUT_RESPONSE,
        job_id=claim.job_id,
        reason=reason and encode_reason(reason),
        headers=write_headers(headers),
        content=bodies.put_content(tx, claim.job_id, content),
    )
    if isinstance(content, bytes):
        answer = Answered(claim.job_id, claim.account, capture.status, reason, headers, content)
        tx.changes.answers[claim.job_id] = answer
        tx.tell(answer)


FAIL: Final = Statement(
    ended_by(Event.FAIL)
    .where(this_claim)
    .values(failure=bindparam("why"), detail=bindparam("because"))
)


def fail(tx: Transaction, claim: Claim, failure: Failure, detail: str) -> None:
    """End a job without an answer; see `finish`."""
    values = {"status": failure.status, "why": failure, "because": writable(detail)}
    _end(tx, FAIL, State.FAILED, claim, **values)


CANCEL_RUNNING: Final = Statement(
    ended_by(Event.CANCEL)
    .where(
        this_claim, still_in_state(State.RUNNING)
    )  # what is queued again may still name the claim
    .values(detail=bindparam("because"))
)


def stopped(tx: Transaction, claim: Claim, detail: str) -> None:
    """End a job whose cancellation has taken effect; see `finish`."""
    values = {"status": CANCELLED_STATUS, "because": writable(detail)}
    _end(tx, CANCEL_RUNNING, State.CANCELLED, claim, **values)


def _end(
    tx: Transaction, statement: Statement, after: State, claim: Claim, **values: object
) -> None:
    this = {"job_id": claim.job_id, "boot": claim.boot, "claimed_attempt": claim.attempt}
    ended = end(tx, statement, State.RUNNING, after, **this, **values)
    if claim.secrets:
        tx.execute(FORGET_SECRETS, of_job=claim.job_id)
    if ended:
        break_off(tx, claim.job_id)


def end(
    tx: Transaction, statement: Statement, before: State, after: State, **values: object
) -> list[int]:
    """Execute a statement that ends jobs of one state without an answer; count and report them.

    Returns:
        the ids of the ended jobs.
    """
    rows = tx.execute(statement, now=tx.now, **values).fetchall()
    for row in rows:
        tx.tally.ended(row, before, after, tx.now, error=after is State.FAILED)
        tx.tell(Ended(row[0], row[4], after, tx.now - row[5]))
    return [row[0] for row in rows]


# --- another attempt ------------------------------------------------------------------------------


def _put_attempts(which: ColumnElement[bool]) -> Statement:
    """Store the data of attempts before the next attempts replace it."""
    ended = {
        "job_id": _job.id,
        "number": _job.attempt,
        "started_at": _job.started_at,
        "ended_at": now,
        "status": bindparam("answered"),
        "failure": bindparam("why"),
        "detail": bindparam("because"),
    }
    # A cancellation may just have been requested: then there will be no next one.
    running = and_(which, still_in_state(State.RUNNING), _job.cancel_asked_at.is_(None))
    return Statement(
        insert(schema.ATTEMPT).from_select(list(ended), select(*ended.values()).where(running))
    )


PUT_ATTEMPT: Final = _put_attempts(this_claim)
PUT_ATTEMPTS: Final = _put_attempts(these_jobs)
RETRY: Final = Statement(
    job_event(Event.RETRY)
    .where(this_claim, _job.cancel_asked_at.is_(None))
    .values(
        retried=_job.retried + ONE,
        not_before=bindparam("again_at"),
        started_at=null(),
        progress=null(),
    )
    .returning(_job.id)
)


def retry(
    tx: Transaction,
    claim: Claim,
    again_at: int,
    ended: AttemptEnded,
) -> bool:
    """Queue a job again whose attempt has failed for a temporary reason.

    Args:
        again_at: when it may run again.
        ended: how the attempt has ended.

    Returns:
        whether it was queued; if not, the claim is no longer valid or a cancellation was requested,
        and nothing was changed.
    """
    this = {"job_id": claim.job_id, "boot": claim.boot, "claimed_attempt": claim.attempt}
    attempt = {"answered": ended.status, "why": ended.failure, "because": writable(ended.detail)}
    if not tx.execute(PUT_ATTEMPT, now=tx.now, **this, **attempt).rowcount:
        return False
    tx.execute(RETRY, **this, again_at=again_at).fetchone()
    tx.tally.moved(claim.account, State.RUNNING, State.QUEUED)
    tx.execute(claiming.DELAY, job_id=claim.job_id, length=again_at - tx.now)
    events.note(tx, claim.job_id, "retried", f"attempt {claim.attempt}: {ended.detail}")
    tx.changes.queued += 1
    tx.tell(Due(again_at))
    tx.tell(Changed(claim.job_id))
    return True


# --- what waits for the success of another --------------------------------------------------------


ANY_FOLLOWER: Final = Statement(
    # Sorted, or PostgreSQL might take the index for no better than the whole table.
    select(_job.id).where(_job.follows.is_not(None)).order_by(_job.follows).limit(ONE).offset(ZERO)
)
_followers: Final = and_(still_in_state(State.QUEUED), _job.follows == bindparam("job_id"))
RELEASE: Final = Statement(
    update(schema.JOB)
    .where(_followers)
    .values(follows=null())
    .returning(_job.id, _job.target, _job.submitted_at, _job.not_before)
)
CANCEL_FOLLOWERS: Final = Statement(
    ended_by(Event.CANCEL).where(_followers).values(detail=bindparam("because"))
)


def _followed(tx: Transaction) -> bool:
    """Return whether any job waits for another one's success; asked once per transaction."""
    if tx.followed is None:
        tx.followed = tx.execute(ANY_FOLLOWER).fetchone() is not None
    return tx.followed


def _release(tx: Transaction, job_id: int) -> None:
    """Release the jobs that waited for the success of a job."""
    rows = tx.execute(RELEASE, job_id=job_id).fetchall() if _followed(tx) else ()
    if not rows:
        return
    for follower, _, submitted_at, not_before in rows:
        if not_before is None:  # it can run only from now on
            tx.execute(claiming.DELAY, job_id=follower, length=tx.now - submitted_at)
    events.note_release(tx, job_id, [row[0] for row in rows])
    claiming.tell_ready(tx, (row[1] for row in rows))


def _cancel_queued(tx: Transaction, statement: Statement, job_id: int, because: str) -> list[int]:
    values = {"status": CANCELLED_STATUS, "because": because}
    return end(tx, statement, State.QUEUED, State.CANCELLED, job_id=job_id, **values)


def break_off(tx: Transaction, *ended: int) -> None:
    """Cancel the jobs that waited for unsuccessful ones, and those that waited for these."""
    if not _followed(tx):
        return
    cancelled: list[int] = []
    for job_id in ended:
        followed = [job_id]
        because = f"job {job_id}, which had to succeed first, did not"
        while followed:
            followed = [
                follower
                for each in followed
                for follower in _cancel_queued(tx, CANCEL_FOLLOWERS, each, because)
            ]
            cancelled += followed
    if cancelled:
        tx.execute(FORGET_SECRETS_OF, ids=encode_ids(cancelled))
    tx.changes.queued -= len(cancelled)


# --- cancellation ---------------------------------------------------------------------------------


CANCEL_QUEUED: Final = Statement(
    ended_by(Event.CANCEL)
    .where(this_job, still_in_state(State.QUEUED), still_with_result(Result.NONE))
    .values(cancel_asked_at=now, detail=bindparam("because"))
)
ASK_CANCEL: Final = Statement(
    update(schema.JOB)
    .where(this_job, still_in_state(State.RUNNING), still_with_result(Result.NONE))
    .values(cancel_asked_at=func.coalesce(_job.cancel_asked_at, now))
    .returning(_job.id)
)


def cancel(tx: Transaction, job_id: int, scope: int | None = None, by: str = "") -> State:
    """Cancel a queued job, ask for the end of a running one, leave an ended one alone.

    Args:
        scope: the account whose it has to be, or None for anybody's.
        by: the name of the person who asks for it, or "" if unknown.

    Returns:
        the state that was found.

    Raises:
        JobNotFound: the job can no longer be asked for.
    """
    if tx.shared:  # another node may begin it, or queue it again, between the looks at it
        tx.execute(jobs.LOCK, job_id=job_id)
    if scope is not None:
        jobs.awaited(tx, job_id, scope)
    asker = asked_by(by) if by else None
    because = f"cancelled before it ran, {asker}" if asker else "cancelled before it ran"
    if _cancel_queued(tx, CANCEL_QUEUED, job_id, because):
        tx.execute(FORGET_SECRETS, of_job=job_id)
        if asker:
            events.note(tx, job_id, "cancel asked", asker)
        tx.changes.queued -= 1
        break_off(tx, job_id)
        return State.QUEUED
    if tx.execute(ASK_CANCEL, job_id=job_id, now=tx.now).fetchone():
        events.note(tx, job_id, "cancel asked", asker)
        tx.tell(CancelAsked(job_id))
        return State.RUNNING
    return jobs.awaited(tx, job_id).state
