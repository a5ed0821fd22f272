"""The statements about the work of jobs, compiled once."""

from typing import Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    null,
    select,
    update,
)

from jobstore.model.lifecycle import Event, Result, State
from jobstore.store import schema
from jobstore.store.sqlite.engine import Statement, blank, constant, listed, merged
from jobstore.store.terms import (
    JOB_COLUMNS,
    ONE,
    ZERO,
    ending,
    in_scope,
    in_state,
    job_event,
    limit,
    now,
    these_jobs,
    this_claim,
    this_job,
    with_result,
)

_job, _request, _response = schema.JOB.c, schema.REQUEST.c, schema.RESPONSE.c
_body, _chunk, _event = schema.BODY.c, schema.CHUNK.c, schema.EVENT.c

_ready: Final = and_(in_state(State.QUEUED), _job.follows.is_(None), _job.not_before.is_(None))

# --- submit -------------------------------------------------------------------------------------

_SUBMITTED: Final = frozenset(
    {
        "state",
        "result",
        "dialect",
        "owner",
        "account",
        "depth",
        "stored",
        "target",
        "method",
        "path",
        "priority",
        "attempt",
        "boot",
        "submitted_at",
        "started_at",
        "source",
    }
)
# What most submissions say nothing about: naming a column costs, even for NULL.
WISHES: Final = frozenset(
    {
        "timeout",
        "replay",
        "tag",
        "once",
        "definition",
        "trigger",
        "follows",
        "not_before",
        "retries",
    }
)


def _submit(names: frozenset[str]) -> Statement:
    columns = [column.name for column in schema.JOB.columns if column.name in names]
    values: dict[str, object] = {name: bindparam(name) for name in columns}
    return Statement(insert(schema.JOB).values(values | {"warnings": literal_column("0")}))


SUBMIT: Final = _submit(_SUBMITTED)
SUBMIT_WITH_WISHES: Final = _submit(_SUBMITTED | WISHES)
PUT_REQUEST: Final = Statement(
    insert(schema.REQUEST).values(
        {column.name: bindparam(column.name) for column in schema.REQUEST.columns}
    )
)

# --- claim --------------------------------------------------------------------------------------


def _claim(which: ColumnElement[bool]) -> Statement:
    return Statement(
        job_event(Event.CLAIM)
        .where(which)
        .values(attempt=_job.attempt + ONE, boot=bindparam("claimed_by"), started_at=now)
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
        )
    )


_waiting: Final = and_(_ready, _job.target == bindparam("claimed_target"))
# The next jobs, where all of them are of one account.
CLAIM: Final = _claim(
    _job.id.in_(
        select(_job.id)
        .where(_waiting)
        .order_by(_job.account, _job.priority, _job.id)
        .limit(limit)
        .offset(ZERO)
    )
)
CLAIM_ONE: Final = _claim(this_job)
NEXT_OF_ACCOUNT: Final = Statement(
    select(_job.id, _job.priority)
    .where(_waiting, _job.account == bindparam("of_account"))
    .order_by(_job.priority, _job.id)
    .limit(ONE)
    .offset(ZERO)
)
NEXT_WAITING_ACCOUNT: Final = Statement(
    select(func.min(_job.account)).where(_waiting, _job.account > bindparam("after"))
)
RUNNING_DEPTH: Final = Statement(select(_job.depth).where(this_job, in_state(State.RUNNING)))
USAGE: Final = Statement(
    select(schema.ACCOUNT_USAGE.c.queued, schema.ACCOUNT_USAGE.c.stored).where(
        schema.ACCOUNT_USAGE.c.account == bindparam("of_account")
    )
)
# A tag is its owner's, and stands for the newest of their jobs that has it.
_tagged: Final = _job.tag == bindparam("tag")
_newest_tagged: Final = (
    select(_job.id, _job.result, _job.cancel_asked_at)
    .order_by(_job.id.desc())
    .limit(ONE)
    .offset(ZERO)
)
OWN_TAGGED: Final = Statement(
    _newest_tagged.where(
        _job.account == bindparam("account"), _job.owner == bindparam("owner"), _tagged
    )
)
ANY_TAGGED: Final = Statement(_newest_tagged.where(_tagged))
GET_REQUEST: Final = Statement(
    select(_request.headers, _request.secrets, _request.content).where(
        _request.job_id == bindparam("job_id")
    )
)

# --- the end of the work ------------------------------------------------------------------------

FINISH: Final = Statement(
    ending(Event.FINISH)
    .where(this_claim)
    .values(
        stored=case(
            (_job.result == constant(Result.NONE), _job.stored + bindparam("size")),
            else_=_job.stored,
        )
    )
    .returning(_job.result)
)
FAIL: Final = Statement(
    ending(Event.FAIL)
    .where(this_claim)
    .values(failure=bindparam("why"), detail=bindparam("because"))
    .returning(_job.result)
)
CANCEL_RUNNING: Final = Statement(
    ending(Event.CANCEL)
    .where(this_claim)
    .values(detail=bindparam("because"))
    .returning(_job.result)
)
CANCEL_QUEUED: Final = Statement(
    ending(Event.CANCEL)
    .where(this_job, in_state(State.QUEUED), with_result(Result.NONE))
    .values(cancel_asked_at=now, detail=bindparam("because"))
    .returning(_job.result)
)
ASK_CANCEL: Final = Statement(
    update(schema.JOB)
    .where(this_job, in_state(State.RUNNING), with_result(Result.NONE))
    .values(cancel_asked_at=func.coalesce(_job.cancel_asked_at, now))
    .returning(_job.id)
)
PUT_RESPONSE: Final = Statement(
    insert(schema.RESPONSE).values(
        {column.name: bindparam(column.name) for column in schema.RESPONSE.columns}
    )
)
FORGET_SECRETS: Final = Statement(
    update(schema.REQUEST)
    .where(_request.job_id == bindparam("of_job"), _request.secrets.is_not(None))
    .values(secrets=blank(_request.secrets))
)

# --- the jobs that wait for their time ----------------------------------------------------------


def _put_attempts(which: ColumnElement[bool]) -> Statement:
    """Keep what there is to say about attempts before the next ones take their place."""
    ended = {
        "job_id": _job.id,
        "number": _job.attempt,
        "started_at": _job.started_at,
        "ended_at": now,
        "status": bindparam("answered"),
        "failure": bindparam("why"),
        "detail": bindparam("because"),
    }
    # A cancellation may have been asked for just now: then there will be no next one.
    running = and_(which, in_state(State.RUNNING), _job.cancel_asked_at.is_(None))
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
NEXT_DUE: Final = Statement(
    select(_job.not_before)
    .where(in_state(State.QUEUED), _job.not_before.is_not(None))
    .order_by(_job.not_before)
    .limit(ONE)
    .offset(ZERO)
)
_delayed: Final = and_(
    in_state(State.QUEUED), _job.not_before.is_not(None), _job.id == schema.DELAY.c.job_id
)
DELAY: Final = Statement(
    insert(schema.DELAY)
    .prefix_with("OR REPLACE")
    .values(job_id=bindparam("job_id"), length=bindparam("length"))
)
# All at once: what had been moved already when a crash came would be moved again.
MOVE_DELAYED: Final = Statement(
    update(schema.JOB)
    .where(_delayed)
    .values(not_before=_job.not_before + bindparam("by", type_=Integer))
)
# No wait takes longer than it would from now on.
SHORTEN_DELAYED: Final = Statement(
    update(schema.JOB)
    .where(_delayed, _job.not_before > now + schema.DELAY.c.length)
    .values(not_before=now + schema.DELAY.c.length)
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
    .returning(_job.target)
)

# --- the jobs that wait for others --------------------------------------------------------------

ANY_FOLLOWER: Final = Statement(
    select(_job.id).where(_job.follows.is_not(None)).limit(ONE).offset(ZERO)
)
_followers: Final = and_(in_state(State.QUEUED), _job.follows == bindparam("job_id"))
RELEASE: Final = Statement(
    update(schema.JOB).where(_followers).values(follows=null()).returning(_job.id, _job.target)
)
CANCEL_FOLLOWERS: Final = Statement(
    ending(Event.CANCEL).where(_followers).values(detail=bindparam("because")).returning(_job.id)
)

# --- reports and events -------------------------------------------------------------------------

REPORT: Final = Statement(
    update(schema.JOB)
    .where(this_claim, in_state(State.RUNNING))
    .values(
        progress=func.coalesce(bindparam("percent"), _job.progress),
        counters=merged(_job.counters, "counted"),
    )
    .returning(_job.cancel_asked_at)
)
WARN: Final = Statement(update(schema.JOB).where(this_job).values(warnings=_job.warnings + ONE))
NOTE: Final = Statement(
    insert(schema.EVENT).values(
        job_id=bindparam("job_id"),
        at=now,
        event=bindparam("event"),
        detail=bindparam("detail"),
    )
)
_listed_ids: Final = listed("ids").subquery()
NOTE_ALL: Final = Statement(
    insert(schema.EVENT).from_select(
        ["job_id", "at", "event", "detail"],
        select(_listed_ids.c.value, now, bindparam("event"), bindparam("detail")),
    )
)

# --- reading ------------------------------------------------------------------------------------

GET_JOB: Final = Statement(select(*JOB_COLUMNS).where(this_job))
PENDING_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.NONE), in_scope)
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
HELD_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.HELD), in_scope)
    .order_by(_job.id)
    .limit(limit)
    .offset(ZERO)
)
LAST_ID: Final = Statement(select(func.coalesce(func.max(_job.id), ZERO)))
COUNTERS: Final = Statement(
    select(schema.COUNTER.c.machine, schema.COUNTER.c.state, schema.COUNTER.c.count)
)

# --- what other processes put in ----------------------------------------------------------------

REVISE: Final = Statement(
    update(schema.REVISION)
    .where(schema.REVISION.c.of == constant("queue"))
    .values(number=schema.REVISION.c.number + ONE)
)
REVISION: Final = Statement(
    select(schema.REVISION.c.number).where(schema.REVISION.c.of == bindparam("of"))
)
