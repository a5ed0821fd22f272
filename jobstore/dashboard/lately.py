"""The bars above the list: how many recent jobs there were, and how they ended; each is a link."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from jobstore.dashboard import activity
from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.pages import up
from jobstore.dashboard.visit import Visit
from jobstore.model.periods import Work
from jobstore.store.budget import Budget
from jobstore.store.overview import overview
from jobstore.web import overviews

# Only of such lists, and of all jobs, it is told: nothing is counted by anything else.
_TIMES: Final = frozenset({"since", "until"})
# Each is a link, and wide enough to be hit: WCAG 2.2, 2.5.8.
_MOST_BARS: Final = 36
# For how long jobs are looked at that were not counted yet, in seconds.
_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """Recent jobs of a list.

    Args:
        since: the beginning, in microseconds since 1970.
        until: the end.
        total: the figures of all of them.
        complete: whether none is missing.
    """

    since: int
    until: int
    total: Work
    drawing: Svg
    complete: bool


async def lately(visit: Visit, filters: Mapping[str, str], now: int) -> Lately | None:
    """Return the bars of a list, for the last day unless it has times of its own.

    Args:
        filters: the list's, with its times as the API has them.
        now: in microseconds since 1970.

    Returns:
        None if such a list has no bars, or is empty, or if the script asks for new rows: the bars
        would be drawn for each viewer whenever a job ends.
    """
    script = "text/html" not in visit.request.headers.get("Accept", "")
    if script or not _TIMES.issuperset(filters):
        return None
    asked = overviews.activity({**filters, "by": "day"}, visit.scope, now)
    fitting = overviews.fitting(asked, _MOST_BARS)
    if not fitting:
        return None
    asked = overviews.activity({**filters, "by": fitting[0]}, visit.scope, now)
    found = await overview(visit.store.history, asked, 1, Budget(_SECONDS))
    shown = activity.spans(asked, found, up(visit.request))
    total = found.works.get("", Work())
    if not total.count:
        return None
    return Lately(
        since=asked.since,
        until=asked.until,
        total=total,
        drawing=activity.draw(shown, await activity.restarts_of(visit, asked)),
        complete=found.complete,
    )
