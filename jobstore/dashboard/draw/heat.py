"""Durations as a row of cells: one for each time span, darker where they were longer."""

from collections.abc import Sequence
from typing import Final

from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.clock import SECOND

# What takes less than so many microseconds has the shade of that number.
SHADES: Final = (SECOND // 10, SECOND, 10 * SECOND, 60 * SECOND, 600 * SECOND)
LEGEND: Final = ("under 100 ms", "under 1 s", "under 10 s", "under 1 min", "under 10 min", "longer")
_HEIGHT: Final = 16
_WIDTH: Final = 240


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
    for place, took in enumerate(cells):
        if took is not None:
            paths.setdefault(shade(took), []).append(_cell(place, width))
    drawn = [
        element("path", class_=f"h{number}", d="".join(paths[number])) for number in sorted(paths)
    ]
    base = element("path", class_="base", d=f"M0 {_HEIGHT - 0.5}H{_WIDTH}")
    return drawing(_WIDTH, _HEIGHT, label, base, *drawn, class_="heat")


def _cell(place: int, width: float) -> str:
    """Draw a cell as a stroke, which is as wide as a cell is high."""
    gap = 1 if width > 4 else 0  # noqa: PLR2004 - pixels
    return f"M{_number(place * width)} {_HEIGHT // 2}h{_number(width - gap)}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
