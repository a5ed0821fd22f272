"""The list of jobs that match the URL's filters, the newest first."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from aiohttp import web

from jobstore.dashboard import bulk, query
from jobstore.dashboard.lately import Lately, lately
from jobstore.dashboard.pages import render, see_other, up
from jobstore.dashboard.query import LINE, Query
from jobstore.dashboard.rows import rows
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock
from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import Result, State
from jobstore.store import questions
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.search import Search
from jobstore.store.windows import Page
from jobstore.web.filters import PageQuery

# How many newer jobs are counted at most.
MOST_NEWER: Final = 100


@frozen(kw_only=True)
class Tab:
    """A tab above the list.

    Args:
        query: its query.
        count: its number of jobs, if known without counting.
        among: what that number is of, if its name does not say so.
        wrong: whether that number is of jobs that went wrong.
        current: whether it is shown now.
        apart: whether there is a gap before it.
    """

    name: str
    query: str
    count: int | None = None
    among: str = ""
    wrong: bool = False
    current: bool = False
    apart: bool = False


async def show(visit: Visit) -> web.StreamResponse:
    """Show a page of the list, or redirect to what a typed filter means."""
    asked = Query.of(visit.request.query)
    try:
        if LINE in asked.others:
            return _followed(visit, asked)
        return await _listed(visit, asked)
    except QueryInvalid as invalid:
        facts = await _frame(visit, asked)
        line = asked.others.get(LINE, query.line(asked.filters))
        return render(
            visit.request,
            "jobs.html",
            status=400,
            **facts,
            rows=[],
            line=line,
            error=str(invalid),
            instead=_instead(asked),
        )


def _instead(asked: Query) -> tuple[str, str] | None:
    """Return what a typed filter that cannot be read may have meant, and the query for that."""
    said = query.meant(asked.others.get(LINE, ""))
    return (said, asked.but(**query.line_of(said))) if said else None


def _followed(visit: Visit, asked: Query) -> web.Response:
    """Redirect to the job or list that a typed filter means."""
    text = asked.others[LINE]
    job = query.job_named(text)
    if job is not None:
        return see_other(f"{up(visit.request)}{job}")
    return see_other(asked.but(**query.line_of(text)))


async def _listed(visit: Visit, asked: Query) -> web.Response:
    now, history = clock.now(), visit.store.history
    fixed = asked.at(now)
    wanted, top = fixed.page(visit.scope), fixed.top
    if top is not None:
        wanted = replace(wanted, before=top + 1)
    found = await history.page(wanted.search, wanted.limit, wanted.before, visit.budget())
    askers = await questions.askers(history, found.jobs)
    older = found.searched_to and fixed.older(wanted.cursor(found.searched_to))
    first = "cursor" not in asked.others
    recent = await lately(visit, fixed.filters, now) if first else None
    frame = await _frame(visit, asked, recent)
    return render(
        visit.request,
        "jobs.html",
        **frame,
        rows=rows(found.jobs, now, visit.store.targets.waits_for, askers),
        line="",
        error=None,
        older=older,
        searched_to=await _searched_to(visit, found, wanted),
        first=first,
        lately=recent,
        top=_top(asked, found),
        newer=0 if top is None else await _newer(visit, wanted.search, top),
        **bulk.offers(visit, asked.filters),
        matches=len(found.jobs) if first and not (older or asked.top) else _kept(frame["tabs"]),
        newest=asked.but(),
        api="GET /_jobs" + query.written(fixed.filters).removeprefix("./"),
        command=query.command(fixed.filters),
    )


def _kept(tabs: Iterable[Tab]) -> int | None:
    """Return the number of jobs in the current tab; None if it is not known without counting."""
    return next((tab.count for tab in tabs if tab.current and not tab.wrong), None)


def _top(asked: Query, found: Page) -> int | None:
    """Return the id of the first shown job; None if newer ones do not matter here."""
    if "cursor" in asked.others:
        return None
    return asked.top or next((job.id for job in found.jobs), None)


async def _newer(visit: Visit, search: Search, top: int) -> int:
    """Count the jobs that are newer than the shown ones, up to a limit."""
    found = await visit.store.history.page(search, MOST_NEWER, LARGEST_ID, visit.budget())
    return sum(job.id > top for job in found.jobs)


async def _searched_to(visit: Visit, found: Page, wanted: PageQuery) -> int | None:
    """Return up to when the list was searched, if the budget ended before the list."""
    if found.searched_to is None or len(found.jobs) == wanted.limit:
        return None
    return await visit.store.history.submitted_to(found.searched_to)


async def _frame(visit: Visit, asked: Query, recent: Lately | None = None) -> dict[str, Any]:
    """Return what is shown above each list."""
    tabs = await _tabs(visit, asked, recent)
    closed = visit.store.targets.told_closed() if visit.visitor.sees_all else []
    return {
        "chips": asked.chips,
        "filters": asked.filters,
        "tabs": tabs,
        "closed": closed,
        "examples": query.EXAMPLES,
    }


async def _tabs(visit: Visit, asked: Query, recent: Lately | None) -> list[Tab]:
    """Return a tab for each state; counts are known only for all jobs together."""
    narrowed = any(name not in {"state", "result", "error"} for name in asked.filters)
    known = visit.visitor.sees_all and not narrowed
    counters = await visit.store.history.counters() if known else {}
    state, result, error = (asked.filters.get(name) for name in ("state", "result", "error"))
    alone = {"result": None, "error": None}
    counts = {each: counters.get(("job", each), 0) if known else None for each in State}
    everything = sum(filter(None, counts.values())) if known else None
    tabs = [
        Tab(
            name="all",
            query=asked.but(state=None, **alone),
            count=everything,
            current=not (state or result or error),
        )
    ]
    tabs.append(_wrong(asked, recent, current=error == "yes" and not (state or result)))
    tabs += [
        Tab(
            name=each,
            query=asked.but(state=each, **alone),
            count=counts[each],
            # Which of them were answered with an error is not counted.
            among="any status" if each is State.DONE else "",
            current=state == each and not (result or error),
        )
        for each in State
    ]
    held = counters.get(("result", Result.HELD), 0) if known else None
    tabs.append(
        Tab(
            name="result held",
            query=asked.but(state=None, result=Result.HELD, error=None),
            count=held,
            current=result == Result.HELD and not (state or error),
            apart=True,
        )
    )
    return tabs


def _wrong(asked: Query, recent: Lately | None, *, current: bool) -> Tab:
    """Return the tab of jobs that went wrong; of these, only recent ones are counted."""
    more = "" if recent is None or recent.complete else "or more "
    timed = not {"since", "until"}.isdisjoint(asked.filters)
    day = {} if timed or recent is None else {"since": "24h"}  # so that it lists what is counted
    return Tab(
        name="went wrong",
        query=asked.but(state=None, result=None, error="yes", **day),
        count=None if recent is None else recent.total.errors,
        among=more + ("" if timed else "in 24 h"),
        wrong=True,
        current=current,
    )


ROUTES: Final[Routes] = (PageRoute("GET", "", show),)
