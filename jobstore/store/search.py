"""Which jobs of the history to look for."""

import json
from collections.abc import Mapping
from dataclasses import fields
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
    literal_column,
    or_,
    select,
)

from jobstore.model.frozen import frozen
from jobstore.model.job import FIRST_ERROR, Failure, Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.store import schema
from jobstore.store.codec import encode_ids, writable
from jobstore.store.events import DELETED
from jobstore.store.expressions import (
    NUMBER,
    Statement,
    constant,
    in_parts,
    listed,
    listed_words,
    number,
)
from jobstore.store.guards import JOB_COLUMNS, ONE, ZERO, in_state, limit

_job: Final = schema.JOB.c
_event: Final = schema.EVENT.c
_attempt: Final = schema.ATTEMPT.c


@frozen(kw_only=True)
class Death:
    """A start of the server that did not end properly; times in microseconds since 1970.

    Args:
        boot: its number; 0 if there is none.
        over: the number of the last start that is over, however it ended.
        pid: the server's process id.
        started_at: when it started.
        restarted_at: when the next one started, or None.
    """

    boot: int
    over: int
    pid: int = 0
    started_at: int = 0
    restarted_at: int | None = None


@frozen(kw_only=True)
class Search:
    """Which jobs to look for; None means any.

    Args:
        states: the states of their work.
        results: the states of their results.
        owner: the owner's name.
        account: the account they belong to.
        path: how their path begins.
        target: the name of their target.
        definition: the id of the definition that they are runs of.
        trigger: what started that run.
        tag: their tag.
        since: submitted at this time or later, in microseconds since 1970.
        until: submitted before.
        lowest_status: the lowest status code of the answer.
        highest_status: the highest.
        definitions: the ids of definitions; they are runs of one of these.
        running_at: an attempt was running at this time, in microseconds since 1970.
        cancelled_by: who requested their cancellation.
        died: they were running when this start of the server died, or were left running by any
            start that is over.
        errors: whether they failed or were answered with an error.
        ids: their ids.
        deleted_because: the note about their deletion.
        cancelled_in: the operation on many jobs that has cancelled them.
    """

    states: tuple[State, ...] | None = None
    results: tuple[Result, ...] | None = None
    owner: str | None = None
    account: int | None = None
    path: str | None = None
    target: str | None = None
    definition: int | None = None
    trigger: Trigger | None = None
    tag: str | None = None
    since: int | None = None
    until: int | None = None
    lowest_status: int | None = None
    highest_status: int | None = None
    definitions: tuple[int, ...] | None = None
    running_at: int | None = None
    cancelled_by: str | None = None
    died: Death | None = None
    errors: bool | None = None
    ids: tuple[int, ...] | None = None
    deleted_because: str | None = None
    cancelled_in: int | None = None

    @property
    def names(self) -> bool:
        """Whether the candidates are known before any job is looked at."""
        given = (self.ids, self.deleted_because, self.cancelled_in)
        return any(each is not None for each in given)

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statement's parameters, by name."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["states"] = json.dumps(self.states) if self.states else None
        given["results"] = json.dumps(self.results) if self.results else None
        given["definitions"] = json.dumps(self.definitions) if self.definitions else None
        given["ids"] = None if self.ids is None else encode_ids(self.ids)
        cancelled_by = given.pop("cancelled_by")
        if self.errors is False:
            given |= {"errors": None, "no_errors": True}
        elif self.states == (State.FAILED,):  # which the index of what went wrong finds
            given["errors"] = True
        given["asker"] = None if cancelled_by is None else asked_by(cancelled_by)
        found = {name: value for name, value in given.items() if value is not None}
        return found | (_of_death(self.died) if self.died else {})


def asked_by(name: str) -> str:
    """Return the detail of an event that says who requested something."""
    return writable(f"by {name}")


def asker(detail: str) -> str:
    """Read what `asked_by` wrote."""
    return detail.removeprefix("by ")


def _of_death(death: Death) -> dict[str, Any]:
    return {
        "died": death.boot,
        "over": death.over,
        "died_since": death.started_at,
        "restarted_at": death.restarted_at,
    }


# --- the statements that find them --------------------------------------------------------------

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

# When the oldest of the jobs up to an id was submitted.
SUBMITTED_TO: Final = Statement(
    select(_job.submitted_at)
    .where(_job.id >= bindparam("last"))
    .order_by(_job.id)
    .limit(ONE)
    .offset(ZERO)
)

NEWEST: Final = Statement(select(func.max(_job.id)).where(_job.id <= bindparam("last")))
# The runs of a definition have an index of their own, and may be far from one another.
NEWEST_RUN: Final = Statement(
    select(func.max(_job.id)).where(
        _job.definition == bindparam("definition"), _job.id <= bindparam("last")
    )
)

# What failed or was answered with an error, in the words of the index of just that.
went_wrong: Final = or_(
    in_state(State.FAILED),
    and_(in_state(State.DONE), _job.status >= literal_column(str(FIRST_ERROR), NUMBER)),
)
NEWEST_WRONG: Final = Statement(
    select(func.max(_job.id)).where(went_wrong, _job.id <= bindparam("last"))
)


def _earlier_attempt(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    """Match jobs with an attempt, before their last one, that meets conditions."""
    found = exists().where(_attempt.job_id == _job.id, *conditions)
    return and_(or_(_job.attempt > ONE, in_state(State.QUEUED)), found)


# An attempt that is running has no end yet.
_at: Final[BindParameter[Any]] = bindparam("running_at")

_ran_on: Final = or_(in_state(State.RUNNING), _job.finished_at > _at)

_running_at: Final = or_(
    and_(_job.started_at <= _at, _ran_on),
    _earlier_attempt(_attempt.started_at <= _at, _attempt.ended_at > _at),
)

# A later start of the server may have failed, cancelled or repeated the job by now.
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
    "states": _job.state.in_(listed_words("states")),
    "results": _job.result.in_(listed_words("results")),
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
    "errors": went_wrong,
    "no_errors": and_(
        _job.state != constant(State.FAILED),
        or_(
            _job.state != constant(State.DONE),
            func.coalesce(_job.status, ZERO) < literal_column(str(FIRST_ERROR), NUMBER),
        ),
    ),
    "died": _running_when_it_died,
    "ids": _job.id.in_(listed("ids")),
    "deleted_because": _job.id.in_(
        select(_event.job_id).where(
            _event.event == constant(DELETED), _event.detail == bindparam("deleted_because")
        )
    ),
    "cancelled_in": and_(
        in_state(State.CANCELLED),
        _job.id.op("IN", is_comparison=True)(in_parts(number("cancelled_in"))),
    ),
    "asker": and_(
        _job.cancel_asked_at.is_not(None), exists().where(_event.job_id == _job.id, _asked)
    ),
}


def in_window(columns: Select[Any], conditions: frozenset[str]) -> Select[Any]:
    """Restrict a selection of jobs to a window and to conditions.

    Args:
        columns: what to select.
        conditions: keys of `_LOOKED_FOR`, or names of further parameters of one of them.
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
