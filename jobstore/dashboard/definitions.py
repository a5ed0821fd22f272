"""Definitions: all that run by themselves or on request, and a form to create one."""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Final

from aiohttp import web

from jobstore.dashboard import definition_form as form
from jobstore.dashboard.confirm import done
from jobstore.dashboard.fires import strip_of
from jobstore.dashboard.forms import filled_in
from jobstore.dashboard.notes import Done
from jobstore.dashboard.pages import render, up
from jobstore.dashboard.runs import Runs, runs_of
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock
from jobstore.model.definition import Definition
from jobstore.model.errors import DefinitionExists, DefinitionInvalid
from jobstore.model.frozen import frozen
from jobstore.model.schedule import next_fire
from jobstore.model.schedule_words import in_words
from jobstore.web.parameters import count_of

# How many are on a page: the runs of each are looked up.
_PAGE: Final = 25
# The button of the form that creates nothing.
_CHECK: Final = "check"


@frozen(kw_only=True)
class DefinitionRow:
    """A definition in the list."""

    definition: Definition
    runs: Runs

    @property
    def paused(self) -> bool:
        """Whether its schedule is paused."""
        schedule = self.definition.draft.schedule
        return schedule is not None and schedule.paused

    @property
    def schedule(self) -> str | None:
        """Its schedule in words; None if it has none."""
        schedule = self.definition.draft.schedule
        return None if schedule is None else in_words(schedule)


async def show(visit: Visit) -> web.Response:
    """Show a page of them, in the order of their creation."""
    return await _page(visit, form.blank())


async def create(visit: Visit) -> web.Response:
    """Create one, or say what of it cannot be, or only what it would say."""
    identity = visit.visitor.acting()
    fields = await filled_in(visit.request)
    filled = {**form.blank(), **fields}
    definitions = visit.store.definitions
    try:
        draft = form.created(fields, definitions.secret)
        if _CHECK in fields:
            return await _page(visit, filled, checked=True)
        made = await definitions.create(draft, identity.name, identity.account)
    except (DefinitionInvalid, DefinitionExists) as error:
        status = error.status or HTTPStatus.BAD_REQUEST
        return await _page(visit, filled, form.problems(error), status)
    return done(visit, Done.CREATED, f"definitions/{made.id}")


async def _page(
    visit: Visit,
    filled: Mapping[str, str],
    wrong: Mapping[str, str] = MappingProxyType({}),
    status: int = 200,
    *,
    checked: bool = False,
) -> web.Response:
    after, now = count_of(visit.request.query, "after", 0), clock.now()
    definitions = visit.store.definitions
    found = await definitions.page(after, _PAGE + 1, visit.scope)
    rows = [
        DefinitionRow(definition=each, runs=await runs_of(visit.store, each.id, now))
        for each in found[:_PAGE]
    ]
    strip, schedule = await strip_of(definitions, visit.scope, now), form.schedule_of(filled)
    return render(
        visit.request,
        "definitions.html",
        status=status,
        rows=rows,
        now=now,
        first=after == 0,
        following=rows[-1].definition.id if len(found) > _PAGE else None,
        strip=strip,
        lanes=strip and strip.drawn(up(visit.request)),
        filled=filled,
        wrong=wrong,
        checked=checked,
        choices=form.CHOICES,
        large=None,
        words=schedule and in_words(schedule),
        next=schedule and next_fire(schedule, now),
    )


ROUTES: Final[Routes] = (
    PageRoute("GET", "definitions", show),
    PageRoute("POST", "definitions", create),
)
