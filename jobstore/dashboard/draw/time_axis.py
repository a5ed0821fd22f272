"""The time axis of one job's drawing, on which a wait that is far too long is cut.

A wait that is far longer than everything else would hide the rest. So it is drawn shorter, with a
mark, and labelled with its full length.
"""

from collections.abc import Sequence
from typing import Final

from jobstore.dashboard.draw.spans import SpanRow
from jobstore.model import words
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen

_CUT: Final = 20  # times as long as all attempts: then a wait is cut
_SHORT: Final = SECOND // 100
_STEPS: Final = tuple(
    SECOND * step // 1000
    for step in (
        *(1, 2, 5, 10, 20, 50, 100, 200, 500),
        *(1_000 * s for s in (1, 2, 5, 10, 15, 30)),
        *(60_000 * m for m in (1, 2, 5, 10, 15, 30)),
        *(3_600_000 * h for h in (1, 2, 3, 6, 12, 24, 48, 168)),
    )
)
_TICK: Final = 87  # how much room the label of one takes


@frozen
class TimeAxis:
    """The time axis of the drawing.

    Args:
        knots: times and positions in order; in between, the scale is linear.
        cuts: the spans that are drawn shorter than they are.
        most_ticks: how many steps are marked at most.
    """

    knots: Sequence[tuple[int, float]]
    cuts: Sequence[SpanRow]
    most_ticks: int

    @classmethod
    def of(cls, rows: Sequence[SpanRow], left: float, right: float, most_ticks: int) -> "TimeAxis":
        """Create the axis for consecutive rows.

        Args:
            left: where it begins.
            right: where it ends.
        """
        runs = sum(row.length for row in rows if row.attempt)
        most = _CUT * max(runs, _SHORT) if runs else None
        cuts = [row for row in rows if not row.attempt and most is not None and row.length > most]
        drawn = [max(runs, _SHORT) // 2 if row in cuts else row.length for row in rows]
        scale = (right - left) / max(sum(drawn), 1)
        knots, place = [(rows[0].start, left)], left
        for row, length in zip(rows, drawn, strict=True):
            place += length * scale
            knots.append((row.end, place))
        return cls(knots, cuts, most_ticks)

    def __call__(self, at: int) -> float:
        """Return the position of a time."""
        before = self.knots[0]
        for knot in self.knots[1:]:
            if at <= knot[0]:
                share = (at - before[0]) / max(knot[0] - before[0], 1)
                return before[1] + share * (knot[1] - before[1])
            before = knot
        return before[1]

    @property
    def ticks(self) -> list[tuple[int, float]]:
        """Return the labelled times, from the first one on; there are none inside cuts."""
        start, end = self.knots[0][0], self.knots[-1][0]
        if self.cuts:
            named = sorted({knot[0] for knot in self.knots})
            return _apart([(at - start, self(at)) for at in named])
        step = next((s for s in _STEPS if (end - start) / s <= self.most_ticks), _STEPS[-1])
        return [(at, self(start + at)) for at in range(0, end - start + 1, step)]


def _apart(ticks: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Leave out labels that would overlap."""
    kept = [ticks[0]]
    for tick in ticks[1:]:
        apart = tick[1] - kept[-1][1] > _TICK
        if apart and words.since_then(tick[0]) != words.since_then(kept[-1][0]):
            kept.append(tick)
    return kept
