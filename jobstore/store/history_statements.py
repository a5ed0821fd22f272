"""The statements that read the history, for people: each looks at a bounded number of rows."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    bindparam,
    func,
    literal_column,
    or_,
    select,
)

from jobstore.lifecycle import AWAITED, Result, State
from jobstore.store import schema
from jobstore.store.sqlite import Statement, constant, listed
from jobstore.store.statements import JOB_COLUMNS, in_state, with_result

_job, _request = schema.JOB.c, schema.REQUEST.c
_limit: Final[BindParameter[Any]] = bindparam("limit")
_ZERO: Final = literal_column("0", Integer)  # SQLAlchemy would bind it, at each execution
_ONE: Final = literal_column("1", Integer)
_in_scope: Final = or_(bindparam("scope").is_(None), _job.owner == bindparam("scope"))

# Newest first: the limit cuts off what has waited longest.
NEWEST_AWAITED: Final[Mapping[Result, Statement]] = {
    awaited: Statement(
        select(*JOB_COLUMNS)
        .where(with_result(awaited), _in_scope)
        .order_by(_job.id.desc())
        .limit(_limit)
        .offset(_ZERO)
    )
    for awaited in AWAITED
}
# What runs comes before what waits: of too many, the limit cuts off what came last.
ACTIVE: Final = tuple(
    Statement(
        select(*JOB_COLUMNS)
        .where(with_result(Result.NONE), _in_scope, *condition)
        .order_by(*order)
        .limit(_limit)
        .offset(_ZERO)
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
    .limit(_limit)
    .offset(_ZERO)
    .subquery()
)
# The next jobs of the history, whether they are looked for or not.
WINDOW: Final = Statement(
    select(func.min(_window.c.id), func.max(_window.c.submitted_at)).select_from(_window)
)
_LOOKED_FOR: Final[Mapping[str, ColumnElement[bool]]] = {
    "states": _job.state.in_(listed("states")),
    "owner": _job.owner == bindparam("owner"),
    "path": func.substr(_job.path, _ONE, func.length(bindparam("path"))) == bindparam("path"),
    "since": _job.submitted_at >= bindparam("since"),
    "until": _job.submitted_at < bindparam("until"),
    "lowest_status": _job.status >= bindparam("lowest_status"),
    "highest_status": _job.status <= bindparam("highest_status"),
}


@cache
def looked_for(conditions: frozenset[str]) -> Statement:
    """Select the jobs of a window that meet conditions, newest first.

    Args:
        conditions: keys of `_LOOKED_FOR`, each of which is a parameter too.
    """
    return Statement(
        select(*JOB_COLUMNS)
        .where(
            _job.id.between(bindparam("first"), bindparam("last")),
            *(_LOOKED_FOR[name] for name in sorted(conditions)),
        )
        .order_by(_job.id.desc())
        .limit(_limit)
        .offset(_ZERO)
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
    .where(_run, _job.result != constant(Result.DELETED), _in_scope)
    .order_by(_job.id.desc())
    .limit(_limit)
    .offset(bindparam("start"))
)
# How long the latest runs took, in microseconds.
DURATIONS: Final = Statement(
    select(_job.finished_at - _job.started_at)
    .where(_run, in_state(State.DONE), _job.id < bindparam("before"))
    .order_by(_job.id.desc())
    .limit(_limit)
    .offset(_ZERO)
)
