"""Actions on one job: offered only where possible, and confirmed before they are done."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from aiohttp import web

from jobstore.dashboard.confirm import Input, Question, ask, done
from jobstore.dashboard.forms import Fields, filled_in
from jobstore.dashboard.notes import Done
from jobstore.dashboard.visit import PageRoute, Routes, Visit, job_of
from jobstore.live.again import forgotten, submit_again
from jobstore.model import clock, words
from jobstore.model.bulk import BulkAction
from jobstore.model.clock import SECOND
from jobstore.model.errors import JobNotFound, ResultNotRestorable, SecretsMissing, WrongState
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.model.retry import told_of_doubt
from jobstore.store.events import DELETED, by_person
from jobstore.store.kin import retried_as
from jobstore.web import standing
from jobstore.web.capture import SAFE
from jobstore.web.edge import owner_of

# For how long a deletion is offered to be undone where it was done.
UNDO: Final = 600 * SECOND
# What says that a request is sent again although it lacks what was secret.
WITHOUT: Final = "without_secrets"

LABELS: Final[Mapping[BulkAction, str]] = {
    BulkAction.RETRY: "Retry as a new job…",
    BulkAction.CANCEL: "Cancel…",
    BulkAction.RESTORE: "Restore…",
    BulkAction.DELETE: "Delete…",
}
_DANGEROUS: Final = frozenset({BulkAction.CANCEL, BulkAction.DELETE})


@frozen(kw_only=True)
class Offer:
    """An offered action.

    Args:
        label: the text of the link to its question.
        path: the question's path below the mount.
        danger: whether it is destructive.
    """

    action: BulkAction
    label: str
    path: str
    danger: bool


async def offers(visit: Visit, job: Job) -> list[Offer]:
    """Return the actions that the visitor may apply to a job."""
    if not visit.visitor.may_act:
        return []
    possible = await visit.store.operations.possible(job.id)
    return [
        Offer(action=action, label=label, path=f"{job.id}/{action}", danger=action in _DANGEROUS)
        for action, label in LABELS.items()
        if action in possible
    ]


def likely(job: Job) -> list[BulkAction]:
    """Return the actions that a job's states allow; they are checked again when done."""
    ended, result = job.state in ENDED, job.result
    holds = {
        BulkAction.RETRY: ended and result is not Result.DELETED,
        BulkAction.CANCEL: not ended and result is Result.NONE,
        BulkAction.RESTORE: ended and result in {Result.TAKEN, Result.DELETED},
        BulkAction.DELETE: result is not Result.DELETED,
    }
    return [action for action, can in holds.items() if can]


def can_undo(job: Job, offered: Sequence[Offer], moments: Sequence[Moment]) -> bool:
    """Return whether a job was deleted a moment ago, and can be restored.

    Args:
        moments: its timeline.
    """
    restorable = any(each.action is BulkAction.RESTORE for each in offered)
    since = clock.now() - UNDO
    deleted = any(each.event == DELETED and each.at >= since for each in moments)
    return restorable and job.result is Result.DELETED and deleted


# --- asking -------------------------------------------------------------------------------------


async def tell(visit: Visit) -> web.Response:
    """Ask for confirmation."""
    visit.visitor.acting()
    job, action = await job_of(visit), _action(visit)
    await _require(visit, job, action)
    return ask(visit, await _QUESTIONS[action](visit, job))


async def do(visit: Visit) -> web.Response:
    """Do it, or say why it can no longer be done."""
    visit.visitor.acting()
    fields = await filled_in(visit.request)
    standing.changing(visit.request)  # who may have become a reader while the form came
    job, action = await job_of(visit), _action(visit)
    await _require(visit, job, action)
    try:
        return await _DEEDS[action](visit, job, fields)
    except (JobNotFound, ResultNotRestorable):  # it was another a moment ago
        raise _moved(await job_of(visit), action) from None


def _action(visit: Visit) -> BulkAction:
    return BulkAction(visit.request.match_info["action"])


async def _require(visit: Visit, job: Job, action: BulkAction) -> None:
    """Ensure that an action can be applied to a job now.

    Raises:
        WrongState: it cannot.
    """
    if action not in await visit.store.operations.possible(job.id):
        raise _moved(job, action)


def _moved(job: Job, action: BulkAction) -> WrongState:
    return WrongState(job.id, _why_not(job, action))


def _why_not(job: Job, action: BulkAction) -> str:
    """Return why an action cannot be applied to a job, as the end of a sentence."""
    ended = job.state in ENDED
    reasons: Mapping[BulkAction, tuple[tuple[bool, str], ...]] = {
        BulkAction.CANCEL: (
            (ended, f"has already ended: it is {job.state}"),
            (True, "cannot be stopped: its result was discarded"),
        ),
        BulkAction.RETRY: (
            (not ended, f"has not ended yet: it is {job.state}"),
            (job.result is Result.DELETED, "was deleted: it can be retried once it is restored"),
            (True, "cannot be retried: its request is no longer kept"),
        ),
        BulkAction.DELETE: ((True, "was already deleted"),),
        BulkAction.RESTORE: (
            (not ended, f"has not ended yet: it is {job.state}"),
            (job.result is Result.HELD, "still has its result"),
            (True, "cannot be restored: its result is no longer kept"),
        ),
    }
    return next(why for holds, why in reasons[action] if holds)


def _question(job: Job, title: str, button: str, *told: str, danger: bool = False) -> Question:
    return Question(
        title=f"{title} job {job.id}?",
        told=told,
        button=button,
        back=str(job.id),
        danger=danger,
    )


# --- cancel -------------------------------------------------------------------------------------


async def _ask_cancel(_: Visit, job: Job) -> Question:
    told = (
        "It is running, and is stopped at once: its target may have done all of its work, or half."
        if job.state is State.RUNNING
        else "It has not begun. It ends as cancelled, and its request is never sent."
    )
    rest = "This cannot be undone; it can be retried as a new job. Jobs that wait for its success "
    rest += "are cancelled as well."
    return _question(job, "Cancel", "Cancel the job", told, rest, danger=True)


async def _cancel(visit: Visit, job: Job, _: Fields) -> web.Response:
    asker = standing.changing(visit.request)
    found = await visit.store.cancel(job.id, asker.scope, asker.name)
    if found in ENDED:
        raise WrongState(job.id, f"has already ended: it is {found}")
    word = Done.CANCEL_ASKED if found is State.RUNNING else Done.CANCELLED
    return done(visit, word, str(job.id))


# --- retry --------------------------------------------------------------------------------------


async def _ask_retry(visit: Visit, job: Job) -> Question:
    request = await visit.store.history.request(job)
    missing = forgotten(request.headers) if request else []
    earlier = retried_as(await visit.store.history.timeline(job.id))
    told = [f"The same request is sent to {job.target} again, as a new job. This one stays."]
    question = _question(job, "Retry", "Retry it", *_already(earlier), *told, *_twice(job))
    return replace(question, inputs=(_consent(missing),)) if missing else question


def _already(earlier: Sequence[int]) -> list[str]:
    """Say that a job was retried before, if it was."""
    if not earlier:
        return []
    times = f", the last of {words.count(len(earlier))} times" if len(earlier) > 1 else ""
    return [f"It was already retried as job {earlier[-1]}{times}."]


def _twice(job: Job) -> list[str]:
    """Say that something may happen twice, if it may."""
    if doubt := told_of_doubt(job):
        return [doubt]
    if job.method in SAFE:
        return []
    return ["Whatever its target has already done may then happen twice."]


def _consent(missing: Sequence[str]) -> Input:
    names = ", ".join(missing)
    label = f"Send it without {names}, which was secret and is not kept after a job's end; its "
    label += "target may refuse it."
    return Input(name=WITHOUT, label=label, kind="checkbox", value="yes", required=True)


async def _retry(visit: Visit, job: Job, fields: Fields) -> web.Response:
    asker = standing.changing(visit.request)
    kept = await visit.store.history.request(job)
    if kept is None:
        raise _moved(job, BulkAction.RETRY)
    missing = forgotten(kept.headers)
    if missing and fields.get(WITHOUT) != "yes":
        why = str(SecretsMissing(job.id, missing)).partition(";")[0]
        wrong = f"Nothing was done: {why}."
        return ask(visit, replace(await _ask_retry(visit, job), wrong=wrong), 409)
    target = owner_of(visit.store, visit.router, kept.method, kept.path).name
    new = await submit_again(
        visit.store,
        job,
        kept,
        target,
        administers=asker.administers,
        source=standing.source(visit.request),
        by="from the dashboard",
    )
    return done(visit, Done.RETRIED, str(new))


# --- delete and restore -------------------------------------------------------------------------


async def _ask_delete(_: Visit, job: Job) -> Question:
    told = (
        "Its result can no longer be fetched. It can be restored until it is purged."
        if job.state in ENDED
        else "Its work goes on, but nobody can fetch its result or stop it. This cannot be undone."
    )
    return _question(job, "Delete", "Delete it", told, danger=True)


async def _delete(visit: Visit, job: Job, _: Fields) -> web.Response:
    asker = standing.changing(visit.request)
    because = by_person(asker.name) if asker.name else "on its page"
    await visit.store.results.withdraw(job.id, asker.scope, because)
    return done(visit, Done.DELETED, str(job.id))


async def _ask_restore(_: Visit, job: Job) -> Question:
    told = "Its result is held again, for whoever fetches it first."
    if job.result is Result.TAKEN:
        told += " It was fetched before, so that it may be processed twice."
    return _question(job, "Restore", "Restore it", told)


async def _restore(visit: Visit, job: Job, _: Fields) -> web.Response:
    await visit.store.results.restore(job.id)
    return done(visit, Done.RESTORED, str(job.id))


_QUESTIONS: Final[Mapping[BulkAction, Callable[[Visit, Job], Awaitable[Question]]]] = {
    BulkAction.CANCEL: _ask_cancel,
    BulkAction.RETRY: _ask_retry,
    BulkAction.DELETE: _ask_delete,
    BulkAction.RESTORE: _ask_restore,
}
_DEEDS: Final[Mapping[BulkAction, Callable[[Visit, Job, Fields], Awaitable[web.Response]]]] = {
    BulkAction.CANCEL: _cancel,
    BulkAction.RETRY: _retry,
    BulkAction.DELETE: _delete,
    BulkAction.RESTORE: _restore,
}
_PATH: Final = r"{id:[0-9]+}/{action:cancel|retry|delete|restore}"
ROUTES: Final[Routes] = (PageRoute("GET", _PATH, tell), PageRoute("POST", _PATH, do))
