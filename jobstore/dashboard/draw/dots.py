"""Jobs as dots: when each was submitted, how long it took, and how it ended."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.dashboard.words import duration

_WIDTH: Final = 760
_LEFT: Final = 60
_TOP: Final = 14
_BASE: Final = 116
_HEIGHT: Final = 140
_ROOM: Final = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A job.

    Args:
        at: when it was submitted, in microseconds since 1970.
        took: for how many microseconds it ran.
        tone: what became of it: done, fail or cancel.
        label: what it says in words.
        href: where it leads, or None.
        this: whether it is the one that is looked at.
    """

    at: int
    took: int
    tone: str
    label: str
    href: str | None = None
    this: bool = False


@dataclass(frozen=True, slots=True)
class _Frame:
    since: int
    until: int
    shortest: int
    longest: int

    def x(self, at: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - 10) * (at - self.since) / max(1, self.until - self.since)

    def y(self, took: int) -> float:
        """Tell how high a duration is; they differ by powers of ten, and so does the height."""
        took = min(max(took, self.shortest), self.longest)
        share = math.log(took / self.shortest) / math.log(self.longest / self.shortest)
        return _BASE - (_BASE - _TOP) * share


def dots(of: Sequence[Dot], since: int, until: int, label: str) -> Svg:
    """Draw dots; one that went wrong is a cross, and the one that is looked at has a ring.

    Args:
        of: there has to be one.
        since: where the drawing begins, in microseconds since 1970.
        until: where it ends.
        label: what it says in words.
    """
    took = [each.took for each in of]
    lines = axes.durations(min(took), max(took))
    frame = _Frame(since, until, lines[0], lines[-1])
    drawn = [_dot(frame, each) for each in sorted(of, key=lambda dot: dot.this)]
    return drawing(_WIDTH, _HEIGHT, label, *_grid(frame, lines), *drawn, *_times(frame))


def _grid(frame: _Frame, lines: Sequence[int]) -> Iterator[Svg]:
    for took in lines:
        y = frame.y(took)
        yield element("path", class_="grid", d=f"M{_LEFT} {y:.1f}H{_WIDTH}")
        yield element("text", duration(took), x=_LEFT - 8, y=y + 4, text_anchor="end")


def _dot(frame: _Frame, dot: Dot) -> Svg:
    x, y = frame.x(dot.at), frame.y(dot.took)
    pieces = [element("title", dot.label)]
    if dot.tone == "fail":
        cross = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0-6l-6 6"
        pieces.append(element("path", class_="x-fail", d=cross))
    else:
        pieces.append(element("circle", class_=f"b-{dot.tone}", cx=x, cy=y, r=2.5))
    if dot.this:
        pieces.append(element("circle", class_="me", cx=x, cy=y, r=7))
    if dot.href is None:
        return element("g", *pieces)
    return element("a", *pieces, href=dot.href, tabindex=-1, aria_label=dot.label)


def _times(frame: _Frame) -> Iterator[Svg]:
    for at, text in axes.times(frame.since, frame.until):
        x = frame.x(at)
        if x <= _WIDTH - _ROOM / 2:
            yield element("text", text, x=x, y=_BASE + 20, text_anchor="middle")
