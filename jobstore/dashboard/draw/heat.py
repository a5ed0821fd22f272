"""Durations as a row of cells, one for each time span: the shade says how long they were."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final

from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.clock import SECOND

# What takes less than so many microseconds has the shade of that number.
SHADES: Final = (SECOND // 10, SECOND, 10 * SECOND, 60 * SECOND, 600 * SECOND)
LEGEND: Final = ("under 100 ms", "under 1 s", "under 10 s", "under 1 min", "under 10 min", "longer")
_HEIGHT: Final = 16
_WIDTH: Final = 240
_APART: Final = 4  # cells that are wider have a gap between them


def shade(took: int) -> int:
    """Return the shade of a duration, from 0 for the shortest to 5."""
    return sum(took >= bound for bound in SHADES)


def heat(cells: Sequence[int | None], label: str) -> Svg:
    """Draw cells. Those of one shade form a single path, since a page has thousands of them.

    Args:
        cells: the duration in each span, in microseconds, or None.
        label: the description of the drawing.
    """
    width = _WIDTH / max(1, len(cells))
    paths: dict[int, list[str]] = {}
    gap = 1 if width > _APART else 0
    for number, first, after in _alike(cells, apart=gap > 0):
        paths.setdefault(number, []).append(_stroke(first * width, after * width - gap))
    drawn = [
        element("path", class_=f"h{number}", d="".join(paths[number])) for number in sorted(paths)
    ]
    base = element("path", class_="base", d=f"M0 {_HEIGHT - 0.5}H{_WIDTH}")
    return drawing(_WIDTH, _HEIGHT, label, base, *drawn, class_="heat")


def _alike(cells: Sequence[int | None], *, apart: bool) -> Iterator[tuple[int, int, int]]:
    """Yield shades, and the cells that have them: the first, and the one after the last.

    Args:
        apart: whether each cell is seen by itself, also beside another of its shade.
    """
    shades = [-1 if took is None else shade(took) for took in cells]
    for _, group in groupby(enumerate(shades), lambda each: each if apart else each[1]):
        (first, number), *more = group
        if number >= 0:
            yield number, first, first + len(more) + 1


def _stroke(since: float, until: float) -> str:
    """Draw cells as a stroke, which is as wide as a cell is high."""
    return f"M{_number(since)} {_HEIGHT // 2}h{_number(until - since)}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
