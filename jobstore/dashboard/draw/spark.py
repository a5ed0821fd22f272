"""Sparklines: the latest runs as a row of small bars, by duration and outcome."""

import math
from collections.abc import Sequence
from typing import Final

from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.frozen import frozen

_STEP: Final = 6
_HEIGHT: Final = 24
_ROOM: Final = 5  # above the bars, for what tells those that went wrong
_LEAST: Final = 2
_UNDER_WAY: Final = frozenset({"run", "wait"})


@frozen(kw_only=True)
class Run:
    """A run.

    Args:
        took: its duration in microseconds; None if it has not begun.
        tone: its outcome: done, fail, cancel, run or wait.
        label: its description in words.
        href: its link, or None.
    """

    took: int | None
    tone: str
    label: str
    href: str | None = None


def sparkline(runs: Sequence[Run], label: str, places: int = 30) -> Svg:
    """Draw runs, the latest one on the right.

    One that went wrong has a dot above it, and one that has not ended is an outline.

    Args:
        runs: in order of time, at most as many as there is room for.
        label: the description of the drawing.
    """
    longest = max((run.took or 0 for run in runs), default=0)
    first = places - len(runs)
    width = places * _STEP
    base = element("path", class_="base", d=f"M0 {_HEIGHT - 0.5}H{width}")
    drawn = [_run(run, (first + place) * _STEP, longest) for place, run in enumerate(runs)]
    return drawing(width, _HEIGHT, label, base, *drawn, class_="spark")


def outlined(runs: Sequence[Run], label: str, places: int = 30) -> Svg:
    """Draw runs as `sparkline` does, those of a tone as one path: a list has hundreds of them."""
    longest, first = max((run.took or 0 for run in runs), default=0), places - len(runs)
    paths = {"base": f"M0 {_HEIGHT - 0.5}H{places * _STEP}"}
    for place, run in enumerate(runs):
        x, height = (first + place) * _STEP + 1, round(_high(run, longest))
        class_ = f"{'o' if run.tone in _UNDER_WAY else 'b'}-{run.tone}"
        shape = f"M{x} {_HEIGHT - 1}v-{height}h{_STEP - 2}v{height}z"
        if run.tone == "fail":
            shape += f"m0-{height + 4}h{_STEP - 2}v2h-{_STEP - 2}z"
        paths[class_] = paths.get(class_, "") + shape
    drawn = [element("path", class_=class_, d=path) for class_, path in paths.items()]
    return drawing(places * _STEP, _HEIGHT, label, *drawn, class_="spark")


def _high(run: Run, longest: int) -> float:
    share = math.sqrt((run.took or 0) / longest) if longest else 0
    return max(_LEAST, (_HEIGHT - _ROOM - 1) * share)


def _run(run: Run, x: int, longest: int) -> Svg:
    height = _high(run, longest)
    y = _HEIGHT - 1 - height
    pieces = [element("title", run.label)]
    if run.tone in _UNDER_WAY:
        shape = {"x": x + 1.5, "y": y + 0.5, "width": _STEP - 3, "height": height - 1}
        pieces.append(element("rect", class_=f"o-{run.tone}", **shape))
    else:
        shape = {"x": x + 1, "y": y, "width": _STEP - 2, "height": height}
        pieces.append(element("rect", class_=f"b-{run.tone}", **shape))
    if run.tone == "fail":
        pieces.append(element("circle", class_="b-fail", cx=x + _STEP / 2, cy=y - 3, r=1.5))
    if run.href is None:
        return element("g", *pieces)
    hit = element("rect", class_="hit", x=x, y=0, width=_STEP, height=_HEIGHT)
    # By the keyboard there is the list, which has them all: thirty stops a row would be in the way.
    return element("a", *pieces, hit, href=run.href, tabindex=-1, aria_label=run.label)
