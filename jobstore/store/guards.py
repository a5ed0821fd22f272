"""Building blocks for statements about jobs; the guards are made from the lifecycle's tables."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal_column,
    null,
    or_,
    select,
    update,
)

from jobstore.model.lifecycle import AFTER_THE_END, ENDED, JOB, RESULT, Event, Result, State
from jobstore.store import schema
from jobstore.store.expressions import checked, constant, listed, no_earlier, number

_job = schema.JOB.c
now: Final = number("now")
limit: Final = number("limit")
# The start of the node that executes the statement; `NodeTransaction` binds it.
own_boot: Final = number("own_boot")
ZERO: Final = literal_column("0", Integer)  # SQLAlchemy would bind it, at each execution
ONE: Final = literal_column("1", Integer)

JOB_COLUMNS: Final = tuple(
    column
    for column in schema.columns(schema.JOB)
    if column.name
    not in {"boot", "purgeable_at", "timeout", "replay", "retries", "depth", "stored", "source"}
)


def in_state(*states: State) -> ColumnElement[bool]:
    """Match jobs in one of the states, in a form that partial indexes can serve."""
    return or_(*(_job.state == constant(state) for state in states))


def with_result(*results: Result) -> ColumnElement[bool]:
    """Match jobs whose result is in one of these states, in a form that fits partial indexes."""
    return or_(*(_job.result == constant(result) for result in results))


def still_in_state(*states: State) -> ColumnElement[bool]:
    """Match jobs in one of the states that are found by something else, such as their ids.

    PostgreSQL would prefer to scan a partial index that its statistics consider nearly
    empty. Measured, that took a millisecond with 7,000 held results; a lookup by id takes 0.05.
    """
    return or_(*(checked(_job.state == constant(state)) for state in states))


def still_with_result(*results: Result) -> ColumnElement[bool]:
    """Match jobs whose result is in one of these states, as `still_in_state` does."""
    return or_(*(checked(_job.result == constant(result)) for result in results))


def results_after(event: Event) -> ColumnElement[Any]:
    """Return the result's state after an event, from the state before."""
    moves: Mapping[Result, Result] = RESULT[event]
    return case(
        *(
            (_job.result == constant(old), constant(new))
            for old, new in moves.items()
            if old != new
        ),
        else_=_job.result,
    )


def job_event(event: Event) -> Update:
    """Apply an event to jobs, only from states in which the lifecycle allows it."""
    moves = JOB[event]
    (after,) = set(moves.values())
    return update(schema.JOB).where(still_in_state(*moves)).values(state=constant(after))


def result_event(event: Event) -> Update:
    """Apply an event to results, only from states in which the lifecycle allows it."""
    moved = update(schema.JOB).where(still_with_result(*RESULT[event]))
    if event in AFTER_THE_END:
        moved = moved.where(still_in_state(*ENDED))
    return moved.values(result=results_after(event))


def ended_by(event: Event) -> Update:
    """End the work of jobs: the result is held, or unwanted.

    The statement returns what is counted of each: its id, account and result, and when it started;
    and what is reported: its target, and when it was submitted.
    """
    return (
        job_event(event)
        .values(
            result=results_after(event),
            finished_at=no_earlier(now, func.coalesce(_job.started_at, _job.submitted_at)),
            purgeable_at=case((_job.result == constant(Result.NONE), null()), else_=now),
            status=bindparam("status"),
        )
        .returning(
            _job.id,
            _job.account,
            _job.result,
            _job.started_at,
            _job.target,
            _job.submitted_at,
        )
    )


this_job: Final = _job.id == bindparam("job_id")
these_jobs: Final = _job.id.in_(listed("ids"))
_scope: Final = number("scope")
in_scope: Final = or_(_scope.is_(None), _job.account == _scope)
# A claim is a fence: what an earlier attempt has to say about the job is not heard.
this_claim: Final = and_(
    this_job, _job.boot == bindparam("boot"), _job.attempt == bindparam("claimed_attempt")
)


# --- among several nodes --------------------------------------------------------------------------


_node: Final = schema.BOOT.alias("node").c
_alive: Final = select(_node.id).where(_node.ended_at.is_(None))


def elsewhere(boot: ColumnElement[Any]) -> ColumnElement[bool]:
    """Match rows that belong to another live node."""
    return and_(boot.is_not(None), boot != own_boot, boot.in_(_alive))


def not_elsewhere(boot: ColumnElement[Any]) -> ColumnElement[bool]:
    """Match rows that belong to no other live node."""
    return or_(boot.is_(None), boot == own_boot, boot.not_in(_alive))


# Matches jobs whose result is not being delivered by another live node.
no_reader: Final = not_elsewhere(_job.reader)
