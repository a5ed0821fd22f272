"""Jobs over time as bars, stacked by how they ended."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import (
    BROAD,
    LETTER,
    SLIM,
    Svg,
    either,
    element,
    fluid,
    percent,
    stretched,
)
from jobstore.model.frozen import frozen
from jobstore.model.words import count

_WIDTH: Final = 1000  # units, however wide it is drawn
_TOP: Final = 16
_BASE: Final = 116
_HEIGHT: Final = 140
_LEAST: Final = 2  # the height of the smallest number but 0
_GAP: Final = 0.1  # which share of a bar's width is the gap beside it
_MORE: Final = 13 * LETTER  # for how many marks have the same label


@frozen(kw_only=True)
class Bar:
    """The jobs of a span of time.

    Args:
        since: when it begins, in microseconds since 1970.
        until: when it ends.
        fine: how many were done without an error.
        wrong: how many failed or were answered with an error.
        cancelled: how many were cancelled.
        label: its description in words.
        href: its link, or None.
    """

    since: int
    until: int
    fine: int
    wrong: int
    cancelled: int
    label: str
    href: str | None = None

    @property
    def count(self) -> int:
        """How many there are."""
        return self.fine + self.wrong + self.cancelled


@frozen(kw_only=True)
class Mark:
    """An event at a given time.

    Args:
        at: in microseconds since 1970.
        label: its description in words.
        bad: whether nobody wanted it.
    """

    at: int
    label: str
    bad: bool = False


@frozen
class _Frame:
    since: int
    until: int
    most: int

    def share(self, at: int) -> float:
        """Return where a time is, from 0 to 1."""
        return (at - self.since) / max(1, self.until - self.since)

    def x(self, at: int) -> float:
        return _WIDTH * self.share(at)

    def height(self, number: int) -> float:
        return max(_LEAST, (_BASE - _TOP) * number / self.most) if number else 0


def bars(of: Sequence[Bar], label: str, marks: Sequence[Mark] = ()) -> Svg:
    """Draw bars.

    What went wrong is on top, and is also marked by a dot under the bar, so that it does not depend
    on colour or height alone.

    Args:
        of: in order of time; at least one.
        label: the description of the drawing.
        marks: drawn as dashed lines.
    """
    frame = _Frame(of[0].since, of[-1].until, axes.round_up(max(each.count for each in of)))
    words = (_words(frame, each) for each in of if each.count)
    inside = [
        *_grid(frame),
        stretched(_WIDTH, _HEIGHT, *_shapes(frame, of), *words),
        _line("base", _BASE),
        *axes.time_labels(frame.since, frame.until, _BASE + 20),
        *_marks(frame, marks),
    ]
    return fluid("bars", _HEIGHT, label, *inside)


def _grid(frame: _Frame) -> Iterator[Svg]:
    for number in (0, frame.most // 2, frame.most):
        y = _BASE - frame.height(number)
        if number:
            yield _line("grid", y)
        yield element("text", count(number), x=-8, y=y + 4, text_anchor="end")


def _line(kind: str, y: float) -> Svg:
    return element("line", class_=kind, x2="100%", y1=y, y2=y)


def _shapes(frame: _Frame, of: Sequence[Bar]) -> Iterator[Svg]:
    """Draw what there is to see of bars, that of each colour as one path."""
    paths: dict[str, list[str]] = {"b-done": [], "b-cancel": [], "b-fail": [], "wrong": []}
    for bar in of:
        x, end = frame.x(bar.since), frame.x(bar.until)
        gap, y = (end - x) * _GAP, float(_BASE)
        for number, tone in ((bar.fine, "done"), (bar.cancelled, "cancel"), (bar.wrong, "fail")):
            if number:
                height = frame.height(number)
                y -= height
                paths[f"b-{tone}"].append(_box(x + gap / 2, y, end - x - gap, height))
        if bar.wrong:
            paths["wrong"].append(f"M{(x + end) / 2:.1f} {_BASE + 5}h0")
    for kind, shapes in paths.items():
        if shapes:
            yield element("path", class_=kind, d="".join(shapes))


def _words(frame: _Frame, bar: Bar) -> Svg:
    """Add the text that a bar shows when pointed at, and its link."""
    x, width = frame.x(bar.since), frame.x(bar.until) - frame.x(bar.since)
    hit = element("path", class_="hit", d=_box(x, _TOP, width, _BASE - _TOP))
    title = element("title", bar.label)
    if bar.href is None:
        return element("g", title, hit)
    return element("a", title, hit, href=bar.href)


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z".replace(".0", "")


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[Svg]:
    shown = [mark for mark in marks if frame.since <= mark.at <= frame.until]
    for mark in shown:
        x, title = percent(frame.share(mark.at)), element("title", mark.label)
        kind = "death" if mark.bad else "level"
        yield element("line", title, class_=kind, x1=x, x2=x, y1=4, y2=_BASE)
    yield from either(*([*_labels(frame, shown, width)] for width in (BROAD, SLIM)))


def _labels(frame: _Frame, marks: Sequence[Mark], width: int) -> Iterator[Svg]:
    for group in _together(frame, marks, width):
        yield _label_of(frame, group, width)


def _together(frame: _Frame, marks: Sequence[Mark], width: int) -> Sequence[Sequence[Mark]]:
    """Group marks that are too close to one another for labels of their own."""
    groups: list[list[Mark]] = []
    free = 0.0  # from where on there is room for the next label
    for mark in marks:
        length = len(mark.label) * LETTER + _MORE
        x = frame.share(mark.at) * width
        begin = x if x + length < width else x - length
        if groups and begin < free:
            groups[-1].append(mark)
        else:
            groups.append([mark])
            free = begin + length
    return groups


def _label_of(frame: _Frame, marks: Sequence[Mark], width: int) -> Svg:
    """Write the label of the worst of some marks that stand together, and how many more are."""
    worst, more = max(marks, key=lambda mark: mark.bad), len(marks) - 1
    label = f"{worst.label} and {count(more)} more" if more else worst.label
    place = _place(frame.share(marks[0].at), len(label) * LETTER + 4, width)
    return element("text", label, class_="over lab-fail" if worst.bad else "over", y=12, **place)


def _place(share: float, length: float, width: int) -> Mapping[str, object]:
    """Let a label begin at its mark, or end there; without room for either, end at the edge."""
    if share * width + length <= width:
        return {"x": percent(share), "dx": 4}
    if share * width >= length:
        return {"x": percent(share), "dx": -4, "text_anchor": "end"}
    return {"x": "100%", "text_anchor": "end"}
