"""Jobs as dots: when each was submitted, how long it took, and how it ended."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.frozen import frozen
from jobstore.model.words import duration, moment, since_then

_WIDTH: Final = 900
_LEFT: Final = 60
_RIGHT: Final = 810  # where the time ends; there is room for the names of levels
_TOP: Final = 14
_BASE: Final = 126
_HEIGHT: Final = 150
_ROOM: Final = 40
_LINE: Final = 13  # how far apart two lines of text are


@frozen(kw_only=True)
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


@frozen
class _Frame:
    since: int
    until: int
    shortest: int
    longest: int

    def x(self, at: int) -> float:
        return (
            _LEFT + 10 + (_RIGHT - _LEFT - 20) * (at - self.since) / max(1, self.until - self.since)
        )

    def y(self, took: int) -> float:
        """Return the height of a duration, on a logarithmic scale."""
        took = min(max(took, self.shortest), self.longest)
        share = math.log(took / self.shortest) / math.log(self.longest / self.shortest)
        return _BASE - (_BASE - _TOP) * share


def dots(of: Sequence[Dot], label: str, levels: Sequence[tuple[str, int]] = ()) -> Svg:
    """Draw dots; one that went wrong is a cross, and the one that is looked at has a ring.

    Args:
        of: there has to be one.
        label: what it says in words.
        levels: durations to mark, the longer ones first, and what each is called.
    """
    took, at = [each.took for each in of], [each.at for each in of]
    lines = axes.durations(min(took), max(took))
    frame = _Frame(min(at), max(at), lines[0], lines[-1])
    drawn = [_dot(frame, each) for each in sorted(of, key=lambda dot: dot.this)]
    behind = (*_grid(frame, lines), *_levels(frame, levels))
    return drawing(_WIDTH, _HEIGHT, label, *behind, *drawn, *_times(frame))


def _grid(frame: _Frame, lines: Sequence[int]) -> Iterator[Svg]:
    for took in lines:
        y = frame.y(took)
        yield element("path", class_="grid", d=f"M{_LEFT} {y:.1f}H{_RIGHT}")
        name = since_then(took).removeprefix("+")  # without zeros, for which there is no room
        yield element("text", name, x=_LEFT - 8, y=y + 4, text_anchor="end")


def _levels(frame: _Frame, levels: Sequence[tuple[str, int]]) -> Iterator[Svg]:
    above = -float(_HEIGHT)
    for name, took in levels:
        y = frame.y(took)
        above = max(y + 4, above + _LINE)
        yield element("path", class_="level", d=f"M{_LEFT} {y:.1f}H{_RIGHT}")
        yield element("text", f"{name} {duration(took)}", class_="lab", x=_RIGHT + 6, y=above)


def _dot(frame: _Frame, dot: Dot) -> Svg:
    x, y = frame.x(dot.at), frame.y(dot.took)
    pieces = [element("title", dot.label), _shape(dot.tone, x, y)]
    if dot.this:
        pieces.append(element("circle", class_="me", cx=x, cy=y, r=8))
    if dot.href is None:
        return element("g", *pieces)
    return element("a", *pieces, href=dot.href, tabindex=-1, aria_label=dot.label)


def _shape(tone: str, x: float, y: float) -> Svg:
    """Draw what became of a job: its shape says that as well as its colour."""
    match tone:
        case "fail":
            return element("path", class_="x-fail", d=f"M{x - 4:.1f} {y - 4:.1f}l8 8m0-8l-8 8")
        case "cancel":
            return element("path", class_="b-cancel", d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5-5z")
    return element("circle", class_=f"b-{tone}", cx=x, cy=y, r=3.5)


def _times(frame: _Frame) -> Iterator[Svg]:
    marked = [*axes.times(frame.since, frame.until)]
    for at, text in marked or [(frame.since, f"{moment(frame.since):%H:%M:%S}")]:
        x = frame.x(at)
        if x <= _RIGHT + _ROOM:
            yield element("text", text, x=x, y=_BASE + 20, text_anchor="middle")
