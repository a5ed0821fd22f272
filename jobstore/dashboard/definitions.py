"""Definitions: all that run by themselves or on request, with what became of their latest runs."""

from dataclasses import dataclass
from typing import Final

from aiohttp import web

from jobstore.dashboard.pages import render
from jobstore.dashboard.runs import Runs, runs_of
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock
from jobstore.model.definition import Definition
from jobstore.model.schedule_words import in_words
from jobstore.web.parameters import count_of

# How many are on a page: the runs of each are looked up.
_PAGE: Final = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class DefinitionRow:
    """A definition in the list."""

    definition: Definition
    runs: Runs

    @property
    def paused(self) -> bool:
        """Whether it does not run by itself for the time being."""
        schedule = self.definition.draft.schedule
        return schedule is not None and schedule.paused

    @property
    def schedule(self) -> str | None:
        """When it runs by itself, in words; None if it never does."""
        schedule = self.definition.draft.schedule
        return None if schedule is None else in_words(schedule)


async def show(visit: Visit) -> web.Response:
    """Show a page of them, in the order in which they were made."""
    after, now = count_of(visit.request.query, "after", 0), clock.now()
    found = await visit.store.definitions.page(after, _PAGE + 1, visit.scope)
    rows = [
        DefinitionRow(definition=each, runs=await runs_of(visit.store, each.id, now))
        for each in found[:_PAGE]
    ]
    return render(
        visit.request,
        "definitions.html",
        rows=rows,
        now=now,
        first=after == 0,
        following=rows[-1].definition.id if len(found) > _PAGE else None,
    )


ROUTES: Final[Routes] = (PageRoute("GET", "definitions", show),)
