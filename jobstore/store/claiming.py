"""Which jobs run next: each function is one step of a transaction."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Update, and_, bindparam, func, null, select, update

from jobstore.model.frozen import frozen
from jobstore.model.job import Claim
from jobstore.model.lifecycle import Event, State
from jobstore.model.message import Body, Request
from jobstore.model.rotation import UNKNOWN, Claimed, Room, Turns
from jobstore.store import bodies, schema
from jobstore.store.bodies import Content
from jobstore.store.codec import decode_headers, decode_policy
from jobstore.store.expressions import Statement, no_earlier, number, replacing
from jobstore.store.facts import Due, Ready
from jobstore.store.guards import (
    ONE,
    ZERO,
    in_state,
    job_event,
    limit,
    now,
    still_in_state,
    this_job,
)
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
READY: Final = and_(in_state(State.QUEUED), _job.follows.is_(None), _job.not_before.is_(None))


_last_end: Final = (
    select(func.max(schema.ATTEMPT.c.ended_at))
    .where(schema.ATTEMPT.c.job_id == _job.id, _job.attempt > ZERO)
    .correlate(schema.JOB)
    .scalar_subquery()
)


_wait: Final = func.coalesce(
    select(schema.DELAY.c.length)
    .where(schema.DELAY.c.job_id == _job.id)
    .correlate(schema.JOB)
    .scalar_subquery(),
    ZERO,
)
# From when on a job could have run, for the first time or again, as far as that is still known: one
# that was to run at a time that its client has named counts from its submission.
_since: Final = _job.submitted_at + _wait
since_last_end: Final = func.coalesce(_last_end, _job.submitted_at) + _wait


def _claim(which: ColumnElement[bool]) -> Update:
    return (
        job_event(Event.CLAIM)
        .where(which)
        .values(
            attempt=_job.attempt + ONE,
            boot=bindparam("claimed_by"),
            started_at=no_earlier(now, func.coalesce(_last_end, _job.submitted_at)),
        )
        .returning(
            _job.id,
            _job.attempt,
            _job.method,
            _job.path,
            _job.priority,
            _job.owner,
            _job.account,
            _job.depth,
            _job.timeout,
            _job.replay,
            _job.retries,
            _job.retried,
            _job.source,
            _since,
        )
    )


WAITING: Final = and_(READY, _job.target == bindparam("claimed_target"))
# The next jobs, where all of them are of one account.
_next: Final = (
    select(_job.id)
    .where(WAITING)
    .order_by(_job.account, _job.priority, _job.id)
    .limit(limit)
    .offset(ZERO)
)
# What another node claims just now is not waited for. PostgreSQL may ask a subquery once for each
# row that it looks at, and one that skips what is locked would give other jobs each time; this one
# it asks once.
_skipping: Final = (
    _next.with_for_update(skip_locked=True)
    .cte("next")
    .prefix_with("MATERIALIZED", dialect="postgresql")
)
CLAIM: Final = Statement(_claim(_job.id.in_(_next)), _claim(_job.id.in_(select(_skipping.c.id))))
CLAIM_ONE: Final = Statement(_claim(this_job))
NEXT_OF_ACCOUNT: Final = Statement(
    select(_job.id, _job.priority)
    .where(WAITING, _job.account == bindparam("of_account"))
    .order_by(_job.priority, _job.id)
    .limit(ONE)
    .offset(ZERO)
    .with_for_update(skip_locked=True)
)
NEXT_WAITING_ACCOUNT: Final = Statement(
    select(func.min(_job.account)).where(WAITING, _job.account > bindparam("after"))
)
GET_REQUEST: Final = Statement(
    select(_request.headers, _request.secrets, _request.content).where(
        _request.job_id == bindparam("job_id")
    )
)
RUNNING_DEPTH: Final = Statement(select(_job.depth).where(this_job, still_in_state(State.RUNNING)))


class KnownRequest(NamedTuple):
    """The request of a job, and whether the store keeps secrets of it until the job ends."""

    request: Request
    secrets: bool


@frozen
class Wanted:
    """What to claim.

    Args:
        target: the target's name.
        boot: the number of the server start that will run the jobs.
        limit: how many jobs at most.
        body: returns a stored body for reading.
        known: returns the request of a job if it is in memory.
    """

    target: str
    boot: int
    limit: int
    body: Callable[[Content], Body]
    known: Callable[[int], KnownRequest | None]


def claim(tx: Transaction, wanted: Wanted, turns: Turns, room: Room | None) -> Claimed:
    """Claim the next jobs of a target by priority; within a priority, owners take turns.

    Args:
        wanted: how many of which target.
        turns: the accounts whose jobs are known to wait; changed here, so it has to be a copy.
        room: returns how many more jobs of an account may run; None means no limit.
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
    """Claim the next jobs, all of which belong to one owner."""
    rows = tx.execute(
        CLAIM,
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
    """Claim jobs one by one, and note what is found about accounts on the way."""
    left = {account: room(account) for account in turns.waiting} if room else {}
    full = {account for account, jobs in left.items() if jobs < 1}
    claims: list[Claim] = []
    while len(claims) < wanted.limit and (account := turns.next(full)) is not None:
        row = tx.execute(
            NEXT_OF_ACCOUNT, claimed_target=wanted.target, of_account=account
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
    row = tx.execute(CLAIM_ONE, job_id=job_id, claimed_by=wanted.boot, now=tx.now).fetchone()
    return _claimed(tx, wanted, row)


def _waiting_accounts(tx: Transaction, target: str) -> Iterator[int]:
    """Return the accounts whose jobs wait for a target, by one index lookup for each."""
    after = UNKNOWN
    while (
        account := tx.execute(NEXT_WAITING_ACCOUNT, claimed_target=target, after=after).fetchone()[
            0
        ]
    ) is not None:
        yield account
        after = account


def _claimed(tx: Transaction, wanted: Wanted, row: Sequence[Any]) -> Claim:
    """Count a claimed job, and return the claim with its request."""
    job_id, attempt, method, path, _, owner, account, depth, *terms = row
    tx.tally.moved(account, State.QUEUED, State.RUNNING)
    timeout, replay, retries, retried, source, since = terms
    known = wanted.known(job_id) or _read_request(tx, wanted, job_id, method, path)
    return Claim(
        job_id=job_id,
        attempt=attempt,
        boot=wanted.boot,
        target=wanted.target,
        request=known.request,
        owner=owner,
        account=account,
        depth=depth,
        policy=decode_policy(timeout, replay, retries),
        retried=retried,
        secrets=known.secrets,
        source=source,
        waited=max(0, tx.now - since) if attempt == 1 else None,
    )


def _read_request(
    tx: Transaction, wanted: Wanted, job_id: int, method: str, path: str
) -> KnownRequest:
    headers, secrets, content = tx.execute(GET_REQUEST, job_id=job_id).fetchone()
    if content is None:
        content = bodies.find_body(tx, job_id, "request")
    request = Request(
        method=method,
        path=path,
        headers=decode_headers(headers, secrets),
        body=wanted.body(content),
    )
    return KnownRequest(request, secrets is not None)


# --- what waits for its time ----------------------------------------------------------------------


_delayed: Final = and_(
    in_state(State.QUEUED), _job.not_before.is_not(None), _job.id == schema.DELAY.c.job_id
)
DELAY: Final = replacing(schema.DELAY, "job_id")
# All at once: what had been moved already when a crash came would be moved again.
MOVE_DELAYED: Final = Statement(
    update(schema.JOB).where(_delayed).values(not_before=_job.not_before + number("by"))
)
# No wait takes longer than it would from now on.
SHORTEN_DELAYED: Final = Statement(
    update(schema.JOB)
    .where(_delayed, _job.not_before > now + schema.DELAY.c.length)
    .values(not_before=now + schema.DELAY.c.length)
)
NEXT_DUE: Final = Statement(
    select(_job.not_before)
    .where(in_state(State.QUEUED), _job.not_before.is_not(None))
    .order_by(_job.not_before)
    .limit(ONE)
    .offset(ZERO)
)
DUE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(in_state(State.QUEUED), _job.not_before.is_not(None), _job.not_before <= now)
            .order_by(_job.not_before)
            .limit(limit)
            .offset(ZERO)
        )
    )
    .values(not_before=null())
    .returning(_job.target, _job.id, _job.submitted_at)
)


def due(tx: Transaction, limit: int, held: Collection[str] = ()) -> int:
    """Make some of the jobs whose time has come ready to run; return how many.

    Args:
        held: the targets that cannot be reached: from now on their jobs wait for the target.
    """
    found = tx.execute(DUE, now=tx.now, limit=limit).fetchall()
    for target, job_id, submitted_at in found:
        if target in held:
            tx.execute(DELAY, job_id=job_id, length=tx.now - submitted_at)
    tell_ready(tx, (row[0] for row in found))
    return len(found)


def move_delayed(tx: Transaction, by: int) -> None:
    """Move the ends of all waits of a given length with a clock that was set.

    Args:
        by: by how many microseconds it was set; 0 if unknown.
    """
    if by:
        tx.execute(MOVE_DELAYED, by=by)
    tx.execute(SHORTEN_DELAYED, now=tx.now)
    tx.tell(Due(0))  # look now for what has come due


def next_due(tx: Transaction) -> int | None:
    """Return when the next delayed job may run."""
    row = tx.execute(NEXT_DUE).fetchone()
    return None if row is None else int(row[0])


def tell_ready(tx: Transaction, targets: Iterable[str]) -> None:
    """Report for each target that jobs may be waiting."""
    for target in dict.fromkeys(targets):
        tx.tell(Ready(target))
