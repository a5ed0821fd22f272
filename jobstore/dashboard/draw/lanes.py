"""Lanes: one for each name, with a bar for each time span."""

from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import Svg, element, stretched
from jobstore.model.frozen import frozen
from jobstore.model.words import shown

_SPAN: Final = 10  # units of width; a bar takes all but one
_HEIGHT: Final = 24
_LEAST: Final = 2
_BRIEF: Final = 20  # characters of a name that have room in any window
_TIMES: Final = 16  # for the times below all lanes


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
    """Draw lanes, each on a scale of its own; the names are text beside them, or above them.

    Args:
        since: where the first span begins, in microseconds since 1970.
        until: where the last one ends.
        label: what the drawing says in words.
    """
    drawn = [piece for lane in of for piece in (_name(lane), _drawn(lane))]
    times = axes.time_labels(since, until, _TIMES - 4)
    below = element("svg", *times, class_="chart times", height=_TIMES, aria_hidden="true")
    linked = any(lane.href for lane in of)
    role = "group" if linked else "img"
    return element("div", *drawn, below, class_="lanes", role=role, aria_label=label)


def _name(lane: Lane) -> Svg:
    name = shown(lane.name)
    # Beside its lane there may be room for its beginning only.
    title = name if len(name) > _BRIEF else None
    if lane.href is None:
        return element("span", name, title=title)
    return element("a", name, href=lane.href, title=title)


def _drawn(lane: Lane) -> Svg:
    width = max(1, len(lane.counts)) * _SPAN
    return stretched(width, _HEIGHT, *_strokes(lane), class_="lane", aria_hidden="true")


def _strokes(lane: Lane) -> Iterator[Svg]:
    most = max(lane.counts, default=0)
    for tone, counts in (("s-run", lane.counts), ("s-fail", lane.wrong)):
        if strokes := _path(counts, most):
            yield element("path", class_=tone, d=strokes, stroke_width=_SPAN - 1)


def _path(counts: Sequence[int], most: int) -> str:
    # Relative moves, as a page of seven days by the hour holds thousands of them.
    strokes, x, up = f"M0 {_HEIGHT}", 0, 0
    for place, number in enumerate(counts):
        if number:
            to, height = place * _SPAN + _SPAN // 2, _height(number, most)
            strokes += f"m{to - x} {up}v-{height}"
            x, up = to, height
    return strokes if x else ""


def _height(number: int, most: int) -> int:
    return round(max(_LEAST, (_HEIGHT - 2) * number / most))
