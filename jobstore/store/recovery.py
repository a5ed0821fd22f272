"""Recover the jobs that an earlier start of the server left running.

**How they are found.** Each start of a server has a row in `boot`, with a number that is never
used again, and each running job has the number of the start that claimed it. A file has one owner
at a time, so a running job with an earlier number belongs to nobody, and no timer guesses. In a
database that nodes share, it belongs to nobody once the start that claimed it has ended; a start
that died is ended by the others when its lease is over, and can commit nothing from then on (see
`jobstore.live.nodes`). Whether the attempt was sent cannot be known.

**What is decided.** `jobstore.live.recovering.decide` decides from the job alone. If its
cancellation was requested, it is cancelled. If it may be sent again, by RFC 9110 section 9.2.2 or
because its target or client allows it, it is queued again, unless it was interrupted too often: a
job that crashes the server must not do so for ever. Any other job fails as interrupted, and its
response says so.

**When.** At each start, before schedules run, while the server already accepts requests; a node
also does so at each beat. Each step changes some jobs in one transaction and records it in their
histories. If the server dies in the middle, the next start finds what is left.

**Fencing.** Late results of an earlier attempt are ignored: the end of an attempt names its boot
and its number, and recovery changes both.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    bindparam,
    func,
    insert,
    null,
    select,
    true,
    update,
)
from sqlalchemy.sql.elements import ClauseElement

from jobstore.model.job import CANCELLED_STATUS, Failure
from jobstore.model.lifecycle import JOB, Event, State
from jobstore.store import ending, events, schema
from jobstore.store.codec import encode_ids, writable
from jobstore.store.expressions import Statement, constant
from jobstore.store.facts import Ready
from jobstore.store.guards import (
    ZERO,
    ended_by,
    in_state,
    job_event,
    limit,
    now,
    still_in_state,
    these_jobs,
)
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_boot: Final = schema.BOOT.c
# On PostgreSQL, several nodes may recover the same jobs at the same time, and what one of them has
# recovered may run again elsewhere: only what belongs to a start that is over is an orphan.
_over: Final = _job.boot.in_(
    select(schema.BOOT.c.id).where(schema.BOOT.c.ended_at.is_not(None)).scalar_subquery()
)


def _of_orphans(write: Callable[[ColumnElement[bool]], ClauseElement]) -> Statement:
    """Return a statement about jobs whose server is gone."""
    return Statement(write(true()), write(_over))


def _orphans(which: ColumnElement[bool]) -> Select[Any]:
    return (
        select(
            _job.id,
            _job.boot,
            _job.method,
            _job.path,
            _job.attempt,
            _job.cancel_asked_at,
            _job.retried,
            _job.replay,
            _job.target,
        )
        .where(in_state(State.RUNNING), which)
        .order_by(_job.boot, _job.id)
        .limit(limit)
        .offset(ZERO)
    )


# A file has one server at a time: all starts before its own are over.
ORPHANS: Final = Statement(_orphans(_job.boot < bindparam("boot")), _orphans(_over))
# A cancellation may have been asked for just now; and on PostgreSQL another node may recover them.
RECOVERABLE: Final = _of_orphans(
    lambda over: (
        select(_job.id)
        .where(these_jobs, still_in_state(State.RUNNING), _job.cancel_asked_at.is_(None), over)
        .order_by(_job.id)
        .with_for_update()
    )
)
RECOVER: Final = Statement(
    job_event(Event.RECOVER)
    .where(these_jobs)
    .values(started_at=null())
    .returning(_job.id, _job.account)
)


def recover(tx: Transaction, ids: Sequence[int], detail: str) -> int:
    """Queue orphaned jobs again; return how many."""
    interrupted = {"answered": None, "why": Failure.INTERRUPTED, "because": writable(detail)}
    found = encode_ids(tx.ids(RECOVERABLE, ids=encode_ids(ids)))
    tx.execute(ending.PUT_ATTEMPTS, ids=found, now=tx.now, **interrupted)
    rows = tx.execute(RECOVER, ids=found).fetchall()
    for _, account in rows:
        tx.tally.moved(account, State.RUNNING, State.QUEUED)
    recovered = [row[0] for row in rows]
    events.note_all(tx, recovered, "recovered", detail)
    tx.changes.queued += len(recovered)
    tx.tell(Ready(None))
    return len(recovered)


def _end_from(
    event: Event, before: State, words: Mapping[str, BindParameter[Any]]
) -> Callable[[ColumnElement[bool]], ClauseElement]:
    return lambda over: (
        ended_by(event).where(these_jobs, still_in_state(before), over).values(words)
    )


def _end_these(event: Event, **words: BindParameter[Any]) -> Mapping[State, Statement]:
    """Return a statement for each state that jobs may end from, so that each can be counted."""
    return {before: _of_orphans(_end_from(event, before, words)) for before in JOB[event]}


FAIL_ORPHANS: Final = _end_these(Event.FAIL, failure=bindparam("why"), detail=bindparam("because"))


def fail_orphans(tx: Transaction, ids: Sequence[int], detail: str) -> None:
    """End orphaned jobs that must not run again."""
    failure = Failure.INTERRUPTED
    values = {"status": failure.status, "why": failure, "because": writable(detail)}
    _end_orphans(tx, FAIL_ORPHANS, State.FAILED, ids, **values)


CANCEL_ORPHANS: Final = _end_these(Event.CANCEL, detail=bindparam("because"))


def cancel_orphans(tx: Transaction, ids: Sequence[int], detail: str) -> None:
    """End orphaned jobs whose cancellation was requested."""
    values = {"status": CANCELLED_STATUS, "because": writable(detail)}
    _end_orphans(tx, CANCEL_ORPHANS, State.CANCELLED, ids, **values)


def _end_orphans(
    tx: Transaction,
    statements: Mapping[State, Statement],
    after: State,
    ids: Sequence[int],
    **values: object,
) -> None:
    listed = encode_ids(ids)
    ended = [
        job_id
        for before, statement in statements.items()
        for job_id in ending.end(tx, statement, before, after, ids=listed, **values)
    ]
    tx.execute(ending.FORGET_SECRETS_OF, ids=encode_ids(ended))
    ending.break_off(tx, *ended)


# --- targets that are gone ------------------------------------------------------------------------


NEXT_QUEUED_TARGET: Final = Statement(
    select(func.min(_job.target)).where(in_state(State.QUEUED), _job.target > bindparam("after"))
)
REROUTE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(in_state(State.QUEUED), _job.target == bindparam("old"))
            .limit(limit)
            .offset(ZERO)
        )
    )
    .values(target=bindparam("new"))
)


def reroute(tx: Transaction, old: str, new: str, limit: int) -> int:
    """Queue some of the jobs of a removed target for another one; return how many."""
    tx.tell(Ready(new))
    return tx.execute(REROUTE, old=old, new=new, limit=limit).rowcount


# --- starts of the server -------------------------------------------------------------------------


BOOT: Final = Statement(
    insert(schema.BOOT).values(started_at=now, pid=bindparam("pid"), version=bindparam("version"))
)
END_BOOT: Final = Statement(
    update(schema.BOOT).where(schema.BOOT.c.id == bindparam("boot")).values(ended_at=now)
)


def _get_boot(died: ColumnElement[int], targets: ColumnElement[str]) -> ClauseElement:
    columns = (_boot.pid, _boot.started_at, _boot.ended_at, died, targets)
    return select(*columns).where(_boot.id == bindparam("boot"))


# Only among several nodes, one is declared dead by others, and they may have different targets.
GET_BOOT: Final = Statement(_get_boot(ZERO, constant("{}")), _get_boot(_boot.died, _boot.targets))
