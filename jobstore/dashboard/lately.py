"""Recent jobs of the list: how many there were, and how they ended, as bars that are links."""

from collections.abc import Mapping
from typing import Final

from jobstore.dashboard import activity
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.pages import up
from jobstore.dashboard.visit import Visit
from jobstore.model.frozen import frozen
from jobstore.model.periods import Work
from jobstore.store.budget import Budget
from jobstore.store.overview import Overview, OverviewQuery, overview
from jobstore.web import overviews

# Only such lists, and that of all jobs, have bars: nothing is counted by anything else.
_TIMES: Final = frozenset({"since", "until"})
# How many jobs went wrong is said above the list of just these, too.
_TOLD: Final = _TIMES | {"error"}
# Each is a link, and wide enough to be hit: WCAG 2.2, 2.5.8.
_MOST_BARS: Final = 36
# For how long jobs are looked at that were not counted yet, in seconds.
_SECONDS: Final = 0.02


@frozen(kw_only=True)
class Lately:
    """Recent jobs of a list.

    Args:
        since: the beginning, in microseconds since 1970.
        until: the end.
        total: the figures of all of them.
        drawing: the bars; None if these are not those of the list.
        complete: whether none is missing.
    """

    since: int
    until: int
    total: Work
    drawing: Svg | None
    complete: bool


async def lately(visit: Visit, filters: Mapping[str, str], now: int) -> Lately | None:
    """Return the recent jobs of a list, those of the last day unless it has times of its own.

    Args:
        filters: the list's, with its times as the API has them.
        now: in microseconds since 1970.

    Returns:
        None if nothing is counted for such a list, or it is empty, or if the script asks for new
        rows: the bars would be drawn for each viewer whenever a job ends.
    """
    script = "text/html" not in visit.request.headers.get("Accept", "")
    if script or not _TOLD.issuperset(filters):
        return None
    times = {name: value for name, value in filters.items() if name in _TIMES}
    fitting = overviews.fitting(_asked(visit, times, "day", now), _MOST_BARS)
    if not fitting:
        return None
    asked = _asked(visit, times, fitting[0], now)
    found = await overview(visit.store.history, asked, 1, Budget(_SECONDS))
    total = found.works.get("", Work())
    if not total.count:
        return None
    return Lately(
        since=asked.since,
        until=min(asked.until, now),
        total=total,
        drawing=await _drawn(visit, asked, found) if filters.keys() == times.keys() else None,
        complete=found.complete,
    )


def _asked(visit: Visit, times: Mapping[str, str], by: str, now: int) -> OverviewQuery:
    return overviews.activity({**times, "by": by}, visit.scope, now)


async def _drawn(visit: Visit, asked: OverviewQuery, found: Overview) -> Svg:
    shown = activity.spans(asked, found, up(visit.request))
    return activity.draw(shown, await activity.restarts_of(visit, asked))
