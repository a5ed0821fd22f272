"""How long jobs took from hour to hour, and which share went wrong: lines, and strokes below."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.frozen import frozen

_STEP: Final = 6
_HEIGHT: Final = 28
_BASE: Final = _HEIGHT - 1
_LINES: Final = 18  # how much of it is for the lines; what is below is for what went wrong
_LEAST: Final = 2


@frozen(kw_only=True)
class Point:
    """The jobs of a span of time.

    Args:
        half: how many microseconds half of them took at most; None if none ran.
        most: how many 95 of 100 of them took at most.
        wrong: which share of them went wrong, from 0 to 1.
    """

    half: int | None
    most: int | None
    wrong: float


def trend(points: Sequence[Point], label: str) -> Svg:
    """Draw the two durations as lines with steps, on one scale, on which each doubling is as high.

    Args:
        points: in order of time.
        label: what the drawing says in words.
    """
    known = [each for point in points for each in (point.half, point.most) if each is not None]
    height = _height(min(known, default=1), max(known, default=1))
    width = len(points) * _STEP
    pieces = [element("path", class_="base", d=f"M0 {_BASE + 0.5}H{width}")]
    for class_, took in (
        ("t-most", [point.most for point in points]),
        ("t-half", [point.half for point in points]),
    ):
        if line := "".join(_line(took, height)):
            pieces.append(element("path", class_=class_, d=line))
    if strokes := "".join(_wrong(points)):
        pieces.append(element("path", class_="s-fail", d=strokes, stroke_width=_STEP - 2))
    return drawing(width, _HEIGHT, label, *pieces, class_="spark")


def _height(shortest: int, longest: int) -> Callable[[int], float]:
    least, most = math.log(max(shortest, 1)), math.log(max(longest, 1))
    room = most - least
    return lambda took: (math.log(max(took, 1)) - least) / room if room else 0.5


def _line(durations: Sequence[int | None], height: Callable[[int], float]) -> Iterator[str]:
    known = False
    for place, took in enumerate(durations):
        if took is not None:
            y = 1 + (_LINES - 2) * (1 - height(took))
            yield f"V{y:.1f}h{_STEP}" if known else f"M{place * _STEP} {y:.1f}h{_STEP}"
        known = took is not None


def _wrong(points: Sequence[Point]) -> Iterator[str]:
    for place, point in enumerate(points):
        if point.wrong:
            high = max(_LEAST, (_BASE - _LINES) * point.wrong)
            yield f"M{place * _STEP + _STEP // 2} {_BASE}v-{high:.0f}"
