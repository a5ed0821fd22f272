"""Consistency checks of a store, for both engines, and their findings."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Final

from sqlalchemy import Integer, Select, and_, case, func, literal_column, or_, select, union_all

from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import Result, State
from jobstore.store import guards, schema
from jobstore.store.expressions import Statement, constant

# How many problems of one kind are told.
MOST: Final = 10

_usage = schema.ACCOUNT_USAGE.c
_job, _body, _chunk, _counter = schema.JOB.c, schema.BODY.c, schema.CHUNK.c, schema.COUNTER.c


@frozen(kw_only=True)
class CheckReport:
    """The findings of a check; if there are problems, the other members have no values.

    Args:
        problems: what is wrong, a sentence each.
        size: the file's length in bytes.
        free: how much of that is free, in bytes.
        stiff: whether the file can only shrink by being rewritten.
        loose: how many bodies belong to no job: they are being received, or will be swept.
        jobs: how many jobs are in each state.
        schema_version: the version of the file's schema.
    """

    problems: tuple[str, ...] = ()
    size: int = 0
    free: int = 0
    stiff: bool = False
    loose: int = 0
    jobs: Mapping[State, int] = field(default_factory=dict)
    schema_version: int = 0


@frozen
class Check:
    """One kind of problem.

    Args:
        name: what is checked.
        statement: finds problems, in one statement, so a server that writes meanwhile does no harm.
        sentence: describes one, with a placeholder for each column.
    """

    name: str
    statement: Statement
    sentence: str

    def problems(self, rows: Sequence[Any]) -> list[str]:
        """Return a sentence for each row that the statement found."""
        found = [self.sentence.format(*row) for row in rows]
        return [*found[:MOST], f"and more such {self.name}"] if found[MOST:] else found


def _without_request() -> Select[Any]:
    return (
        select(_job.id, _job.state)
        .select_from(schema.JOB)
        .outerjoin(schema.REQUEST, schema.REQUEST.c.job_id == _job.id)
        .where(guards.in_state(State.QUEUED, State.RUNNING), schema.REQUEST.c.job_id.is_(None))
    )


def _without_response() -> Select[Any]:
    return (
        select(_job.id)
        .select_from(schema.JOB)
        .outerjoin(schema.RESPONSE, schema.RESPONSE.c.job_id == _job.id)
        .where(
            guards.with_result(Result.HELD),
            guards.in_state(State.DONE),
            schema.RESPONSE.c.job_id.is_(None),
        )
    )


def _without_content(table: Any, side: str) -> Select[Any]:
    of_this = and_(_body.job_id == table.c.job_id, _body.side == constant(side))
    return (
        select(table.c.job_id)
        .select_from(table)
        .outerjoin(schema.BODY, of_this)
        .where(table.c.content.is_(None), _body.id.is_(None))
    )


def _incomplete_bodies() -> Select[Any]:
    found = func.coalesce(func.sum(func.length(_chunk.data)), literal_column("0", Integer))
    chunks = func.coalesce(func.max(_chunk.seq) + literal_column("1"), literal_column("0"))
    return (
        select(_body.side, _body.job_id, found, _body.size)
        .select_from(schema.BODY)
        .outerjoin(schema.CHUNK, _chunk.body_id == _body.id)
        .where(_body.job_id.is_not(None))
        .group_by(_body.id)
        .having(or_(found != _body.size, chunks != func.count(_chunk.seq)))
    )


def _miscounted() -> Select[Any]:
    counted = union_all(
        *(
            select(
                constant(column.name if column is _job.result else "job").label("machine"),
                column.label("state"),
                func.count(_job.id).label("n"),
            ).group_by(column)
            for column in (_job.state, _job.result)
        )
    ).subquery()
    same = and_(counted.c.machine == _counter.machine, counted.c.state == _counter.state)
    number = func.coalesce(counted.c.n, literal_column("0", Integer))
    return (
        select(_counter.machine, _counter.state, _counter.count, number)
        .select_from(schema.COUNTER)
        .outerjoin(counted, same)
        .where(_counter.count != number)
    )


def _misused() -> Select[Any]:
    queued = case((guards.in_state(State.QUEUED), guards.ONE), else_=guards.ZERO)
    nothing = guards.ZERO
    each = union_all(
        select(
            _usage.account,
            _usage.queued.label("said_queued"),
            _usage.stored.label("said_stored"),
            nothing.label("queued"),
            nothing.label("stored"),
        ),
        select(_job.account, nothing, nothing, queued, _job.stored),
    ).subquery()
    sums = [func.sum(each.c[name]) for name in ("said_queued", "said_stored", "queued", "stored")]
    return (
        select(each.c.account, *sums)
        .group_by(each.c.account)
        .having(or_(sums[0] != sums[2], sums[1] != sums[3]))
    )


LOGICAL: Final = (
    Check("requests", Statement(_without_request()), "job {} is {}, but its request is missing"),
    Check("responses", Statement(_without_response()), "job {} is done, but its answer is missing"),
    *(
        Check(
            f"{side} bodies",
            Statement(_without_content(table, side)),
            f"the body of the {side} of job {{}} is missing",
        )
        for side, table in (("request", schema.REQUEST), ("response", schema.RESPONSE))
    ),
    Check(
        "chunks",
        Statement(_incomplete_bodies()),
        "the body of the {} of job {} has {} bytes in its chunks, expected {}",
    ),
    Check(
        "counters",
        Statement(_miscounted()),
        "the counter of the state {1} of the {0}s is {2}, but there are {3}",
    ),
    Check(
        "usage",
        Statement(_misused()),
        "the counters of account {} say {} queued jobs and {} bytes, but there are {} and {}",
    ),
)
# How many bodies belong to no job.
LOOSE: Final = Statement(select(func.count(_body.id)).where(_body.job_id.is_(None)))


def jobs_in(counters: Sequence[Any]) -> dict[State, int]:
    """Return how many jobs are in each state, from the rows of `counters.COUNTERS`."""
    counted = {State(state): n for machine, state, n in counters if machine == "job"}
    return counted | {state: 0 for state in State if state not in counted}
