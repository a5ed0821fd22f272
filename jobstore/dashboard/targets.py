"""The Targets page: their state, why no job starts, and what operators have set."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.dashboard.confirm import Input, Question, ask, done
from jobstore.dashboard.forms import Fields, FormInvalid, filled_in
from jobstore.dashboard.login import sentence
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import NoSuchPage, render
from jobstore.dashboard.trends import Trend, trends
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.live.census import Queue
from jobstore.model import clock, words
from jobstore.model.errors import TargetUnknown
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.target_state import OWN_CALLS, TargetChange, TargetSeen
from jobstore.store.budget import Budget
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.web import standing
from jobstore.web.parameters import id_of

# How many of the errors of a target are shown, and for how long those of all are looked for, in
# seconds.
_ERRORS: Final = 3
_ERRORS_SECONDS: Final = 0.02
_TRAIL: Final = 10
_LONGEST: Final = 500
_MOST_SLOTS: Final = 2**31 - 1


@frozen(kw_only=True)
class TargetRow:
    """A target on the page.

    Args:
        queue: its queue, as far as it was counted.
        errors: its last jobs that went wrong.
        trend: what came of its jobs in the last day.
    """

    target: TargetSeen
    queue: Queue
    errors: Sequence[Job]
    trend: Trend

    @property
    def name(self) -> str:
        """What it is called."""
        return self.target.name

    @property
    def own(self) -> bool:
        """Whether its jobs call jobstore itself."""
        return self.name == OWN_CALLS

    @property
    def oldest(self) -> int:
        """How long the oldest waiting job has been ready, in microseconds."""
        return int(self.queue.oldest * clock.SECOND)


async def show(visit: Visit) -> web.Response:
    """Show all targets."""
    visit.visitor.seeing_all()
    store = visit.store
    seen, queues = await asyncio.gather(store.targets.seen(), store.census.queues())
    found = await trends(store, [target.name for target in seen], clock.now())
    seconds = _ERRORS_SECONDS / max(1, len(seen))
    lines = [
        TargetRow(
            target=target,
            queue=queues.get(target.name, Queue(target.waiting)),
            errors=await _errors(visit, target.name, seconds),
            trend=found[target.name],
        )
        for target in seen
    ]
    return render(
        visit.request,
        "targets.html",
        lines=lines,
        trail=await store.targets.trail(_TRAIL) if visit.visitor.administers else (),
    )


async def _errors(visit: Visit, target: str, seconds: float) -> Sequence[Job]:
    """Look for the last jobs of a target that went wrong, for no longer than so many seconds."""
    wrong = Search(target=target, errors=True)
    return (await visit.store.history.page(wrong, _ERRORS, LARGEST_ID, Budget(seconds))).jobs


# --- what is said of them -------------------------------------------------------------------------


@frozen(kw_only=True)
class TargetAction:
    """An action of an admin on a target.

    Args:
        question: says what will happen.
        change: reads the form.
        word: the word for what was done.
    """

    question: Callable[[TargetSeen, Fields], Question]
    change: Callable[[Fields], TargetChange]
    word: Done


def _whether_to_pause(target: TargetSeen, fields: Fields) -> Question:
    running, waiting = (words.plural(each, "job") for each in (target.running, target.waiting))
    starts = "No job of this target starts until somebody resumes it, at any server of this store."
    return Question(
        title=f"Pause {target.name}",
        told=(
            f"{starts} New jobs are accepted, and wait.",
            f"What runs now ({running}) goes on to its end; what waits ({waiting}) keeps waiting.",
        ),
        button="Pause",
        danger=True,
        inputs=(Input(name="reason", label="Why", value=fields.get("reason", "")[:_LONGEST]),),
    )


def _pause(fields: Fields) -> TargetChange:
    reason = fields.get("reason", "").strip()
    if len(reason) > _LONGEST:
        raise FormInvalid(f"reason: expected {_LONGEST} characters at most")
    return TargetChange(paused=True, reason=reason or None)


def _whether_to_resume(target: TargetSeen, _: Fields) -> Question:
    waiting = words.plural(target.waiting, "job")
    return Question(
        title=f"Resume {target.name}",
        told=(f"What waits for it ({waiting}) starts as slots get free.",),
        button="Resume",
    )


def _resume(_: Fields) -> TargetChange:
    return TargetChange(paused=False)


def _whether_to_size(target: TargetSeen, fields: Fields) -> Question:
    own, configured = target.state.concurrency, target.configured
    value = fields.get("slots", "")[:_LONGEST] or str(own or "")
    return Question(
        title=f"Slots of {target.name}",
        told=(
            (
                "How many of its jobs may run at once at each server, instead of what the "
                f"configuration says{'' if configured is None else f': {configured:,}'}. Leave "
                "the field empty to use the configured number."
            ),
            "With fewer slots, running jobs still go on.",
        ),
        button="Set the slots",
        inputs=(Input(name="slots", label="Slots", kind="number", value=value),),
    )


def _size(fields: Fields) -> TargetChange:
    text = fields.get("slots", "").strip()
    if not text:
        return TargetChange(sizes=True)
    slots = id_of(text)
    if slots is None or slots > _MOST_SLOTS:
        raise FormInvalid("slots: expected a whole number from 1 on, or nothing")
    return TargetChange(sizes=True, concurrency=slots)


DEEDS: Final[Mapping[str, TargetAction]] = {
    "pause": TargetAction(question=_whether_to_pause, change=_pause, word=Done.PAUSED),
    "resume": TargetAction(question=_whether_to_resume, change=_resume, word=Done.RESUMED),
    "slots": TargetAction(question=_whether_to_size, change=_size, word=Done.CHANGED),
}


async def tell(visit: Visit) -> web.Response:
    """Ask for confirmation of an action on a target."""
    standing.operator(visit.request)
    return await _ask(visit, _deed(visit), visit.request.query)


async def do(visit: Visit) -> web.Response:
    """Do it, or say why it cannot be done and ask again."""
    deed = _deed(visit)
    standing.operator(visit.request)
    fields = await filled_in(visit.request)
    who = standing.operator(visit.request)  # who may have become somebody else while the form came
    try:
        await visit.store.targets.change(fields.get("target", ""), deed.change(fields), who)
    except FormInvalid as error:
        return await _ask(visit, deed, fields, error)
    return done(visit, deed.word, "targets")


def _deed(visit: Visit) -> TargetAction:
    deed = DEEDS.get(visit.request.match_info["deed"])
    if deed is None:
        raise NoSuchPage
    return deed


async def _ask(
    visit: Visit, deed: TargetAction, fields: Fields, error: FormInvalid | None = None
) -> web.Response:
    seen, name = await visit.store.targets.seen(), fields.get("target", "")
    target = next((each for each in seen if each.name == name), None)
    if target is None:
        raise TargetUnknown(name, [each.name for each in seen])
    question = replace(
        deed.question(target, fields),
        back="targets",
        section="Targets",
        kept={"target": name},
        wrong="" if error is None else sentence(error),
    )
    return ask(visit, question, HTTPStatus.OK if error is None else HTTPStatus.BAD_REQUEST)


ROUTES: Final[Routes] = (
    PageRoute("GET", "targets", show),
    PageRoute("GET", "targets/{deed}", tell),
    PageRoute("POST", "targets/{deed}", do),
)
