"""Targets at run time: each function is one step of a transaction.

`target_state` has what operators have set, and `served` what each start of a server reports about
its targets; rows of starts that have ended are ignored.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    Select,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from jobstore.model.errors import TargetUnknown
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.model.target_state import (
    MOST_WAITING,
    Hold,
    TargetChange,
    TargetSeen,
    TargetState,
    WaitReason,
    waits_for,
)
from jobstore.store import audit, elsewhere, schema, waiting
from jobstore.store.codec import writable
from jobstore.store.expressions import Statement, number, replacing
from jobstore.store.guards import in_state
from jobstore.store.history import History
from jobstore.store.transaction import Transaction

_state: Final = schema.TARGET_STATE.c
_served: Final = schema.SERVED.c
_boot: Final = schema.BOOT.c
_newer: Final = schema.SERVED.alias("newer").c
_node: Final = schema.BOOT.alias("node").c
_job: Final = schema.JOB.c
STATES: Final = Statement(
    select(_state.name, _state.paused_at, _state.paused_by, _state.reason, _state.concurrency)
)
STATE: Final = Statement(
    select(
        _state.name, _state.paused_at, _state.paused_by, _state.reason, _state.concurrency
    ).where(_state.name == bindparam("target"))
)
PUT_STATE: Final = replacing(schema.TARGET_STATE, "name")
_this: Final = and_(_served.boot == number("boot"), _served.target == bindparam("target"))
# What starts have said that are over, and this one so far.
FORGET_SERVED: Final = Statement(
    delete(schema.SERVED).where(_served.boot <= number("boot")),
    delete(schema.SERVED).where(
        or_(
            _served.boot == number("boot"),
            _served.boot.in_(select(_boot.id).where(_boot.ended_at.is_not(None))),
        )
    ),
)
SERVE: Final = Statement(
    insert(schema.SERVED).values(
        boot=number("boot"),
        target=bindparam("target"),
        concurrency=bindparam("concurrency"),
        held_at=bindparam("held_at"),
        held_why=bindparam("held_why"),
    )
)
HOLD: Final = Statement(
    update(schema.SERVED)
    .where(_this)
    .values(held_at=bindparam("held_at"), held_why=bindparam("held_why"))
)


def _said() -> Select[Any]:
    held_at = case((_boot.ended_at.is_(None), _served.held_at), else_=null())
    return select(_served.target, _served.concurrency, held_at, _served.held_why).join_from(
        schema.SERVED, schema.BOOT, _boot.id == _served.boot
    )


# A file has one server at a time, and the last one says which targets there are; of nodes, those
# that live say so, or if there are none, the last one.
_last: Final = _served.boot == select(func.max(_newer.boot)).scalar_subquery()
_alive: Final = exists().where(_node.ended_at.is_(None), _node.id == _newer.boot)
SAID: Final = Statement(
    _said().where(_last), _said().where(or_(_boot.ended_at.is_(None), and_(~_alive, _last)))
)
WAITING: Final = Statement(
    select(_job.target, func.count())
    .where(in_state(State.QUEUED), _job.follows.is_(None), _job.not_before.is_(None))
    .group_by(_job.target)
)
RUNNING: Final = Statement(
    select(_job.target, func.count()).where(in_state(State.RUNNING)).group_by(_job.target)
)
# All that there is to see of targets.
LOOKED_AT: Final = (STATES, SAID, WAITING, RUNNING)
# All that there is to see of one, as quickly with any number of waiting jobs.
_ONE_LOOKED_AT: Final = (STATES, SAID, waiting.OF_TARGET, RUNNING)


def decoded(row: Sequence[Any]) -> TargetState:
    """Return the settings in a row."""
    name, paused_at, paused_by, reason, concurrency = row
    return TargetState(
        name=name,
        paused_at=paused_at,
        paused_by=paused_by,
        reason=reason,
        concurrency=concurrency,
    )


def seen(found: Sequence[Sequence[Any]], configured: Mapping[str, int]) -> list[TargetSeen]:
    """Combine the rows of the statements in `LOOKED_AT`, by target.

    Args:
        configured: how many jobs of each target may run at once, as far as the reader knows.
    """
    states = {row[0]: decoded(row) for row in found[0]}
    concurrency: dict[str, int] = {}
    for target, slots, _, _ in found[1]:
        concurrency[target] = max(slots, concurrency.get(target, 0))
    held = _held(found[1])
    queued, running = dict(found[2]), dict(found[3])
    names = sorted({*states, *concurrency, *queued, *running, *configured})
    said = {**configured, **concurrency}
    return [
        TargetSeen(
            name=name,
            configured=said.get(name),
            concurrency=_first(states.get(name), said.get(name)),
            running=running.get(name, 0),
            waiting=queued.get(name, 0),
            state=states.get(name, TargetState(name=name)),
            hold=held.get(name),
        )
        for name in names
    ]


async def one(
    history: History, name: str, configured: Mapping[str, int] | None = None
) -> TargetSeen | None:
    """Return the state of a target, if it is known; of its waiting jobs, only so many are counted.

    Args:
        configured: how many jobs of each target may run at once, as far as the reader knows.
    """
    states, said, ((queued, _),), running = await history.together(
        _ONE_LOOKED_AT, claimed_target=name, limit=MOST_WAITING + 1
    )
    found = seen((states, said, [(name, queued)], running), configured or {})
    return next((target for target in found if target.name == name), None)


def _first(state: TargetState | None, configured: int | None) -> int | None:
    return configured if state is None or state.concurrency is None else state.concurrency


def _held(said: Sequence[Any]) -> dict[str, Hold]:
    """Return the targets that no node can reach, from the rows of `SAID`."""
    by_target: dict[str, list[Hold | None]] = {}
    for target, _, held_at, why in said:
        hold = None if held_at is None else Hold(since=held_at, why=why or "")
        by_target.setdefault(target, []).append(hold)
    return {
        target: max(held, key=lambda hold: hold.since)
        for target, holds in by_target.items()
        if len(held := [hold for hold in holds if hold is not None]) == len(holds)
    }


# --- what operators do ----------------------------------------------------------------------------


def change(
    tx: Transaction, name: str, wanted: TargetChange, who: str, known: Collection[str]
) -> TargetState:
    """Change the settings of a target, and add an entry to the audit log.

    Args:
        who: who makes the change.
        known: the existing targets.

    Raises:
        TargetUnknown: there is no such target; its stored settings, if any, are kept.
    """
    if name not in known:
        raise TargetUnknown(name, known)
    if tx.shared:  # two operators at once: the last one wins, and both are in the trail
        elsewhere.lock(tx, f"target {name}")
    row = tx.execute(STATE, target=name).fetchone()
    before = TargetState(name=name) if row is None else decoded(row)
    after = _changed(before, wanted, who, tx.now)
    tx.execute(
        PUT_STATE,
        name=name,
        paused_at=after.paused_at,
        paused_by=after.paused_by,
        reason=after.reason,
        concurrency=after.concurrency,
        changed_at=tx.now,
    )
    _note(tx, name, wanted, who)
    return after


def _changed(before: TargetState, wanted: TargetChange, who: str, now: int) -> TargetState:
    concurrency = wanted.concurrency if wanted.sizes else before.concurrency
    if wanted.paused is None:
        kept = (before.paused_at, before.paused_by, before.reason)
    elif wanted.paused:
        reason = None if wanted.reason is None else writable(wanted.reason)
        since = now if before.paused_at is None else before.paused_at
        kept = (since, writable(who), reason)
    else:
        kept = (None, None, None)
    paused_at, paused_by, reason = kept
    return TargetState(
        name=before.name,
        paused_at=paused_at,
        paused_by=paused_by,
        reason=reason,
        concurrency=concurrency,
    )


def _note(tx: Transaction, name: str, wanted: TargetChange, who: str) -> None:
    if wanted.paused is not None:
        audit.note(tx, who, "pause" if wanted.paused else "resume", name, wanted.reason)
    if wanted.sizes:
        slots = wanted.concurrency
        said = "as configured" if slots is None else f"{slots} at once"
        audit.note(tx, who, "set concurrency", name, said)


# --- what servers say -----------------------------------------------------------------------------


def serve(
    tx: Transaction, boot: int, concurrency: Mapping[str, int], holds: Mapping[str, Hold]
) -> None:
    """Store which targets a start of a server serves."""
    tx.execute(FORGET_SERVED, boot=boot)
    for target, slots in concurrency.items():
        held = _of_hold(holds.get(target))
        tx.execute(SERVE, boot=boot, target=target, concurrency=slots, **held)


def note_hold(tx: Transaction, boot: int, target: str, hold: Hold | None) -> None:
    """Store that a target cannot be reached, or can be reached again."""
    tx.execute(HOLD, boot=boot, target=target, **_of_hold(hold))


def _of_hold(hold: Hold | None) -> dict[str, object]:
    if hold is None:
        return {"held_at": None, "held_why": None}
    return {"held_at": hold.since, "held_why": writable(hold.why)}


# --- what jobs wait for ---------------------------------------------------------------------------


async def waiting_for(history: History) -> Callable[[Job], WaitReason | None]:
    """Return a function that tells what a job waits for, by the present state of targets."""
    states = {row[0]: decoded(row) for row in await history.rows(STATES)}
    held = frozenset(_held(await history.rows(SAID)))
    return lambda job: waits_for(job, states, held)
