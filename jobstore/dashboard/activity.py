"""Activity: how many jobs there were, span by span, how they ended, and when servers started."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, pairwise
from types import MappingProxyType
from typing import Final

from aiohttp import web

from jobstore.dashboard.draw.bars import Bar, Mark, bars
from jobstore.dashboard.draw.lanes import Lane, lanes
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.pages import render, up
from jobstore.dashboard.query import instant, written
from jobstore.dashboard.visit import PageRoute, Routes, Visit
from jobstore.model import clock, words
from jobstore.model.clock import SECOND, iso
from jobstore.model.errors import QueryInvalid
from jobstore.model.frozen import frozen
from jobstore.model.periods import DAY, Dimension, Work, end_of, start_of
from jobstore.store.overview import Overview, OverviewQuery, by_kinds
from jobstore.store.starts import Start, StartState
from jobstore.web import overviews
from jobstore.web.filters import values_of

# Times up to now, as they are written and said.
RANGES: Final[Mapping[str, str]] = MappingProxyType(
    {"1h": "1 h", "24h": "24 h", "7d": "7 days", "30d": "30 days"}
)
_TIMES: Final = ("since", "until")
_LONGEST: Final = 100
# How many spans are drawn at most: each of them is a link. It is a week by the hour.
_MOST: Final = 170
# Of more, the table has those of each day together: the page shall be small.
_FEW: Final = 100
_TARGETS: Final = 8
_STARTS: Final = 100


@frozen(kw_only=True)
class TimeSpan:
    """A time span; times in microseconds since 1970.

    Args:
        jobs: the link to its jobs.
        running: the link to what was running at its beginning.
    """

    since: int
    until: int
    work: Work
    jobs: str
    running: str

    @property
    def name(self) -> str:
        """Its beginning, for people."""
        return f"{words.moment(self.since):%a %d %b %H:%M}"

    @property
    def bar(self) -> Bar:
        """Its bar in the drawing."""
        work = self.work
        ended = f"{words.plural(work.count, 'job')}, {work.errors:,} went wrong, "
        ended += f"{work.cancelled:,} cancelled"
        return Bar(
            since=self.since,
            until=self.until,
            fine=max(0, work.done + work.failed - work.errors),
            wrong=work.errors,
            cancelled=work.cancelled,
            label=f"{self.name}: {ended}",
            href=self.jobs,
        )


@frozen(kw_only=True)
class Restart:
    """A restart of a server.

    Args:
        died: whether the server before it died.
        running: the link to what was running before.
    """

    start: Start
    died: bool
    running: str

    @property
    def mark(self) -> Mark:
        """Its line in the drawing."""
        at = self.start.started_at
        label = f"{'crash, ' if self.died else ''}restart {words.moment(at):%H:%M}"
        return Mark(at=at, label=label, bad=self.died)


async def show(visit: Visit) -> web.Response:
    """Show the activity of a time range."""
    now = clock.now()
    given = {name: visit.request.query.get(name, "")[:_LONGEST] or None for name in _TIMES}
    try:
        query = values_of(visit.request.query, (*_TIMES, "by", "done"))
        asked = _asked(query, visit.scope, now)
    except QueryInvalid as invalid:
        asked, error = _asked({}, visit.scope, now), str(invalid)
        return await _page(visit, asked, given, error)
    return await _page(visit, asked, given)


def _asked(query: Mapping[str, str], scope: int | None, now: int) -> OverviewQuery:
    """Read the time range and span length; the length defaults to one that fits.

    Raises:
        QueryInvalid: it cannot be understood; the message says what was expected.
    """
    times = {"since": instant(query.get("since") or "24h", now)}
    if query.get("until"):
        times["until"] = instant(query["until"], now)
    fitting = fitting_spans(overviews.activity(times, scope, now))
    by = query.get("by") or fitting[0]
    asked = overviews.activity({**times, "by": by}, scope, now)
    if by not in fitting and overviews.WORDS[asked.seconds] == by:
        raise QueryInvalid(f"by: expected {' or '.join(fitting)} for such a long time")
    return asked


def fitting_spans(asked: OverviewQuery) -> Sequence[str]:
    """Name the span lengths that do not give too many spans, the shortest first."""
    return overviews.fitting(asked, _MOST) or [*overviews.LENGTHS][-1:]


async def _page(
    visit: Visit, asked: OverviewQuery, given: Mapping[str, str | None], error: str | None = None
) -> web.Response:
    most = {Dimension.ALL: 1, Dimension.TARGET: _TARGETS}
    seen = await by_kinds(visit.store.history, asked, most, visit.budget())
    found, by_target = seen[Dimension.ALL], seen[Dimension.TARGET]
    shown, restarts = spans(asked, found, up(visit.request)), await restarts_of(visit, asked)
    return render(
        visit.request,
        "activity.html",
        status=200 if error is None else 400,
        error=error,
        asked=asked,
        ends=min(asked.until, clock.now()),  # not the end of a span that goes on
        given=given,
        ranges=RANGES,
        chosen=given["since"] or "24h",
        by=overviews.WORDS[asked.seconds],
        fitting=fitting_spans(asked),
        total=found.works.get("", Work()),
        complete=found.complete,
        rows=_rows(shown, up(visit.request)),
        drawing=draw(shown, restarts) if shown else "",
        restarts=restarts,
        targets=_lanes(asked, by_target, up(visit.request)),
    )


def spans(asked: OverviewQuery, found: Overview, up: str) -> Sequence[TimeSpan]:
    """Return the spans of a time range, in order, with figures about their jobs.

    Args:
        up: the relative path to the list.
    """
    length, works = asked.seconds * SECOND, found.spans.get("", {})
    return [
        # The first one may have begun before the time range: its link lists what was counted.
        _span(max(at, asked.since), at + length, works.get(at) or Work(), up)
        for at in range(start_of(asked.seconds, asked.since), asked.until, length)
    ]


def _span(since: int, until: int, work: Work, up: str) -> TimeSpan:
    return TimeSpan(
        since=since,
        until=until,
        work=work,
        jobs=f"{up}?since={_short(since)}&until={_short(until)}",
        running=f"{up}?running_at={_short(since)}",
    )


def _rows(shown: Sequence[TimeSpan], up: str) -> Sequence[TimeSpan]:
    """Return what the table has of spans, the newest first."""
    rows = shown if len(shown) <= _FEW else [*_days(shown, up)]
    return [span for span in reversed(rows) if span.work.count]


def _days(shown: Sequence[TimeSpan], up: str) -> Iterator[TimeSpan]:
    """Put the spans of each day together."""
    for _, group in groupby(shown, lambda span: start_of(DAY, span.since)):
        spans, work = [*group], Work()
        for span in spans:
            work.merge(span.work)
        yield _span(spans[0].since, spans[-1].until, work, up)


def _short(at: int) -> str:
    """Write a time in whole minutes, briefly: the page has many of them."""
    return f"{words.moment(at):%Y-%m-%dT%H:%MZ}"


def draw(shown: Sequence[TimeSpan], restarts: Sequence[Restart] = ()) -> Svg:
    """Draw spans as bars."""
    total = sum(span.work.count for span in shown)
    wrong = sum(span.work.errors for span in shown)
    since, until = words.absolute(shown[0].since), words.absolute(shown[-1].until)
    label = f"{words.plural(total, 'job')} from {since} to {until}, {wrong:,} went wrong"
    return bars([span.bar for span in shown], label, [each.mark for each in reversed(restarts)])


async def restarts_of(visit: Visit, asked: OverviewQuery) -> Sequence[Restart]:
    """Return the restarts in a time range, the newest first, if the visitor may see all jobs."""
    if asked.scope is not None:
        return []
    starts = await visit.store.others.starts(_STARTS)
    return [
        Restart(
            start=start,
            died=earlier.state is StartState.DIED,
            running=up(visit.request)
            + written({"running_at": iso(start.started_at - SECOND // 1000)}),
        )
        for start, earlier in pairwise(starts)
        if asked.since <= start.started_at < asked.until
    ]


def _lanes(asked: OverviewQuery, found: Overview, up: str) -> Svg | str:
    """Draw the load of the busiest targets."""
    names = found.most(_TARGETS)
    if not names:
        return ""
    length = asked.seconds * SECOND
    first, last = start_of(asked.seconds, asked.since), end_of(asked.seconds, asked.until)
    times = range(first, last, length)
    drawn = [
        Lane(
            name=name,
            counts=[_at(found, name, at).count for at in times],
            wrong=[_at(found, name, at).errors for at in times],
            href=up + written({"target": name, "since": iso(first), "until": iso(last)}),
        )
        for name in names
    ]
    counts = ", ".join(f"{name}: {words.count(found.works[name].count)}" for name in names)
    return lanes(drawn, first, last, f"jobs of each target, one lane each: {counts}")


def _at(found: Overview, name: str, at: int) -> Work:
    return found.spans[name].get(at) or Work() if name in found.spans else Work()


ROUTES: Final[Routes] = (PageRoute("GET", "activity", show),)
