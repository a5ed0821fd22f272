"""Statistics: how many jobs of each route, definition, owner or target ran, and how long."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from aiohttp import web

from jobstore.dashboard.draw.heat import LEGEND, heat, shade
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.pages import HARDENED, render, up
from jobstore.dashboard.query import instant, written
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock
from jobstore.model.clock import SECOND, iso
from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.periods import Dimension, Work, start_of
from jobstore.model.route import ANY
from jobstore.store import period_rows, questions
from jobstore.store.overview import Overview, OverviewQuery, overview
from jobstore.web import overviews
from jobstore.web.filters import values_of

RANGES: Final[Mapping[str, str]] = MappingProxyType(
    {"24h": "24 h", "7d": "7 days", "30d": "30 days"}
)
# How many names are shown at most, and how many cells: each takes some time to add up.
_MOST: Final = 50
_MOST_CELLS: Final = 5000
# How many columns the table has at most; of more hours, it has the slowest of each day.
_MOST_COLUMNS: Final = 48
_DAY: Final = 24
_MIDDLE: Final = 50
_NEARLY_ALL: Final = 95
_COLUMNS: Final = (
    *("name", "count", "done", "failed", "cancelled", "errors"),
    *("p50_ms", "p95_ms", "max_ms"),
)
# With these a spreadsheet takes text for a formula, see
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


@frozen(kw_only=True)
class StatisticsRow:
    """What came of the jobs of one name.

    Args:
        name: what it is called.
        halves: how long half of those of each span took at most, in microseconds.
        jobs: where the list of them is; None if they have nothing in common to look for.
    """

    name: str
    work: Work
    halves: Sequence[int | None] = ()
    jobs: str | None = None

    @property
    def half(self) -> int | None:
        """The median duration, in microseconds."""
        return self.work.took_at_most(_MIDDLE)

    @property
    def most(self) -> int | None:
        """The 95th percentile of the durations."""
        return self.work.took_at_most(_NEARLY_ALL)

    @property
    def longest(self) -> int | None:
        """The longest duration."""
        return self.work.longest if self.work.runs.counts else None

    def slowest(self, count: int) -> Sequence[int | None]:
        """Return the longest of these of so many spans that follow one another, again and again."""
        parts = (self.halves[place : place + count] for place in range(0, len(self.halves), count))
        return [max((each for each in part if each is not None), default=None) for part in parts]

    @property
    def drawn(self) -> Svg:
        """The medians as a row of cells."""
        known = [each for each in self.halves if each is not None]
        slow = LEGEND[shade(max(known))] if known else "nothing ran"
        return heat(self.halves, f"{self.name}: median, slowest: {slow}")


async def show(visit: Visit) -> web.Response:
    """Show them as a page."""
    given, now = dict(visit.request.query), clock.now()
    try:
        asked, error = _asked(visit, now), None
    except QueryInvalid as invalid:
        asked, error = _default(visit, now), str(invalid)
    starts = _starts(asked)
    most = min(_MOST, _MOST_CELLS // max(1, len(starts)))
    together = _DAY if len(starts) > _MOST_COLUMNS else 1
    found = await overview(visit.store.history, asked, most, visit.budget())
    rows = await _rows(visit, asked, found, found.most(most))
    rest = found.works.get(period_rows.REST)
    return render(
        visit.request,
        "statistics.html",
        status=200 if error is None else 400,
        error=error,
        asked=asked,
        kinds=overviews.KINDS,
        ranges=RANGES,
        chosen=given.get("since") or "24h",
        step=overviews.WORDS[asked.seconds],
        starts=starts[::together],
        together=together,
        rows=rows,
        names=len(found.works) - (rest is not None),
        rest=rest and StatisticsRow(name="", work=rest),
        complete=found.complete,
        legend=LEGEND,
        csv=written({"by": asked.kind, "since": given.get("since") if error is None else None}),
    )


async def give_csv(visit: Visit) -> web.Response:
    """Answer with all of them as CSV: RFC 4180."""
    asked = replace(_asked(visit, clock.now()), durations=False)
    found = await overview(visit.store.history, asked, period_rows.NAMES, visit.budget())
    named = await _names(visit, asked)
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    for name in [*found.most(period_rows.NAMES), *({period_rows.REST} & {*found.works})]:
        writer.writerow([_harmless(named.get(name, name)), *_figures(found.works[name])])
    return web.Response(
        text=text.getvalue(),
        content_type="text/csv",
        charset="utf-8",
        headers={
            **HARDENED,
            "Cache-Control": "no-store",
            "Content-Disposition": f'attachment; filename="jobs-by-{asked.kind}.csv"',
        },
    )


def _asked(visit: Visit, now: int) -> OverviewQuery:
    """Read what is asked for.

    Raises:
        QueryInvalid: it cannot be understood; the message says what was expected.
    """
    query = values_of(visit.request.query, ("by", "since"))
    by, since = query.get("by") or Dimension.ROUTE, query.get("since") or "24h"
    values = {"by": by, "since": instant(since, now)}
    return replace(overviews.statistics(values, visit.scope, now), durations=True)


def _default(visit: Visit, now: int) -> OverviewQuery:
    return replace(overviews.statistics({"by": Dimension.ROUTE}, visit.scope, now), durations=True)


def _starts(asked: OverviewQuery) -> Sequence[int]:
    return range(start_of(asked.seconds, asked.since), asked.until, asked.seconds * SECOND)


async def _rows(
    visit: Visit, asked: OverviewQuery, found: Overview, names: Sequence[str]
) -> Sequence[StatisticsRow]:
    named, starts = await _names(visit, asked), _starts(asked)
    return [
        StatisticsRow(
            name=named.get(name, name),
            work=found.works[name],
            halves=[_half(found, name, at) for at in starts],
            jobs=up(visit.request)
            + written({**_filter(asked.kind, name), "since": iso(asked.since)}),
        )
        for name in names
    ]


def _half(found: Overview, name: str, at: int) -> int | None:
    work = found.spans[name].get(at)
    return None if work is None else work.took_at_most(_MIDDLE)


async def _names(visit: Visit, asked: OverviewQuery) -> Mapping[str, str]:
    """Return the names of definitions, by id as text."""
    if asked.kind is not Dimension.DEFINITION:
        return {}
    names = await questions.names(visit.store.history)
    return {str(number): name for number, name in names.items()}


def _filter(kind: Dimension, name: str) -> Mapping[str, str]:
    """Return the filter for the jobs of a name, or the nearest one."""
    if kind is not Dimension.ROUTE:
        return {str(kind): name}
    path = name.partition(" ")[2]
    return {"path": path.partition(ANY)[0]}


def _figures(work: Work) -> Sequence[object]:
    row = StatisticsRow(name="", work=work)
    took = [None if each is None else each / 1000 for each in (row.half, row.most, row.longest)]
    return [work.count, work.done, work.failed, work.cancelled, work.errors, *took]


def _harmless(name: str) -> str:
    """Return a name that no spreadsheet takes for a formula."""
    return f"'{name}" if name.startswith(_FORMULA) else name


ROUTES: Final[Routes] = (
    PageRoute("GET", "statistics", show),
    PageRoute("GET", "statistics.csv", give_csv),
)
