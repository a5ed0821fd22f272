"""Targets: how they stand, why no job of theirs starts, and what operators say of that."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from jobstore.dashboard.forms import Fields, FormInvalid, filled_in
from jobstore.dashboard.operators import operator
from jobstore.dashboard.pages import NoSuchPage, render, see_other
from jobstore.dashboard.visit import Route, Routes, Visit
from jobstore.live.census import Census, Queue
from jobstore.model import clock
from jobstore.model.errors import JobstoreError, TargetUnknown
from jobstore.model.job import Job
from jobstore.model.target_state import TargetChange, TargetSeen
from jobstore.store.budget import Budget
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.web.parameters import id_of

# How many of the errors of a target are shown, and for how long they are looked for, in seconds.
_ERRORS: Final = 3
_ERRORS_SECONDS: Final = 0.05
_TRAIL: Final = 10
_LONGEST_REASON: Final = 500
_MOST_SLOTS: Final = 2**31 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A target as the page shows it.

    Args:
        queue: what waits for a slot of it, as far as it was counted.
        errors: the last jobs that went wrong.
    """

    target: TargetSeen
    queue: Queue
    errors: Sequence[Job]

    @property
    def name(self) -> str:
        """What it is called."""
        return self.target.name

    @property
    def oldest(self) -> int:
        """For how long the first of those that wait could have run, in microseconds."""
        return int(self.queue.oldest * clock.SECOND)


async def show(visit: Visit) -> web.Response:
    """Show all targets."""
    visit.visitor.seeing_all()
    store = visit.store
    seen, figures = await asyncio.gather(store.targets.seen(), Census(store, clock.now).figures())
    lines = [await _line(visit, target, figures.queues) for target in seen]
    return render(
        visit.request,
        "targets.html",
        lines=lines,
        trail=await store.targets.trail(_TRAIL),
    )


async def _line(visit: Visit, target: TargetSeen, queues: Mapping[str, Queue]) -> Line:
    wrong = Search(target=target.name, errors=True)
    page = await visit.store.history.page(wrong, _ERRORS, LARGEST_ID, Budget(_ERRORS_SECONDS))
    queue = queues.get(target.name, Queue(target.waiting))
    return Line(target=target, queue=queue, errors=page.jobs)


# --- what is said of them -------------------------------------------------------------------------


def _pause(fields: Fields) -> TargetChange:
    reason = fields.get("reason", "").strip()
    if len(reason) > _LONGEST_REASON:
        raise FormInvalid(f"reason: expected {_LONGEST_REASON} characters at most")
    return TargetChange(paused=True, reason=reason or None)


def _resume(_: Fields) -> TargetChange:
    return TargetChange(paused=False)


def _slots(fields: Fields) -> TargetChange:
    text = fields.get("slots", "").strip()
    if not text:
        return TargetChange(sizes=True)
    slots = id_of(text)
    if slots is None or not 1 <= slots <= _MOST_SLOTS:
        raise FormInvalid("slots: expected a whole number from 1 on, or nothing")
    return TargetChange(sizes=True, concurrency=slots)


_CHANGES: Final[Mapping[str, Callable[[Fields], TargetChange]]] = {
    "pause": _pause,
    "resume": _resume,
    "slots": _slots,
}


async def tell(visit: Visit) -> web.Response:
    """Say what will happen to a target, and ask whether it shall."""
    operator(visit.request)
    return await _form(visit, visit.request.query)


async def do(visit: Visit) -> web.Response:
    """Do it, or say why it cannot be done and ask once more."""
    change = _CHANGES.get(visit.request.match_info["deed"])
    if change is None:
        raise NoSuchPage
    operator(visit.request)
    fields = await filled_in(visit.request)
    who = operator(visit.request)  # who may have become somebody else while the form came
    try:
        await visit.store.targets.change(fields.get("target", ""), change(fields), who)
    except FormInvalid as error:
        return await _form(visit, fields, error)
    return see_other("../targets")


async def _form(
    visit: Visit, fields: Mapping[str, str], error: JobstoreError | None = None
) -> web.Response:
    deed = visit.request.match_info["deed"]
    if deed not in _CHANGES:
        raise NoSuchPage
    seen = await visit.store.targets.seen()
    name = fields.get("target", "")
    target = next((each for each in seen if each.name == name), None)
    if target is None:
        raise TargetUnknown(name, [each.name for each in seen])
    return render(
        visit.request,
        "target_deed.html",
        status=200 if error is None else error.status or 409,
        deed=deed,
        target=target,
        said=str(error or ""),
        filled={each: fields.get(each, "")[:1000] for each in ("reason", "slots")},
    )


ROUTES: Final[Routes] = (
    Route("GET", "targets", show),
    Route("GET", "targets/{deed}", tell),
    Route("POST", "targets/{deed}", do),
)
