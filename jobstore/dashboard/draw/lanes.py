"""Lanes: one for each name, with a bar for each time span."""

from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import Svg, drawing, element
from jobstore.model.frozen import frozen

_WIDTH: Final = 1200
_LEFT: Final = 160  # of which so much is for the names
_LANE: Final = 30
_ROOM: Final = 60
_LONGEST: Final = 22  # characters of a name
_LEAST: Final = 2


@frozen(kw_only=True)
class Lane:
    """A lane.

    Args:
        name: its name.
        counts: the count in each time span, the same spans for all lanes.
        wrong: how many of these went wrong.
        href: its link, or None.
    """

    name: str
    counts: Sequence[int]
    wrong: Sequence[int]
    href: str | None = None


def lanes(of: Sequence[Lane], since: int, until: int, label: str) -> Svg:
    """Draw lanes, each on a scale of its own.

    Args:
        since: where the first span begins, in microseconds since 1970.
        until: where the last one ends.
        label: what the drawing says in words.
    """
    height = len(of) * _LANE
    drawn = [piece for place, lane in enumerate(of) for piece in _lane(lane, place * _LANE)]
    return drawing(_WIDTH, height + 20, label, *drawn, *_times(since, until, height))


def _lane(lane: Lane, top: int) -> Iterator[Svg]:
    base = top + _LANE - 2
    shown = lane.name if len(lane.name) <= _LONGEST else lane.name[: _LONGEST - 1] + "…"
    name = element("text", shown, x=_LEFT - 8, y=base - 6, text_anchor="end", class_="lab")
    yield name if lane.href is None else element("a", name, href=lane.href)
    yield element("path", class_="grid", d=f"M{_LEFT} {base}H{_WIDTH}")
    most, width = max(lane.counts, default=0), (_WIDTH - _LEFT) / max(1, len(lane.counts))
    for tone, counts in (("s-run", lane.counts), ("s-fail", lane.wrong)):
        strokes = _strokes(counts, most, width, base)
        if strokes:
            yield element("path", class_=tone, d=strokes, stroke_width=max(1.0, width - 1))


def _strokes(counts: Sequence[int], most: int, width: float, base: int) -> str:
    # Relative moves, as a page of seven days by the hour holds thousands of them.
    strokes, x, up = f"M0 {base}", 0, 0  # x in tenths
    for place, number in enumerate(counts):
        if number:
            to, height = round((_LEFT + (place + 0.5) * width) * 10), _height(number, most)
            strokes += f"m{(to - x) / 10:g} {up}v-{height}"
            x, up = to, height
    return strokes if x else ""


def _height(number: int, most: int) -> int:
    return round(max(_LEAST, (_LANE - 8) * number / most))


def _times(since: int, until: int, height: int) -> Iterator[Svg]:
    for at, text in axes.times(since, until):
        x = _LEFT + (_WIDTH - _LEFT) * (at - since) / max(1, until - since)
        if _LEFT + _ROOM / 4 <= x <= _WIDTH - _ROOM / 2:
            yield element("text", text, x=x, y=height + 16, text_anchor="middle")
