"""How the jobs of targets fared in the last day, hour by hour, as it was counted."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from jobstore.dashboard.draw.svg import Svg
from jobstore.dashboard.draw.trend import Point, trend
from jobstore.live import Store
from jobstore.model import words
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.periods import Dimension, Work, start_of
from jobstore.store.budget import Budget
from jobstore.store.overview import overview
from jobstore.store.period_rows import NAMES
from jobstore.web import overviews

# How long to look at jobs that were not counted yet, in seconds.
_SECONDS: Final = 0.02
_HALF: Final = 50
_MOST: Final = 95


@frozen(kw_only=True)
class Trend:
    """What came of the jobs of a target.

    Args:
        total: of all together.
        hours: by the hour, in order; the times are in microseconds since 1970.
    """

    total: Work
    hours: Sequence[tuple[int, Work]]

    @property
    def told(self) -> str:
        """What came of them, in words."""
        total = self.total
        if not total.count:
            return "no jobs in the last 24 h"
        wrong = f"{words.share(total.errors, total.count)} went wrong"
        if total.errors:
            at, _ = max(self.hours, key=lambda hour: hour[1].errors)
            wrong += f", most of them at {words.hour(at)}"
        return f"{words.plural(total.count, 'job')} in the last 24 h: {wrong}{_took(total)}"

    @property
    def drawn(self) -> Svg:
        """The hours, one after the other."""
        return trend([_point(work) for _, work in self.hours], self.told)


async def trends(store: Store, names: Collection[str], now: int) -> Mapping[str, Trend]:
    """Return what came of the jobs of each target.

    Args:
        now: in microseconds since 1970.
    """
    asked = replace(overviews.statistics({"by": Dimension.TARGET}, None, now), durations=True)
    # All have spans: those with the most jobs may be targets that are not there any more.
    found = await overview(store.history, asked, NAMES, Budget(_SECONDS))
    starts = range(start_of(asked.seconds, asked.since), asked.until, asked.seconds * SECOND)
    return {
        name: Trend(
            total=found.works.get(name) or Work(),
            hours=[(at, found.spans.get(name, {}).get(at) or Work()) for at in starts],
        )
        for name in names
    }


def _point(work: Work) -> Point:
    return Point(
        half=work.took_at_most(_HALF),
        most=work.took_at_most(_MOST),
        wrong=work.errors / work.count if work.count else 0,
    )


def _took(work: Work) -> str:
    took = words.typical(work.took_at_most(_HALF), work.took_at_most(_MOST))
    return took and f"; {took}"
