"""Operations on many jobs: which jobs, and how far they are; `bulk_steps` carries them out.

The ids of its jobs are stored with an operation, in parts, and `part` and `place` point to the next
one. They advance in the same transaction that changes the jobs before them, so nothing is done
twice, whoever continues after a crash. The ids of jobs that it has cancelled stay: they can be
retried, as just these.
"""

import json
from collections.abc import Sequence
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Integer,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    literal_column,
    null,
    or_,
    select,
    update,
)

from jobstore.model.bulk import BulkAction, BulkOperation, BulkOrder, BulkState
from jobstore.model.errors import OperationNotFound
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.store import schema
from jobstore.store import search as search_sql
from jobstore.store.codec import writable
from jobstore.store.events import TRIED_AGAIN
from jobstore.store.expressions import NUMBER, Statement, constant, joined
from jobstore.store.guards import (
    ONE,
    ZERO,
    in_state,
    limit,
    not_elsewhere,
    this_job,
    with_result,
)
from jobstore.store.search import Search
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
_response: Final = schema.RESPONSE.c
_event: Final = schema.EVENT.c
_operation: Final = schema.OPERATION.c
_part: Final = schema.OPERATION_PART.c

# How many ids there may be between the first and the last one of a part.
PART: Final = 1024
# Why something is not done to a job that is not there, or that whoever asks may not see.
NO_SUCH_JOB: Final = "there is no such job"

# --- which jobs -----------------------------------------------------------------------------------


_kept: Final = exists().where(_request.job_id == _job.id)
# By the job's id: for an EXISTS in a column, PostgreSQL 18 may read all the events there are first.
TRIED: Final = (
    select(ONE)
    .where(_event.job_id == _job.id, _event.event == constant(TRIED_AGAIN))
    .limit(ONE)
    .offset(ZERO)
    .correlate(schema.JOB)
    .scalar_subquery()
    .is_not(None)
)
# To which jobs it can be done; whoever does it looks again.
_POSSIBLE: Final[dict[BulkAction, ColumnElement[bool]]] = {
    BulkAction.CANCEL: and_(in_state(State.QUEUED, State.RUNNING), with_result(Result.NONE)),
    BulkAction.RETRY: and_(
        in_state(*ENDED), _job.result != constant(Result.DELETED), _kept, ~TRIED
    ),
    BulkAction.DELETE: _job.result != constant(Result.DELETED),
    BulkAction.RESTORE: and_(
        with_result(Result.TAKEN, Result.DELETED),
        in_state(*ENDED),
        _job.purgeable_at.is_not(None),
        or_(
            in_state(State.FAILED, State.CANCELLED),
            exists().where(_response.job_id == _job.id),
        ),
    ),
}
_SECRET: Final = exists().where(_request.job_id == _job.id, _request.secrets.is_not(None))
_RUNNING: Final = in_state(State.RUNNING)


@cache
def matching(action: BulkAction, conditions: frozenset[str]) -> Statement:
    """Select the ids in a range that meet conditions, in parts.

    Each part says how many of its jobs had secrets, and how many are running.
    """
    part = literal_column(f"job.id / {PART}", Integer).label("part")
    secret = func.count(case((_SECRET, ONE))) if action is BulkAction.RETRY else ZERO
    unended = action in {BulkAction.CANCEL, BulkAction.DELETE}
    running = func.count(case((_RUNNING, ONE))) if unended else ZERO
    columns: tuple[ColumnElement[Any], ...] = (part, joined(_job.id), func.count(), secret, running)
    selected = select(*columns).select_from(schema.JOB).where(_POSSIBLE[action]).group_by(part)
    return Statement(search_sql.in_window(selected, conditions).order_by(part))


@frozen
class Matched:
    """The jobs that an operation is for.

    Args:
        parts: their ids, as JSON.
        secret: how many of them had headers that are no longer kept.
        running: how many of them are running.
        last: the highest id, or 0.
    """

    parts: Sequence[str]
    count: int
    secret: int
    running: int = 0
    last: int = 0


def matched(rows: Sequence[Any]) -> Matched:
    """Read the result of `matching`."""
    # A part may begin in one window and end in the next.
    groups = groupby(rows, key=itemgetter(0))
    parts = [f"[{','.join(row[1] for row in part)}]" for _, part in groups]
    last = max(json.loads(parts[-1])) if parts else 0
    count, secret, running = (sum(row[column] for row in rows) for column in (2, 3, 4))
    return Matched(parts, count, secret, running, last)


def named(ids: Sequence[int]) -> Matched:
    """Return the jobs with the given ids, each once."""
    unique = sorted(set(ids))
    parts = [json.dumps(unique[at : at + PART]) for at in range(0, len(unique), PART)]
    return Matched(parts, len(unique), 0)


def selects(search: Search) -> bool:
    """Return whether a search has any condition."""
    said = search.values
    if search.states is not None and {*search.states} >= {*State}:
        del said["states"]
    if search.results is not None and {*search.results} >= {*Result}:
        del said["results"]
    if search.path in {"", "/"}:
        del said["path"]
    return bool(said.keys() - {"account"})


# To one job it may be done as often as somebody wants.
_SINGLE: Final = {
    **_POSSIBLE,
    BulkAction.RETRY: and_(in_state(*ENDED), _job.result != constant(Result.DELETED), _kept),
}
POSSIBLE: Final = Statement(
    select(*(case((_SINGLE[action], ONE), else_=ZERO) for action in BulkAction)).where(this_job)
)


# --- making one, and looking at it ----------------------------------------------------------------


_MADE: Final = (
    "action",
    "filter",
    "owner",
    "account",
    "scope",
    "without_secrets",
    "state",
    "created_at",
    "finished_at",
    "total",
)
MAKE: Final = Statement(
    insert(schema.OPERATION).values(
        **{name: bindparam(name) for name in _MADE},
        done=ZERO,
        skipped=ZERO,
        reasons=constant("{}"),
        part=ZERO,
        place=ZERO,
    )
)
PUT_PART: Final = Statement(
    insert(schema.OPERATION_PART).values(
        {name: bindparam(name) for name in ("operation", "part", "ids")}
    )
)


def make(tx: Transaction, order: BulkOrder, jobs: Matched) -> int:
    """Insert an operation and its jobs; return its id."""
    is_empty = not jobs.count
    operation_id = tx.insert(
        MAKE,
        action=order.action,
        filter=order.filter and writable(order.filter),
        owner=writable(order.owner),
        account=order.account,
        scope=order.scope,
        without_secrets=int(order.without_secrets),
        state=BulkState.DONE if is_empty else BulkState.RUNNING,
        created_at=tx.now,
        finished_at=tx.now if is_empty else None,
        total=jobs.count,
    )
    # What waits is cancelled from its end, so that it does not start in the meantime.
    parts = jobs.parts[::-1] if order.action is BulkAction.CANCEL else jobs.parts
    for number, ids in enumerate(parts):
        tx.execute(PUT_PART, operation=operation_id, part=number, ids=ids)
    return operation_id


_SHOWN: Final = (
    "id",
    "action",
    "filter",
    "owner",
    "account",
    "scope",
    "without_secrets",
    "state",
    "created_at",
    "finished_at",
    "stopped_by",
    "total",
    "done",
    "skipped",
    "reasons",
    "waits",
)
shown: Final = [_operation[name] for name in _SHOWN]
_scope: Final = bindparam("scope", type_=NUMBER)
_visible: Final = or_(_scope.is_(None), _operation.account == _scope)
this_operation: Final = _operation.id == bindparam("operation")
is_running: Final = _operation.state == constant(BulkState.RUNNING)
GET: Final = Statement(select(*shown).where(this_operation, _visible))
PAGE: Final = Statement(
    select(*shown)
    .where(_operation.id < bindparam("before"), _visible)
    .order_by(_operation.id.desc())
    .limit(limit)
    .offset(ZERO)
)
_unfinished: Final = select(_operation.id).where(is_running).order_by(_operation.id)
UNFINISHED: Final = Statement(_unfinished, _unfinished.where(not_elsewhere(_operation.boot)))


def decoded(row: Sequence[Any]) -> BulkOperation:
    """Read an operation from a row of its table."""
    values = dict(zip(_SHOWN, row, strict=True))
    order = BulkOrder(
        action=BulkAction(values["action"]),
        filter=values["filter"],
        owner=values["owner"],
        account=values["account"],
        scope=values["scope"],
        without_secrets=bool(values["without_secrets"]),
    )
    of_it = ("id", "created_at", "finished_at", "stopped_by", "total", "done", "skipped", "waits")
    return BulkOperation(
        order=order,
        state=BulkState(values["state"]),
        reasons=json.loads(values["reasons"]),
        **{name: values[name] for name in of_it},
    )


STOP: Final = Statement(
    update(schema.OPERATION)
    .where(this_operation, _visible, is_running)
    .values(
        state=constant(BulkState.STOPPED),
        finished_at=bindparam("now"),
        stopped_by=bindparam("by"),
        waits=null(),
    )
    .returning(_operation.action, _operation.part, _operation.place)
)
DROP_PARTS: Final = Statement(
    delete(schema.OPERATION_PART).where(
        _part.operation == bindparam("operation"), _part.part >= bindparam("from_part")
    )
)
PART_FROM: Final = Statement(
    select(_part.ids).where(
        _part.operation == bindparam("operation"), _part.part == bindparam("from_part")
    )
)


def stop(tx: Transaction, operation_id: int, scope: int | None, by: str) -> None:
    """Stop an operation, unless it has ended; what it has done is not undone.

    Raises:
        OperationNotFound: there is none with this id, or it belongs to another account.
    """
    told = {"operation": operation_id, "scope": scope}
    row = tx.execute(STOP, **told, now=tx.now, by=writable(by)).fetchone()
    if row is not None:
        _drop_rest(tx, operation_id, *row)
    elif tx.execute(GET, **told).fetchone() is None:
        raise OperationNotFound(operation_id)


def _drop_rest(tx: Transaction, operation_id: int, action: str, part: int, place: int) -> None:
    """Drop the ids of jobs that a stopped operation has not come to."""
    this = {"operation": operation_id, "from_part": part}
    row = (
        tx.execute(PART_FROM, **this).fetchone() if place and action == BulkAction.CANCEL else None
    )
    tx.execute(DROP_PARTS, **this)
    if row is not None:
        passed = in_turn(BulkAction.CANCEL, row[0])[:place]
        tx.execute(PUT_PART, operation=operation_id, part=part, ids=json.dumps(passed))


def in_turn(action: BulkAction, ids: str) -> list[int]:
    """Return the ids of a part in the order of processing."""
    return sorted(json.loads(ids), reverse=action is BulkAction.CANCEL)


FORGET: Final = Statement(
    delete(schema.OPERATION).where(
        _operation.id.in_(
            select(_operation.id)
            .where(_operation.finished_at < bindparam("before"))
            .order_by(_operation.finished_at)
            .limit(limit)
            .offset(ZERO)
        )
    )
)


def forget(tx: Transaction, before: int, limit: int) -> int:
    """Remove some of the operations that ended before a time; return how many."""
    return tx.execute(FORGET, before=before, limit=limit).rowcount
