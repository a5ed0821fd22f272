"""The page of one definition: its contents, schedule and runs, and actions on it."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Final

from aiohttp import web

from jobstore.dashboard import definition_form as form
from jobstore.dashboard.confirm import Question, ask, done
from jobstore.dashboard.definitions import DefinitionRow
from jobstore.dashboard.forms import filled_in
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import render
from jobstore.dashboard.runs import runs_of
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock
from jobstore.model.definition import Definition, key_of
from jobstore.model.definition_reader import change
from jobstore.model.errors import DefinitionExists, DefinitionInvalid
from jobstore.model.job import Dialect, Trigger
from jobstore.model.schedule import Schedule, next_fires
from jobstore.model.schedule_words import CATCH_UP, OVERLAP, FireTime, told
from jobstore.web.edge import run_of

_FIRES: Final = 5
# Where a form leads that is on the list.
_LIST: Final = "definitions"


async def show(visit: Visit) -> web.Response:
    """Show it."""
    found = await _found(visit)
    return await _page(visit, found, form.written(found.draft, visit.store.definitions.secret))


async def change_it(visit: Visit) -> web.Response:
    """Change it, or show what is invalid."""
    visit.visitor.acting()
    found, fields = await _found(visit), await filled_in(visit.request)
    secret = visit.store.definitions.secret
    try:
        draft = change(found.draft, form.changes(found.draft, fields, secret))
        await visit.store.definitions.change(found, draft)
    except (DefinitionInvalid, DefinitionExists) as error:
        filled = {**form.written(found.draft, secret), **fields}
        wrong = form.problems(error)
        status = error.status or HTTPStatus.BAD_REQUEST
        return await _page(visit, found, filled, wrong, status)
    return done(visit, Done.CHANGED, f"definitions/{found.id}")


async def run(visit: Visit) -> web.Response:
    """Run it now, and show the job."""
    visit.visitor.acting()
    found = await _found(visit)
    submission = run_of(
        found, visit.store, visit.router, visit.request, Dialect.NATIVE, Trigger.RESTAPI
    )
    job_id = await visit.store.submit(submission)
    return done(visit, Done.STARTED, str(job_id))


async def pause(visit: Visit) -> web.Response:
    """Pause its schedule."""
    return await _set_paused(visit, Done.PAUSED, paused=True)


async def resume(visit: Visit) -> web.Response:
    """Resume its schedule."""
    return await _set_paused(visit, Done.RESUMED, paused=False)


async def _set_paused(visit: Visit, word: Done, *, paused: bool) -> web.Response:
    visit.visitor.acting()
    found, fields = await _found(visit), await filled_in(visit.request)
    schedule = found.draft.schedule
    if schedule is None:
        raise DefinitionInvalid("it has no schedule that could be paused or resumed")
    draft = replace(found.draft, schedule=replace(schedule, paused=paused))
    await visit.store.definitions.change(found, draft)
    from_list = fields.get("from") == _LIST
    return done(visit, word, _LIST if from_list else f"definitions/{found.id}")


async def ask_delete(visit: Visit) -> web.Response:
    """Ask for confirmation of its deletion."""
    visit.visitor.acting()
    found = await _found(visit)
    question = Question(
        title=f"Delete the definition {found.draft.name}",
        told=(
            f"{found.draft.path} runs no more, neither by itself nor on request.",
            "Its runs go on, and stay in the history. This cannot be undone.",
        ),
        button="Delete the definition",
        back=f"definitions/{found.id}",
        section="Definitions",
        danger=True,
    )
    return ask(visit, question)


async def delete(visit: Visit) -> web.Response:
    """Delete it."""
    visit.visitor.acting()
    found = await _found(visit)
    await visit.store.definitions.delete(found.id, visit.scope)
    return done(visit, Done.DELETED, _LIST)


async def _found(visit: Visit) -> Definition:
    """Find it, by its id or by its uuid.

    Raises:
        DefinitionNotFound: there is none, or none that whoever asks may see.
    """
    reference = visit.request.match_info["id"]
    return await visit.store.definitions.find(*key_of(reference), visit.scope)


async def _page(
    visit: Visit,
    found: Definition,
    filled: Mapping[str, str],
    wrong: Mapping[str, str] | None = None,
    status: int = 200,
) -> web.Response:
    now, schedule = clock.now(), found.draft.schedule
    runs = await runs_of(visit.store, found.id, now)
    return render(
        visit.request,
        "definition.html",
        status=status,
        definition=found,
        draft=found.draft,
        row=DefinitionRow(definition=found, runs=runs),
        runs=runs,
        now=now,
        fires=[] if schedule is None else _fires(schedule, now),
        catch_up=schedule and CATCH_UP[schedule.catch_up],
        overlap=schedule and OVERLAP[schedule.overlap],
        headers=filled[form.HEADERS].splitlines(),
        content=form.shown_body(found.draft),
        large=None if form.is_editable(found.draft) else len(form.body_of(found.draft)),
        choices=form.CHOICES,
        filled=filled,
        wrong=wrong or {},
    )


def _fires(schedule: Schedule, now: int) -> list[FireTime]:
    """Return its next fire times; for a paused one, when it would run."""
    times = next_fires(replace(schedule, paused=False), now, _FIRES)
    return told(schedule, times, now)


_ONE: Final = "definitions/{id}"
ROUTES: Final[Routes] = (
    PageRoute("GET", _ONE, show),
    PageRoute("POST", _ONE, change_it),
    PageRoute("POST", f"{_ONE}/run", run),
    PageRoute("POST", f"{_ONE}/pause", pause),
    PageRoute("POST", f"{_ONE}/resume", resume),
    PageRoute("GET", f"{_ONE}/delete", ask_delete),
    PageRoute("POST", f"{_ONE}/delete", delete),
)
