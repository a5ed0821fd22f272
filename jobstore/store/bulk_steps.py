"""The steps of operations on many jobs; see `bulk` for their invariants."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from sqlalchemy import bindparam, delete, select, update

from jobstore.model.bulk import BulkAction, BulkOperation, BulkState
from jobstore.model.errors import NotAccepting, OwnerLimit
from jobstore.store import schema
from jobstore.store.bulk import decoded, in_turn, is_running, shown, this_operation
from jobstore.store.codec import writable
from jobstore.store.expressions import Statement
from jobstore.store.guards import not_elsewhere, own_boot
from jobstore.store.steps import IsOver
from jobstore.store.transaction import Transaction

_operation: Final = schema.OPERATION.c
_part: Final = schema.OPERATION_PART.c

# Does something to a job; returns why it cannot be done, or None.
Act: TypeAlias = Callable[[Transaction, int], str | None]


_begin_step: Final = (
    update(schema.OPERATION)
    .where(this_operation, is_running)
    .values(place=_operation.place)  # which locks the row
    .returning(*shown, _operation.part, _operation.place)
)
BEGIN_STEP: Final = Statement(
    _begin_step, _begin_step.where(not_elsewhere(_operation.boot)).values(boot=own_boot)
)
GET_PART: Final = Statement(
    select(_part.ids).where(
        _part.operation == bindparam("operation"), _part.part == bindparam("number")
    )
)
DROP_PART: Final = Statement(
    delete(schema.OPERATION_PART).where(
        _part.operation == bindparam("operation"), _part.part == bindparam("number")
    )
)
KEEP_IN_PART: Final = Statement(
    update(schema.OPERATION_PART)
    .where(_part.operation == bindparam("of_operation"), _part.part == bindparam("number"))
    .values(ids=bindparam("now_ids"))
)
GO_ON: Final = Statement(
    update(schema.OPERATION)
    .where(this_operation)
    .values(
        {
            name: bindparam(f"now_{name}")
            for name in (
                "state",
                "finished_at",
                "done",
                "skipped",
                "reasons",
                "waits",
                "part",
                "place",
            )
        }
    )
)


class NeedsBody(Exception):
    """The request of a job has a large body, which has to be copied first."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id)
        self.job_id = job_id


@dataclass(slots=True)
class Stepped:
    """What a step has done.

    Args:
        done: to how many jobs it was done.
        reasons: to how many it could not be done, and why.
        skipped: which ones these are.
        waits: why it did not go on, or None.
        large: the job whose request has to be copied first, or None.
    """

    done: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    skipped: list[int] = field(default_factory=list)
    waits: str | None = None
    large: int | None = None

    @property
    def passed(self) -> int:
        """How many jobs have been processed."""
        return self.done + self.reasons.total()


def step(
    tx: Transaction, operation_id: int, is_over: IsOver, act: Callable[[BulkOperation], Act]
) -> Stepped | None:
    """Do an operation to some of its jobs; None if there is nothing to do for this server.

    Args:
        is_over: tells after each job whether that is enough.
        act: gives what does it to one of them.
    """
    row = tx.execute(BEGIN_STEP, operation=operation_id).fetchone()
    if row is None:
        return None
    operation, (part, place) = decoded(row[:-2]), row[-2:]
    ids = _ids_of(tx, operation, part)
    stepped = _do(tx, ids[place:], is_over, act(operation))
    _go_on(tx, operation, stepped, part, place, len(ids))
    return stepped


def _do(tx: Transaction, ids: Sequence[int], is_over: IsOver, act: Act) -> Stepped:
    """Change jobs, as far as their states and the time allow."""
    stepped = Stepped()
    for job_id in ids:
        try:
            why = act(tx, job_id)
        except (NotAccepting, OwnerLimit) as error:
            stepped.waits = str(error)
            break
        except NeedsBody as error:
            stepped.large = error.job_id
            break
        if why is None:
            stepped.done += 1
        else:
            stepped.skipped.append(job_id)
            stepped.reasons[why] += 1
        if is_over():
            break
    return stepped


def _go_on(
    tx: Transaction, operation: BulkOperation, stepped: Stepped, part: int, place: int, ids: int
) -> None:
    """Store the progress of an operation."""
    place += stepped.passed
    is_passed = place >= ids
    if operation.order.action is BulkAction.CANCEL:  # what it has cancelled can be retried
        place -= _leave_out(tx, operation, stepped.skipped, part)
    elif is_passed:
        tx.execute(DROP_PART, operation=operation.id, number=part)
    if is_passed:
        part, place = part + 1, 0
    done = operation.done + stepped.done
    skipped = operation.skipped + stepped.reasons.total()
    is_over = done + skipped >= operation.total
    tx.execute(
        GO_ON,
        operation=operation.id,
        now_state=BulkState.DONE if is_over else BulkState.RUNNING,
        now_finished_at=tx.now if is_over else None,
        now_done=done,
        now_skipped=skipped,
        now_reasons=json.dumps(Counter(operation.reasons) + stepped.reasons),
        now_waits=stepped.waits and writable(stepped.waits),
        now_part=part,
        now_place=place,
    )


def _leave_out(tx: Transaction, operation: BulkOperation, skipped: Sequence[int], part: int) -> int:
    """Take the jobs out of a part that were skipped; return how many there were."""
    if skipped:
        left = sorted({*_ids_of(tx, operation, part)} - {*skipped})
        values = {"of_operation": operation.id, "number": part}
        tx.execute(KEEP_IN_PART, **values, now_ids=json.dumps(left))
    return len(skipped)


def _ids_of(tx: Transaction, operation: BulkOperation, part: int) -> list[int]:
    (text,) = tx.execute(GET_PART, operation=operation.id, number=part).fetchone()
    return in_turn(operation.order.action, text)
