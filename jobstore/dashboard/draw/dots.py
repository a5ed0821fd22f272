"""Jobs as dots: when each was submitted, how long it took, and how it ended."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import Svg, either, element, fluid, percent
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.words import duration, moment, since_then

_ASIDE: Final = 50  # there is one such part of the time beside the first dot and the last
_TOP: Final = 14
_BASE: Final = 126
_HEIGHT: Final = 150
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

    def x(self, at: int) -> str:
        return percent((at - self.since) / (self.until - self.since))

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
    aside = (max(at) - min(at)) // _ASIDE or SECOND
    frame = _Frame(min(at) - aside, max(at) + aside, lines[0], lines[-1])
    drawn = [_dot(frame, each) for each in sorted(of, key=lambda dot: dot.this)]
    behind = (*_grid(frame, lines), *(_line("level", frame.y(took)) for _, took in levels))
    words = (*_levels(frame, levels), *_times(frame, min(at)))
    return fluid("dots", _HEIGHT, label, *behind, *drawn, *words)


def _grid(frame: _Frame, lines: Sequence[int]) -> Iterator[Svg]:
    for took in lines:
        y = frame.y(took)
        yield _line("grid", y)
        name = since_then(took).removeprefix("+")  # without zeros, for which there is no room
        yield element("text", name, x=-8, y=y + 4, text_anchor="end")


def _line(kind: str, y: float) -> Svg:
    return element("line", class_=kind, x2="100%", y1=y, y2=y)


def _levels(frame: _Frame, levels: Sequence[tuple[str, int]]) -> Sequence[Svg]:
    """Name levels: beside their lines, or on a telephone above them."""
    beside, above = {"dx": 6}, {"dy": -8, "text_anchor": "end"}
    return either(_names(frame, levels, **beside), _names(frame, levels, **above))


def _names(frame: _Frame, levels: Sequence[tuple[str, int]], **where: object) -> Sequence[Svg]:
    drawn, above = [], -float(_HEIGHT)
    for name, took in levels:
        above = max(frame.y(took) + 4, above + _LINE)
        text = f"{name} {duration(took)}"
        drawn.append(element("text", text, class_="lab over", x="100%", y=above, **where))
    return drawn


def _dot(frame: _Frame, dot: Dot) -> Svg:
    x, y = frame.x(dot.at), frame.y(dot.took)
    pieces = [element("title", dot.label), _shape(dot.tone, x, y)]
    if dot.this:
        pieces.append(element("circle", class_="me", cx=x, cy=y, r=8))
    if dot.href is None:
        return element("g", *pieces)
    return element("a", *pieces, href=dot.href, tabindex=-1, aria_label=dot.label)


def _shape(tone: str, x: str, y: float) -> Svg:
    """Draw what became of a job: its shape says that as well as its colour."""
    match tone:
        case "fail":
            return _at(x, y, element("path", class_="x-fail", d="M-4-4l8 8m0-8l-8 8"))
        case "cancel":
            return _at(x, y, element("path", class_="b-cancel", d="M0-5l5 5l-5 5l-5-5z"))
    return element("circle", class_=f"b-{tone}", cx=x, cy=y, r=3.5)


def _at(x: str, y: float, shape: Svg) -> Svg:
    """Put a shape to its place: a path has no place by a share of the width."""
    return element("svg", shape, x=x, y=y)


def _times(frame: _Frame, first: int) -> Sequence[Svg]:
    marked = axes.time_labels(frame.since, frame.until, _BASE + 20)
    text, x = f"{moment(first):%H:%M:%S}", frame.x(first)
    return marked or [element("text", text, x=x, y=_BASE + 20, text_anchor="middle")]
