"""What changes a job: each function is one step of a transaction.

A step either happens whole or not at all, and an event that the lifecycle does not allow changes
nothing. What is out of the ordinary leaves an event row in the same transaction.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobstore.model.errors import JobNotFound, TagTaken
from jobstore.model.job import (
    CANCELLED_STATUS,
    Claim,
    Failure,
    Job,
    Replay,
    Report,
    Submission,
    succeeded,
)
from jobstore.model.lifecycle import AWAITED, Result, State
from jobstore.model.message import Body, Headers, Request
from jobstore.model.retry import Ended as AttemptEnded
from jobstore.model.rotation import UNKNOWN, Claimed, Room, Turns
from jobstore.store import body_statements as bodies_sql
from jobstore.store import result_statements as results_sql
from jobstore.store import statements as sql
from jobstore.store import upkeep_statements as upkeep_sql
from jobstore.store.bodies import Content, Spooled
from jobstore.store.codec import (
    decode_headers,
    decode_job,
    decode_reason,
    encode_headers,
    encode_ids,
    encode_reason,
    writable,
)
from jobstore.store.facts import CancelAsked, Changed, Due, Ended, Queued, Ready, Waiting
from jobstore.store.search import asked_by
from jobstore.store.sqlite.engine import Statement
from jobstore.store.transaction import Transaction

# Larger ids cannot be in any store: SQLite's integers have 64 bits and a sign.
LARGEST_ID: Final = 2**63 - 1


_NO_WISHES: Final = (None,) * len(sql.WISHES)


@dataclass(frozen=True, slots=True)
class Capture:
    """A response as it is put into the store."""

    status: int
    reason: str | None
    headers: Headers
    content: Content


@dataclass(frozen=True, slots=True)
class Kept:
    """A job with the response that is kept for it; failed and cancelled ones have none."""

    job: Job
    reason: str | None = None
    headers: Headers = ()
    content: Content | None = None


def submit(  # noqa: PLR0913, PLR0917 - what it takes to make a job
    tx: Transaction,
    submission: Submission,
    content: Content,
    secret: frozenset[str],
    claimed_by: int | None,
    depth: int = 0,
) -> int:
    """Put a job in: queued, or running at once if it comes with a claim.

    Args:
        tx: the transaction.
        submission: what to run.
        content: the request's body.
        secret: the lower-case names of headers to forget when the job ends.
        claimed_by: the number of the server start that runs it at once, or None.
        depth: how many jobs made one another before this one.

    Returns:
        the job's id.
    """
    request, delay, account = submission.request, submission.delay, submission.account
    not_before = submission.not_before if delay is None else tx.now + delay
    claimed = claimed_by is not None
    wishes: dict[str, object] = {
        "timeout": submission.timeout,
        "replay": submission.replay,
        "tag": submission.tag,
        "once": submission.once or None,
        "definition": submission.definition,
        "trigger": submission.trigger,
        "follows": submission.follows,
        "not_before": not_before,
        "retries": submission.retries,
    }
    if tuple(wishes.values()) != _NO_WISHES:
        statement, wishes["once"] = sql.SUBMIT_WITH_WISHES, submission.once
    else:
        statement, wishes = sql.SUBMIT, {}
    job_id = tx.insert(
        statement,
        state=State.RUNNING if claimed else State.QUEUED,
        result=Result.NONE if submission.wanted else Result.UNWANTED,
        dialect=submission.dialect,
        owner=writable(submission.owner),
        account=account,
        depth=depth,
        stored=_size(content),
        target=submission.target,
        method=request.method,
        path=writable(request.path),
        priority=submission.priority,
        attempt=int(claimed),
        boot=claimed_by,
        submitted_at=tx.now,
        started_at=tx.now if claimed else None,
        source=submission.source,
        **wishes,
    )
    if delay is not None:
        tx.execute(sql.DELAY, job_id=job_id, length=delay)
    headers, secrets = encode_headers(request.headers, secret)
    tx.execute(
        sql.PUT_REQUEST,
        job_id=job_id,
        headers=headers,
        secrets=secrets,
        content=_put_content(tx, job_id, content),
    )
    if not claimed:
        _line_up(tx, job_id, submission, not_before)
    return job_id


def _line_up(tx: Transaction, job_id: int, submission: Submission, not_before: int | None) -> None:
    """Tell what a job waits for that was put in."""
    tx.changes.queued += 1
    if submission.follows is not None:
        tx.followed = True
    if not_before is not None:
        tx.tell(Due(not_before))
    if submission.waits:
        tx.tell(Waiting(job_id))
    else:
        tx.changes.lined_up.add(submission.target)
        tx.tell(Queued(job_id, submission.target, submission.account, submission.priority))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be claimed.

    Args:
        target: who will be asked.
        boot: the number of the server start that will run it.
        limit: how many jobs at most.
        body: gives what is kept of a body for reading.
    """

    target: str
    boot: int
    limit: int
    body: Callable[[Content], Body]


def claim(tx: Transaction, wanted: Wanted, turns: Turns, room: Room | None) -> Claimed:
    """Claim the next jobs of a target: by priority, and by turns of their owners within one.

    Args:
        tx: the transaction.
        wanted: how many of which target.
        turns: whose jobs are known to wait; changed here, so it has to be a copy.
        room: tells how many jobs more of an account may run; None is no bound.
    """
    found: dict[int, int | None] = {}
    asked = not turns.complete
    if asked:
        found.update(dict.fromkeys(_waiting_accounts(tx, wanted.target), UNKNOWN))
        turns.waiting = dict.fromkeys(found, UNKNOWN)
    if room is None and len(turns.waiting) <= 1:
        claims = _claim_in_order(tx, wanted)
        more = len(claims) == wanted.limit
    else:
        claims = _claim_in_turn(tx, wanted, turns, room, found)
        more = bool(turns.waiting)
    tx.changes.queued -= len(claims)
    return Claimed(claims, more, found, complete=asked)


def _claim_in_order(tx: Transaction, wanted: Wanted) -> list[Claim]:
    """Claim the next jobs, which are all of one owner."""
    rows = tx.execute(
        sql.CLAIM,
        claimed_target=wanted.target,
        claimed_by=wanted.boot,
        now=tx.now,
        limit=wanted.limit,
    ).fetchall()
    rows.sort(key=lambda row: (row[4], row[0]))
    return [_claimed(tx, wanted, row) for row in rows]


def _claim_in_turn(
    tx: Transaction,
    wanted: Wanted,
    turns: Turns,
    room: Room | None,
    found: dict[int, int | None],
) -> list[Claim]:
    """Claim jobs one by one; write down what is found about accounts on the way."""
    left = {account: room(account) for account in turns.waiting} if room else {}
    full = {account for account, jobs in left.items() if jobs < 1}
    claims: list[Claim] = []
    while len(claims) < wanted.limit and (account := turns.next(full)) is not None:
        row = tx.execute(
            sql.NEXT_OF_ACCOUNT, claimed_target=wanted.target, of_account=account
        ).fetchone()
        if row is None:
            del turns.waiting[account]
            found[account] = None
            continue
        job_id, priority = row
        if priority > turns.waiting[account]:
            turns.waiting[account] = found[account] = priority
            continue
        claims.append(_claim_one(tx, wanted, job_id))
        turns.last = account
        if account in left:
            left[account] -= 1
            if left[account] < 1:
                full.add(account)
    return claims


def _claim_one(tx: Transaction, wanted: Wanted, job_id: int) -> Claim:
    row = tx.execute(sql.CLAIM_ONE, job_id=job_id, claimed_by=wanted.boot, now=tx.now).fetchone()
    return _claimed(tx, wanted, row)


def _waiting_accounts(tx: Transaction, target: str) -> Iterator[int]:
    """Find the accounts whose jobs wait for a target, by one search of an index for each."""
    after = UNKNOWN
    while (
        account := tx.execute(
            sql.NEXT_WAITING_ACCOUNT, claimed_target=target, after=after
        ).fetchone()[0]
    ) is not None:
        yield account
        after = account


def _claimed(tx: Transaction, wanted: Wanted, row: Sequence[Any]) -> Claim:
    """Make the claim of a row, with the request of its job."""
    job_id, attempt, method, path, _, owner, account, depth, *terms = row
    timeout, replay, retries, retried = terms
    headers, secrets, content = tx.execute(sql.GET_REQUEST, job_id=job_id).fetchone()
    if content is None:
        content = find_body(tx, job_id, "request")
    request = Request(
        method=method,
        path=path,
        headers=decode_headers(headers, secrets),
        body=wanted.body(content),
    )
    return Claim(
        job_id=job_id,
        attempt=attempt,
        target=wanted.target,
        request=request,
        owner=owner,
        account=account,
        depth=depth,
        timeout=timeout,
        replay=Replay(replay) if replay else None,
        retries=retries,
        retried=retried,
        secrets=secrets is not None,
    )


def usage(tx: Transaction, account: int) -> tuple[int, int]:
    """Tell how many jobs of an account wait, and how many bytes are kept of its bodies."""
    row = tx.execute(sql.USAGE, of_account=account).fetchone()
    return (row[0], row[1]) if row else (0, 0)


def request_headers(tx: Transaction, job_id: int) -> Headers:
    """Read what is kept of the headers of a job's request, without its secrets."""
    return decode_headers(*tx.execute(results_sql.GET_HEADERS, job_id=job_id).fetchone())


def check_tag(tx: Transaction, submission: Submission) -> None:
    """Ensure that no unended job of the same owner has a submission's tag.

    Of the jobs with one tag only the newest can go on, since this is asked before each. One whose
    cancellation was asked for counts as ended: its client is told so already.

    Raises:
        TagTaken: one has it.
    """
    tag, owner = submission.tag, writable(submission.owner)
    assert tag is not None
    row = tx.execute(sql.OWN_TAGGED, tag=tag, owner=owner, account=submission.account).fetchone()
    if row is not None and row[1] == Result.NONE and row[2] is None:
        raise TagTaken(tag)


def count_queued(tx: Transaction) -> int:
    """Tell how many jobs are queued."""
    counters = tx.execute(sql.COUNTERS).fetchall()
    return sum(n for machine, state, n in counters if (machine, state) == ("job", State.QUEUED))


def find_body(tx: Transaction, job_id: int, side: str) -> Spooled:
    """Find the large body of one side of a job."""
    return Spooled(*tx.execute(bodies_sql.FIND_BODY, job_id=job_id, side=side).fetchone())


def finish(tx: Transaction, claim: Claim, boot: int, capture: Capture) -> None:
    """End a job with its target's answer, which is kept unless nobody awaits it.

    If the claim is no longer valid, nothing is changed.
    """
    row = tx.execute(
        sql.FINISH,
        job_id=claim.job_id,
        boot=boot,
        claimed_attempt=claim.attempt,
        now=tx.now,
        status=capture.status,
        size=_size(capture.content),
    ).fetchone()
    if row is None:
        return
    if row[0] == Result.HELD:
        tx.execute(
            sql.PUT_RESPONSE,
            job_id=claim.job_id,
            reason=capture.reason and encode_reason(capture.reason),
            headers=json.dumps(capture.headers),
            content=_put_content(tx, claim.job_id, capture.content),
        )
    if claim.secrets:
        tx.execute(sql.FORGET_SECRETS, of_job=claim.job_id)
    tx.tell(Ended(claim.job_id))
    if succeeded(capture.status):
        _release(tx, claim.job_id)
    else:
        break_off(tx, claim.job_id)


def fail(tx: Transaction, claim: Claim, boot: int, failure: Failure, detail: str) -> None:
    """End a job without an answer; see `finish`."""
    _end(tx, sql.FAIL, claim, boot, status=failure.status, why=failure, because=writable(detail))


def stopped(tx: Transaction, claim: Claim, boot: int, detail: str) -> None:
    """End a job whose cancellation was asked for and has taken effect; see `finish`."""
    _end(tx, sql.CANCEL_RUNNING, claim, boot, status=CANCELLED_STATUS, because=writable(detail))


def _end(tx: Transaction, statement: Statement, claim: Claim, boot: int, **values: object) -> None:
    row = tx.execute(
        statement,
        job_id=claim.job_id,
        boot=boot,
        claimed_attempt=claim.attempt,
        now=tx.now,
        **values,
    ).fetchone()
    if claim.secrets:
        tx.execute(sql.FORGET_SECRETS, of_job=claim.job_id)
    if row is not None:
        tx.tell(Ended(claim.job_id))
        break_off(tx, claim.job_id)


def retry(
    tx: Transaction,
    claim: Claim,
    boot: int,
    again_at: int,
    ended: AttemptEnded,
) -> bool:
    """Queue a job again whose attempt has failed for a passing reason.

    Args:
        tx: the transaction.
        claim: the attempt.
        boot: the number of this start of the server.
        again_at: when it may run again.
        ended: how the attempt has ended.

    Returns:
        whether it was queued; if not, the claim is no longer valid or a cancellation was asked for,
        and nothing has changed.
    """
    this = {"job_id": claim.job_id, "boot": boot, "claimed_attempt": claim.attempt}
    attempt = {"answered": ended.status, "why": ended.failure, "because": writable(ended.detail)}
    if not tx.execute(sql.PUT_ATTEMPT, now=tx.now, **this, **attempt).rowcount:
        return False
    tx.execute(sql.RETRY, **this, again_at=again_at).fetchone()
    tx.execute(sql.DELAY, job_id=claim.job_id, length=again_at - tx.now)
    note(tx, claim.job_id, "retried", f"attempt {claim.attempt}: {ended.detail}")
    tx.changes.queued += 1
    tx.tell(Due(again_at))
    tx.tell(Changed(claim.job_id))
    return True


def due(tx: Transaction, limit: int) -> int:
    """Let some of the jobs run whose time has come; return how many."""
    targets = [target for (target,) in tx.execute(sql.DUE, now=tx.now, limit=limit)]
    _ready(tx, targets)
    return len(targets)


def _ready(tx: Transaction, targets: Iterable[str]) -> None:
    for target in dict.fromkeys(targets):
        tx.tell(Ready(target))


def move_delayed(tx: Transaction, by: int) -> None:
    """Move the end of all waits of a given length with a clock that was set.

    Args:
        tx: the transaction.
        by: by how many microseconds it was set; 0 if that is not known.
    """
    if by:
        tx.execute(sql.MOVE_DELAYED, by=by)
    tx.execute(sql.SHORTEN_DELAYED, now=tx.now)
    tx.tell(Due(0))  # look now for what has come due


def next_due(tx: Transaction) -> int | None:
    """Tell when the next job's time comes."""
    row = tx.execute(sql.NEXT_DUE).fetchone()
    return None if row is None else int(row[0])


def _followed(tx: Transaction) -> bool:
    """Tell whether any job waits for the success of another, which is asked once a transaction."""
    if tx.followed is None:
        tx.followed = tx.execute(sql.ANY_FOLLOWER).fetchone() is not None
    return tx.followed


def _release(tx: Transaction, job_id: int) -> None:
    """Let those run that waited for a job: it has succeeded."""
    rows = tx.execute(sql.RELEASE, job_id=job_id).fetchall() if _followed(tx) else ()
    if rows:
        note_all(tx, [row[0] for row in rows], "released", f"job {job_id} has succeeded")
        _ready(tx, (row[1] for row in rows))


def break_off(tx: Transaction, *ended: int) -> None:
    """Cancel those that waited for jobs which did not succeed, and whoever waited for them."""
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
                for follower in ids_of(
                    tx,
                    sql.CANCEL_FOLLOWERS,
                    job_id=each,
                    now=tx.now,
                    status=CANCELLED_STATUS,
                    because=because,
                )
            ]
            cancelled += followed
    if cancelled:
        tx.execute(upkeep_sql.FORGET_SECRETS_OF, ids=encode_ids(cancelled))
    tx.changes.queued -= len(cancelled)
    for each in cancelled:
        tx.tell(Ended(each))


def cancel(tx: Transaction, job_id: int, scope: int | None = None, by: str = "") -> State:
    """Cancel a queued job, ask for the end of a running one, leave an ended one alone.

    Args:
        tx: the transaction.
        job_id: the job.
        scope: the account whose it has to be, or None for anybody's.
        by: the name of who asks for it, or "" if that is not known.

    Returns:
        the state that was found.

    Raises:
        JobNotFound: nobody may ask for this job any more.
    """
    if scope is not None:
        awaited(tx, job_id, scope)
    asker = asked_by(by) if by else None
    because = f"cancelled before it ran, {asker}" if asker else "cancelled before it ran"
    if tx.execute(
        sql.CANCEL_QUEUED, job_id=job_id, now=tx.now, status=CANCELLED_STATUS, because=because
    ).fetchone():
        tx.execute(sql.FORGET_SECRETS, of_job=job_id)
        if asker:
            note(tx, job_id, "cancel asked", asker)
        tx.changes.queued -= 1
        tx.tell(Ended(job_id))
        break_off(tx, job_id)
        return State.QUEUED
    if tx.execute(sql.ASK_CANCEL, job_id=job_id, now=tx.now).fetchone():
        note(tx, job_id, "cancel asked", asker)
        tx.tell(CancelAsked(job_id))
        return State.RUNNING
    return awaited(tx, job_id).state


def awaited(tx: Transaction, job_id: int, scope: int | None = None) -> Job:
    """Get a job whose result somebody may still ask for.

    Args:
        tx: the transaction.
        job_id: the job.
        scope: the account whose it has to be, or None for anybody's.

    Raises:
        JobNotFound: there is none.
    """
    return if_awaited(job_id, tx.execute(sql.GET_JOB, job_id=job_id).fetchone(), scope)


def visible(tx: Transaction, job_id: int, scope: int | None) -> Job:
    """Get a job that stands in the history of whoever asks.

    Raises:
        JobNotFound: there is none.
    """
    return if_visible(job_id, tx.execute(sql.GET_JOB, job_id=job_id).fetchone(), scope)


def if_awaited(job_id: int, row: Sequence[Any] | None, scope: int | None = None) -> Job:
    """Give the job in a row that was looked up, if somebody may still ask for its result.

    Raises:
        JobNotFound: there is no row, or nobody may.
    """
    job = if_visible(job_id, row, scope)
    if job.result not in AWAITED:
        raise JobNotFound(job_id)
    return job


def if_visible(job_id: int, row: Sequence[Any] | None, scope: int | None = None) -> Job:
    """Give the job in a row that was looked up, if it stands in the history of whoever asks.

    Raises:
        JobNotFound: there is no row, it was deleted, or it is another one's.
    """
    job = decode_job(row) if row else None
    if job is None or job.result is Result.DELETED or scope not in {None, job.account}:
        raise JobNotFound(job_id)
    return job


def kept(tx: Transaction, job_id: int, scope: int | None) -> Kept:
    """Get a job whose result somebody may still ask for, with what is kept of its response.

    Args:
        tx: the transaction.
        job_id: the job.
        scope: the account whose it has to be, or None for anybody's.

    Raises:
        JobNotFound: there is none.
    """
    row = tx.execute(results_sql.GET_KEPT, job_id=job_id).fetchone()
    job = if_awaited(job_id, row and row[results_sql.RESPONSE_COLUMNS :], scope)
    reason, headers, content = row[: results_sql.RESPONSE_COLUMNS]
    if headers is None:
        return Kept(job)
    if content is None:
        content = find_body(tx, job_id, "response")
    return Kept(job, decode_reason(reason), decode_headers(headers), content)


def report(tx: Transaction, report: Report, boot: int, scope: int | None = None) -> bool:
    """Write down what a running job's handler reports.

    Returns:
        whether somebody asked for the job's cancellation.

    Raises:
        JobNotFound: this attempt at the job does not run, or not any more.
    """
    if scope is not None:
        row = tx.execute(sql.GET_JOB, job_id=report.job_id).fetchone()
        if_visible(report.job_id, row, scope)
    row = tx.execute(
        sql.REPORT,
        job_id=report.job_id,
        boot=boot,
        claimed_attempt=report.attempt,
        percent=report.progress,
        counted=json.dumps(dict(report.counters)) if report.counters else None,
    ).fetchone()
    if row is None:
        raise JobNotFound(report.job_id)
    for message in report.warnings:
        tx.execute(sql.WARN, job_id=report.job_id)
        note(tx, report.job_id, "warned", message)
    tx.tell(Changed(report.job_id))
    return row[0] is not None


def note(tx: Transaction, job_id: int, event: str, detail: str | None = None) -> None:
    """Add an event to a job's history."""
    detail = None if detail is None else writable(detail)
    tx.execute(sql.NOTE, job_id=job_id, now=tx.now, event=event, detail=detail)


def note_all(tx: Transaction, ids: Sequence[int], event: str, detail: str) -> None:
    """Add the same event to the history of many jobs."""
    tx.execute(sql.NOTE_ALL, ids=encode_ids(ids), now=tx.now, event=event, detail=detail)


def _put_content(tx: Transaction, job_id: int, content: Content) -> bytes | None:
    """Adopt a large body for a job, or give a small one for the message's row."""
    if isinstance(content, bytes):
        return content
    tx.execute(
        bodies_sql.ADOPT_BODY, body_id=content.body_id, of_job=job_id, whole_size=content.size
    )
    return None


def _size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def ids_of(tx: Transaction, statement: Statement, **values: object) -> list[int]:
    """Execute a statement that returns ids, and give these."""
    return [job_id for (job_id,) in tx.execute(statement, **values)]
