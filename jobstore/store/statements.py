"""Every statement of the store, compiled once; the guards come from the tables of the lifecycle."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Update,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from jobstore.lifecycle import AWAITED, ENDED, JOB, RESULT, Event, Result, State
from jobstore.store import schema
from jobstore.store.sqlite import Statement, blank, constant, listed, merged

_job, _request, _response = schema.JOB.c, schema.REQUEST.c, schema.RESPONSE.c
_body, _chunk, _event = schema.BODY.c, schema.CHUNK.c, schema.EVENT.c
_now: Final[BindParameter[Any]] = bindparam("now")
_limit: Final[BindParameter[Any]] = bindparam("limit")
_ZERO: Final = literal_column("0", Integer)  # SQLAlchemy would bind it, at each execution
_ONE: Final = literal_column("1", Integer)

JOB_COLUMNS: Final = tuple(
    column
    for column in schema.JOB.columns
    if column.name not in {"boot", "purgeable_at", "timeout", "replay", "retries"}
)


def in_state(*states: State) -> ColumnElement[bool]:
    """Match jobs in one of the states, in words that partial indexes understand."""
    return or_(*(_job.state == constant(state) for state in states))


def with_result(*results: Result) -> ColumnElement[bool]:
    """Match jobs whose result stands at one of these, in words that partial indexes understand."""
    return or_(*(_job.result == constant(result) for result in results))


def _results_after(event: Event) -> ColumnElement[Any]:
    """Give the result after an event, by the result before it."""
    moves: Mapping[Result, Result] = RESULT[event]
    return case(
        *(
            (_job.result == constant(old), constant(new))
            for old, new in moves.items()
            if old != new
        ),
        else_=_job.result,
    )


def _job_event(event: Event) -> Update:
    """Move jobs on by an event, only from where the lifecycle lets it happen."""
    moves = JOB[event]
    (after,) = set(moves.values())
    return update(schema.JOB).where(in_state(*moves)).values(state=constant(after))


def _result_event(event: Event) -> Update:
    """Move results on by an event, only from where the lifecycle lets it happen."""
    return (
        update(schema.JOB).where(with_result(*RESULT[event])).values(result=_results_after(event))
    )


def _ending(event: Event) -> Update:
    """End the work of jobs: the result is held, or on its way out if nobody awaits it."""
    return _job_event(event).values(
        result=_results_after(event),
        finished_at=_now,
        purgeable_at=case((_job.result == constant(Result.NONE), null()), else_=_now),
        status=bindparam("status"),
    )


_this_job: Final = _job.id == bindparam("job_id")
_these_jobs: Final = _job.id.in_(listed("ids"))
_ready: Final = and_(in_state(State.QUEUED), _job.follows.is_(None), _job.not_before.is_(None))
_in_scope: Final = or_(bindparam("scope").is_(None), _job.owner == bindparam("scope"))
# A claim is a fence: what an earlier attempt has to say about the job is not heard.
_this_claim: Final = and_(
    _this_job, _job.boot == bindparam("boot"), _job.attempt == bindparam("claimed_attempt")
)

# --- submit -------------------------------------------------------------------------------------

SUBMIT: Final = Statement(
    insert(schema.JOB).values(
        {
            column.name: bindparam(column.name)
            for column in schema.JOB.columns
            if column.name
            in {
                "state",
                "result",
                "dialect",
                "owner",
                "target",
                "method",
                "path",
                "priority",
                "attempt",
                "boot",
                "submitted_at",
                "started_at",
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
        }
        | {"warnings": literal_column("0")}
    )
)
PUT_REQUEST: Final = Statement(
    insert(schema.REQUEST).values(
        {column.name: bindparam(column.name) for column in schema.REQUEST.columns}
    )
)

# --- claim --------------------------------------------------------------------------------------

CLAIM: Final = Statement(
    _job_event(Event.CLAIM)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(_ready, _job.target == bindparam("claimed_target"))
            .order_by(_job.priority, _job.id)
            .limit(_limit)
            .offset(_ZERO)
        )
    )
    .values(attempt=_job.attempt + _ONE, boot=bindparam("claimed_by"), started_at=_now)
    .returning(
        _job.id,
        _job.attempt,
        _job.method,
        _job.path,
        _job.priority,
        _job.owner,
        _job.timeout,
        _job.replay,
        _job.retries,
        _job.retried,
    )
)
TAGGED: Final = Statement(
    select(_job.id, _job.owner)
    .where(_job.tag == bindparam("tag"), with_result(*AWAITED), _in_scope)
    .order_by(_job.id.desc())
    .limit(_ONE)
    .offset(_ZERO)
)
GET_REQUEST: Final = Statement(
    select(_request.headers, _request.secrets, _request.content).where(
        _request.job_id == bindparam("job_id")
    )
)

# --- the end of the work ------------------------------------------------------------------------

FINISH: Final = Statement(_ending(Event.FINISH).where(_this_claim).returning(_job.result))
FAIL: Final = Statement(
    _ending(Event.FAIL)
    .where(_this_claim)
    .values(failure=bindparam("why"), detail=bindparam("because"))
    .returning(_job.result)
)
CANCEL_RUNNING: Final = Statement(
    _ending(Event.CANCEL)
    .where(_this_claim)
    .values(detail=bindparam("because"))
    .returning(_job.result)
)
CANCEL_QUEUED: Final = Statement(
    _ending(Event.CANCEL)
    .where(_this_job, in_state(State.QUEUED), with_result(Result.NONE))
    .values(cancel_asked_at=_now, detail=bindparam("because"))
    .returning(_job.result)
)
ASK_CANCEL: Final = Statement(
    update(schema.JOB)
    .where(_this_job, in_state(State.RUNNING), with_result(Result.NONE))
    .values(cancel_asked_at=func.coalesce(_job.cancel_asked_at, _now))
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
        "ended_at": _now,
        "status": bindparam("answered"),
        "failure": bindparam("why"),
        "detail": bindparam("because"),
    }
    # A cancellation may have been asked for just now: then there will be no next one.
    running = and_(which, in_state(State.RUNNING), _job.cancel_asked_at.is_(None))
    return Statement(
        insert(schema.ATTEMPT).from_select(list(ended), select(*ended.values()).where(running))
    )


PUT_ATTEMPT: Final = _put_attempts(_this_claim)
PUT_ATTEMPTS: Final = _put_attempts(_these_jobs)
RETRY: Final = Statement(
    _job_event(Event.RETRY)
    .where(_this_claim, _job.cancel_asked_at.is_(None))
    .values(
        retried=_job.retried + _ONE,
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
    .limit(_ONE)
    .offset(_ZERO)
)
DUE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(in_state(State.QUEUED), _job.not_before.is_not(None), _job.not_before <= _now)
            .order_by(_job.not_before)
            .limit(_limit)
            .offset(_ZERO)
        )
    )
    .values(not_before=null())
    .returning(_job.target)
)

# --- the jobs that wait for others --------------------------------------------------------------

_followers: Final = and_(in_state(State.QUEUED), _job.follows == bindparam("job_id"))
RELEASE: Final = Statement(
    update(schema.JOB).where(_followers).values(follows=null()).returning(_job.id, _job.target)
)
CANCEL_FOLLOWERS: Final = Statement(
    _ending(Event.CANCEL).where(_followers).values(detail=bindparam("because")).returning(_job.id)
)

# --- recovery -----------------------------------------------------------------------------------

ORPHANS: Final = Statement(
    select(
        _job.id,
        _job.boot,
        _job.method,
        _job.path,
        _job.attempt,
        _job.cancel_asked_at,
        _job.retried,
        _job.replay,
    )
    .where(in_state(State.RUNNING), _job.boot < bindparam("boot"))
    .order_by(_job.boot, _job.id)
    .limit(_limit)
    .offset(_ZERO)
)
RECOVER: Final = Statement(
    _job_event(Event.RECOVER)
    .where(_these_jobs, _job.cancel_asked_at.is_(None))  # it may have been asked for just now
    .values(started_at=null())
    .returning(_job.id)
)
FAIL_ORPHANS: Final = Statement(
    _ending(Event.FAIL)
    .where(_these_jobs)
    .values(failure=bindparam("why"), detail=bindparam("because"))
    .returning(_job.id)
)
CANCEL_ORPHANS: Final = Statement(
    _ending(Event.CANCEL).where(_these_jobs).values(detail=bindparam("because")).returning(_job.id)
)
FORGET_SECRETS_OF: Final = Statement(
    update(schema.REQUEST)
    .where(_request.job_id.in_(listed("ids")), _request.secrets.is_not(None))
    .values(secrets=blank(_request.secrets))
)
NEXT_QUEUED_TARGET: Final = Statement(
    select(func.min(_job.target)).where(in_state(State.QUEUED), _job.target > bindparam("after"))
)
REROUTE: Final = Statement(
    update(schema.JOB)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(in_state(State.QUEUED), _job.target == bindparam("old"))
            .limit(_limit)
            .offset(_ZERO)
        )
    )
    .values(target=bindparam("new"))
)

# --- the result ---------------------------------------------------------------------------------

TAKE: Final = Statement(
    _result_event(Event.TAKE).where(_this_job).values(fetched_at=_now, purgeable_at=_now)
)
# A payload that was purged meanwhile does not come back.
_still_kept: Final = _job.purgeable_at.is_not(None)
GIVE_BACK: Final = Statement(
    _result_event(Event.GIVE_BACK)
    .where(_this_job, _still_kept)
    .values(fetched_at=null(), purgeable_at=null())
    .returning(_job.id)
)
RESTORE: Final = Statement(
    _result_event(Event.RESTORE)
    .where(_this_job, _still_kept)
    .values(fetched_at=null(), purgeable_at=null())
    .returning(_job.id)
)
GET_RESPONSE: Final = Statement(
    select(_response.reason, _response.headers, _response.content).where(
        _response.job_id == bindparam("job_id")
    )
)
# What is kept of a request's headers says how its answer is to be read.
GET_HEADERS: Final = Statement(
    select(_request.headers).where(_request.job_id == bindparam("job_id"))
)
# A job deleted before its end stays unpurgeable until then: it still needs its request.
_since_ended: Final = case((in_state(*ENDED), _now), else_=null())
DELETE: Final = Statement(
    _result_event(Event.DELETE)
    .where(_this_job, with_result(*AWAITED))
    .values(purgeable_at=_since_ended)
    .returning(_job.id)
)
# Whoever may see a job for good may delete what is left of it as well.
DISCARD: Final = Statement(
    _result_event(Event.DELETE)
    .where(_this_job)
    .values(fetched_at=null(), purgeable_at=_since_ended)
    .returning(_job.id)
)


def _delete_step(awaited: Result) -> Statement:
    return Statement(
        _result_event(Event.DELETE)
        .where(
            _job.id.in_(
                select(_job.id)
                .where(
                    with_result(awaited),
                    _job.id > bindparam("after"),
                    _job.id <= bindparam("last"),
                    _job.id.not_in(listed("busy")),
                    _in_scope,
                )
                .order_by(_job.id)
                .limit(_limit)
                .offset(_ZERO)
            )
        )
        .values(purgeable_at=_since_ended)
        .returning(_job.id)
    )


DELETE_STEPS: Final = tuple(_delete_step(awaited) for awaited in AWAITED)
EXPIRE_STEP: Final = Statement(
    _result_event(Event.EXPIRE)
    .where(
        _job.id.in_(
            select(_job.id)
            .where(
                with_result(Result.HELD),
                _job.finished_at >= bindparam("since"),
                _job.finished_at < bindparam("before"),
                _job.id.not_in(listed("busy")),
                _in_scope,
            )
            .order_by(_job.finished_at)
            .limit(_limit)
            .offset(_ZERO)
        )
    )
    .values(purgeable_at=_now)
    .returning(_job.id, _job.finished_at)
)
DROP_RESPONSES: Final = Statement(
    delete(schema.RESPONSE).where(_response.job_id.in_(listed("ids")))
)
DROP_RESPONSE_BODIES: Final = Statement(
    update(schema.BODY)
    .where(_body.job_id.in_(listed("ids")), _body.side == constant("response"))
    .values(job_id=null())
)

# --- large bodies -------------------------------------------------------------------------------

OPEN_BODY: Final = Statement(
    insert(schema.BODY).values(side=bindparam("side"), size=literal_column("0"))
)
PUT_CHUNK: Final = Statement(
    insert(schema.CHUNK).values(
        body_id=bindparam("body_id"), seq=bindparam("seq"), data=bindparam("data")
    )
)
ADOPT_BODY: Final = Statement(
    update(schema.BODY)
    .where(_body.id == bindparam("body_id"))
    .values(job_id=bindparam("of_job"), size=bindparam("whole_size"))
)
FIND_BODY: Final = Statement(
    select(_body.id, _body.size).where(
        _body.job_id == bindparam("job_id"), _body.side == bindparam("side")
    )
)
GET_CHUNK: Final = Statement(
    select(_chunk.data).where(
        _chunk.body_id == bindparam("body_id"), _chunk.seq == bindparam("seq")
    )
)
ORPHAN_BODY: Final = Statement(
    select(_body.id)
    .where(_body.job_id.is_(None), _body.id.not_in(listed("open")))
    .order_by(_body.id)
    .limit(_ONE)
    .offset(_ZERO)
)
SWEEP_CHUNKS: Final = Statement(
    delete(schema.CHUNK).where(
        _chunk.body_id == bindparam("body_id"),
        _chunk.seq.in_(
            select(_chunk.seq)
            .where(_chunk.body_id == bindparam("body_id"))
            .order_by(_chunk.seq)
            .limit(_limit)
            .offset(_ZERO)
        ),
    )
)
SWEEP_BODY: Final = Statement(delete(schema.BODY).where(_body.id == bindparam("body_id")))

# --- reports and events -------------------------------------------------------------------------

REPORT: Final = Statement(
    update(schema.JOB)
    .where(_this_claim, in_state(State.RUNNING))
    .values(
        progress=func.coalesce(bindparam("percent"), _job.progress),
        counters=merged(_job.counters, "counted"),
    )
    .returning(_job.cancel_asked_at)
)
WARN: Final = Statement(update(schema.JOB).where(_this_job).values(warnings=_job.warnings + _ONE))
NOTE: Final = Statement(
    insert(schema.EVENT).values(
        job_id=bindparam("job_id"),
        at=_now,
        event=bindparam("event"),
        detail=bindparam("detail"),
    )
)
_listed_ids: Final = listed("ids").subquery()
NOTE_ALL: Final = Statement(
    insert(schema.EVENT).from_select(
        ["job_id", "at", "event", "detail"],
        select(_listed_ids.c.value, _now, bindparam("event"), bindparam("detail")),
    )
)

# --- retention ----------------------------------------------------------------------------------

PURGEABLE: Final = Statement(
    select(_job.id)
    .where(_job.purgeable_at.is_not(None), _job.purgeable_at < bindparam("before"))
    .order_by(_job.purgeable_at)
    .limit(_limit)
    .offset(_ZERO)
)
PURGE: Final = Statement(
    update(schema.JOB)
    .where(_these_jobs, _job.purgeable_at.is_not(None))
    .values(purgeable_at=null())
)
DROP_REQUESTS: Final = Statement(delete(schema.REQUEST).where(_request.job_id.in_(listed("ids"))))
DROP_BODIES: Final = Statement(
    update(schema.BODY).where(_body.job_id.in_(listed("ids"))).values(job_id=null())
)
BY_AGE: Final = Statement(
    select(_job.id, _job.submitted_at, _job.finished_at, _job.result)
    .where(_job.id > bindparam("after"))
    .order_by(_job.id)
    .limit(_limit)
    .offset(_ZERO)
)
DROP_JOBS: Final = Statement(
    delete(schema.JOB).where(
        _these_jobs, in_state(*ENDED), _job.result.not_in([constant(r) for r in AWAITED])
    )
)

# --- reading ------------------------------------------------------------------------------------

GET_JOB: Final = Statement(select(*JOB_COLUMNS).where(_this_job))
PENDING_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.NONE), _in_scope)
    .order_by(_job.id)
    .limit(_limit)
    .offset(_ZERO)
)
HELD_IDS: Final = Statement(
    select(_job.id)
    .where(with_result(Result.HELD), _in_scope)
    .order_by(_job.id)
    .limit(_limit)
    .offset(_ZERO)
)
LAST_ID: Final = Statement(select(func.coalesce(func.max(_job.id), _ZERO)))
COUNTERS: Final = Statement(
    select(schema.COUNTER.c.machine, schema.COUNTER.c.state, schema.COUNTER.c.count)
)

# --- what other processes put in ----------------------------------------------------------------

REVISE: Final = Statement(
    update(schema.REVISION)
    .where(schema.REVISION.c.of == constant("queue"))
    .values(number=schema.REVISION.c.number + _ONE)
)
REVISION: Final = Statement(
    select(schema.REVISION.c.number).where(schema.REVISION.c.of == bindparam("of"))
)

# --- boots --------------------------------------------------------------------------------------

BOOT: Final = Statement(
    insert(schema.BOOT).values(started_at=_now, pid=bindparam("pid"), version=bindparam("version"))
)
END_BOOT: Final = Statement(
    update(schema.BOOT).where(schema.BOOT.c.id == bindparam("boot")).values(ended_at=_now)
)
GET_BOOT: Final = Statement(
    select(schema.BOOT.c.pid, schema.BOOT.c.started_at, schema.BOOT.c.ended_at).where(
        schema.BOOT.c.id == bindparam("boot")
    )
)
