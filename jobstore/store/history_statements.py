"""The statements that read the history, for people: each looks at a bounded number of rows."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    and_,
    bindparam,
    exists,
    func,
    or_,
    select,
)

from jobstore.model.job import Failure
from jobstore.model.lifecycle import AWAITED, Result, State
from jobstore.store import schema
from jobstore.store.expressions import Statement, constant, listed
from jobstore.store.guards import JOB_COLUMNS, ONE, ZERO, in_scope, in_state, limit, with_result

_job, _request, _boot = schema.JOB.c, schema.REQUEST.c, schema.BOOT.c
_event, _attempt, _definition = schema.EVENT.c, schema.ATTEMPT.c, schema.DEFINITION.c

# Newest first: the limit cuts off what has waited longest.
NEWEST_AWAITED: Final[Mapping[Result, Statement]] = {
    awaited: Statement(
        select(*JOB_COLUMNS)
        .where(with_result(awaited), in_scope)
        .order_by(_job.id.desc())
        .limit(limit)
        .offset(ZERO)
    )
    for awaited in AWAITED
}
# What runs comes before what waits: of too many, the limit cuts off what came last.
ACTIVE: Final = tuple(
    Statement(
        select(*JOB_COLUMNS)
        .where(with_result(Result.NONE), in_scope, *condition)
        .order_by(*order)
        .limit(limit)
        .offset(ZERO)
    )
    for condition, order in (
        ((in_state(State.RUNNING),), (_job.boot, _job.id)),
        ((), (_job.id,)),
    )
)
_window: Final = (
    select(_job.id, _job.submitted_at)
    .where(_job.id <= bindparam("last"))
    .order_by(_job.id.desc())
    .limit(limit)
    .offset(ZERO)
    .subquery()
)
# The next jobs of the history, whether they are looked for or not.
WINDOW: Final = Statement(
    select(func.min(_window.c.id), func.max(_window.c.submitted_at)).select_from(_window)
)
NEWEST: Final = Statement(select(func.max(_job.id)).where(_job.id <= bindparam("last")))


def _earlier_attempt(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Match jobs with an attempt, before their last one, that meets conditions."""
    found = exists().where(_attempt.job_id == _job.id, *conditions)
    return and_(or_(_job.attempt > ONE, in_state(State.QUEUED)), found)


# While an attempt runs, nobody knows when it will have ended.
_at: Final[BindParameter[Any]] = bindparam("running_at")
_ran_on: Final = or_(in_state(State.RUNNING), _job.finished_at > _at)
_running_at: Final = or_(
    and_(_job.started_at <= _at, _ran_on),
    _earlier_attempt(_attempt.started_at <= _at, _attempt.ended_at > _at),
)
# What a later start of the server has made of it by now is different from job to job.
_died: Final[BindParameter[Any]] = bindparam("died")
_restarted: Final[BindParameter[Any]] = bindparam("restarted_at")
_interrupted: Final = constant(Failure.INTERRUPTED)
_running_when_it_died: Final = or_(
    and_(in_state(State.RUNNING), _job.boot <= bindparam("over")),
    and_(in_state(State.FAILED), _job.boot == _died, _job.failure == _interrupted),
    and_(in_state(State.CANCELLED), _job.boot == _died, _job.finished_at >= _restarted),
    _earlier_attempt(
        _attempt.failure == _interrupted,
        _attempt.started_at >= bindparam("died_since"),
        _attempt.started_at < _restarted,
    ),
)
CANCEL_ASKED: Final = "cancel asked"
_asked: Final = and_(_event.event == constant(CANCEL_ASKED), _event.detail == bindparam("asker"))
_LOOKED_FOR: Final[Mapping[str, ColumnElement[bool]]] = {
    "states": _job.state.in_(listed("states")),
    "results": _job.result.in_(listed("results")),
    "target": _job.target == bindparam("target"),
    "definition": _job.definition == bindparam("definition"),
    "trigger": _job.trigger == bindparam("trigger"),
    "tag": _job.tag == bindparam("tag"),
    "owner": _job.owner == bindparam("owner"),
    "account": _job.account == bindparam("account"),
    "path": func.substr(_job.path, ONE, func.length(bindparam("path"))) == bindparam("path"),
    "since": _job.submitted_at >= bindparam("since"),
    "until": _job.submitted_at < bindparam("until"),
    "lowest_status": _job.status >= bindparam("lowest_status"),
    "highest_status": _job.status <= bindparam("highest_status"),
    "definitions": _job.definition.in_(listed("definitions")),
    "running_at": _running_at,
    "died": _running_when_it_died,
    "asker": and_(
        _job.cancel_asked_at.is_not(None), exists().where(_event.job_id == _job.id, _asked)
    ),
}


def in_window(columns: Select[Any], conditions: frozenset[str]) -> Select[Any]:
    """Narrow a selection from jobs to those of a window that meet conditions.

    Args:
        columns: what to select.
        conditions: keys of `_LOOKED_FOR`, or names of further parameters of one of these.
    """
    wanted = [condition for name, condition in _LOOKED_FOR.items() if name in conditions]
    return columns.where(_job.id.between(bindparam("first"), bindparam("last")), *wanted)


@cache
def looked_for(conditions: frozenset[str]) -> Statement:
    """Select the jobs of a window that meet conditions, newest first."""
    return Statement(
        in_window(select(*JOB_COLUMNS), conditions)
        .order_by(_job.id.desc())
        .limit(limit)
        .offset(ZERO)
    )


# How long the last attempt at a job took, or takes already.
_duration: Final = func.coalesce(_job.finished_at, bindparam("now")) - _job.started_at


@cache
def longest(conditions: frozenset[str]) -> Statement:
    """Select the jobs of a window that ran longer than others known already, the longest first."""
    return Statement(
        in_window(select(_duration, *JOB_COLUMNS), conditions)
        .where(_duration > bindparam("least"))
        .order_by(_duration.desc())
        .limit(limit)
        .offset(ZERO)
    )


# Where jobs came from.
SOURCES: Final = Statement(
    select(_job.id, _job.source).where(_job.id.in_(listed("ids")), _job.source.is_not(None))
)
# How the requests of jobs begin, but for large ones.
BEGINNINGS: Final = Statement(
    select(
        _request.job_id,
        _request.headers,
        func.substr(_request.content, ONE, bindparam("size")),
    ).where(_request.job_id.in_(listed("ids")), _request.content.is_not(None))
)
# Who asked for the cancellation of jobs; the last one who did.
ASKERS: Final = Statement(
    select(_event.job_id, _event.detail)
    .where(_event.job_id.in_(listed("ids")), _event.event == constant(CANCEL_ASKED))
    .order_by(_event.job_id, _event.at)
)
ATTEMPTS: Final = Statement(
    select(*schema.ATTEMPT.columns)
    .where(_attempt.job_id == bindparam("job_id"))
    .order_by(_attempt.number)
)
# All definitions, whether they were deleted or not.
DEFINITIONS: Final = Statement(
    select(_definition.id, _definition.name, _definition.path, _definition.uuid)
    .where(_definition.id > bindparam("after"))
    .order_by(_definition.id)
    .limit(limit)
    .offset(ZERO)
)
# The last start of a server whose end nobody has seen, of those that are over.
DIED: Final = Statement(
    select(_boot.id, _boot.pid, _boot.started_at)
    .where(_boot.ended_at.is_(None), _boot.id <= bindparam("over"))
    .order_by(_boot.id.desc())
    .limit(ONE)
    .offset(ZERO)
)
NEXT_BOOT: Final = Statement(
    select(_boot.id, _boot.started_at)
    .where(_boot.id > bindparam("boot"))
    .order_by(_boot.id)
    .limit(ONE)
    .offset(ZERO)
)
LAST_BOOT: Final = Statement(select(func.max(_boot.id)))

TERMS: Final = Statement(
    select(_job.timeout, _job.replay, _job.retries).where(_job.id == bindparam("job_id"))
)
KEPT_REQUEST: Final = Statement(
    select(_request.headers, _request.content).where(_request.job_id == bindparam("job_id"))
)
TIMELINE: Final = Statement(
    select(
        schema.TIMELINE.c.job_id,
        schema.TIMELINE.c.at,
        schema.TIMELINE.c.event,
        schema.TIMELINE.c.detail,
    )
    .where(schema.TIMELINE.c.job_id == bindparam("job_id"))
    .order_by(schema.TIMELINE.c.at)
)

# --- the runs of a definition -------------------------------------------------------------------

_run: Final = _job.definition == bindparam("definition")
# Newest first. What was deleted is no longer shown.
RUNS: Final = Statement(
    select(*JOB_COLUMNS)
    .where(_run, _job.result != constant(Result.DELETED), in_scope)
    .order_by(_job.id.desc())
    .limit(limit)
    .offset(bindparam("start"))
)
# How long the latest runs took, in microseconds.
DURATIONS: Final = Statement(
    select(_job.finished_at - _job.started_at)
    .where(_run, in_state(State.DONE), _job.id < bindparam("before"))
    .order_by(_job.id.desc())
    .limit(limit)
    .offset(ZERO)
)
