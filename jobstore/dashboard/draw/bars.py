"""Jobs over time as bars, stacked by how they ended."""

from collections.abc import Iterator, Sequence
from typing import Final

from jobstore.dashboard.draw import axes
from jobstore.dashboard.draw.svg import LETTER, Svg, drawing, element
from jobstore.model.frozen import frozen
from jobstore.model.words import count

_WIDTH: Final = 1200
_LEFT: Final = 48  # of which so much is for the numbers
_TOP: Final = 16
_BASE: Final = 116
_HEIGHT: Final = 140
_LEAST: Final = 2  # how high what there is but a little of is shown
_NARROW: Final = 4  # so narrow bars have no gaps
_ROOM: Final = 60  # for the label of a time
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

    def x(self, at: int) -> float:
        return _LEFT + (_WIDTH - _LEFT) * (at - self.since) / max(1, self.until - self.since)

    def height(self, number: int) -> float:
        return max(_LEAST, (_BASE - _TOP) * number / self.most) if number else 0


def bars(of: Sequence[Bar], label: str, marks: Sequence[Mark] = ()) -> Svg:
    """Draw bars.

    What went wrong is on top, and is also marked by a small triangle under the bar, so that it does
    not depend on colour or height alone.

    Args:
        of: in order of time; at least one.
        label: the description of the drawing.
        marks: drawn as dashed lines.
    """
    frame = _Frame(of[0].since, of[-1].until, axes.round_up(max(each.count for each in of)))
    inside = [
        *_grid(frame),
        *_shapes(frame, of),
        *(_words(frame, each) for each in of if each.count),
        element("path", class_="base", d=f"M{_LEFT} {_BASE}H{_WIDTH}"),
        *_times(frame),
        *_marks(frame, marks),
    ]
    return drawing(_WIDTH, _HEIGHT, label, *inside)


def _grid(frame: _Frame) -> Iterator[Svg]:
    for number in (0, frame.most // 2, frame.most):
        y = _BASE - frame.height(number)
        if number:
            yield element("path", class_="grid", d=f"M{_LEFT} {y:.1f}H{_WIDTH}")
        yield element("text", count(number), x=_LEFT - 8, y=y + 4, text_anchor="end")


def _shapes(frame: _Frame, of: Sequence[Bar]) -> Iterator[Svg]:
    """Draw what there is to see of bars, that of each colour as one path."""
    paths: dict[str, list[str]] = {"done": [], "cancel": [], "fail": []}
    for bar in of:
        x, end = frame.x(bar.since), frame.x(bar.until)
        gap = 1 if end - x > _NARROW else 0
        width, y = max(1.0, end - x - gap), float(_BASE)
        for number, tone in ((bar.fine, "done"), (bar.cancelled, "cancel"), (bar.wrong, "fail")):
            if number:
                height = frame.height(number)
                y -= height
                paths[tone].append(_box(x + gap / 2, y, width, height))
        if bar.wrong:
            paths["fail"].append(f"M{(x + end) / 2:.1f} {_BASE + 2}l3 5h-6z")
    for tone, shapes in paths.items():
        if shapes:
            yield element("path", class_=f"b-{tone}", d="".join(shapes))


def _words(frame: _Frame, bar: Bar) -> Svg:
    """Say what a bar says to who points at it, and lead to where it leads."""
    x, width = frame.x(bar.since), frame.x(bar.until) - frame.x(bar.since)
    hit = element("path", class_="hit", d=_box(x, _TOP, width, _BASE - _TOP))
    title = element("title", bar.label)
    if bar.href is None:
        return element("g", title, hit)
    return element("a", title, hit, href=bar.href)


def _box(x: float, y: float, width: float, height: float) -> str:
    return f"M{x:.1f} {y:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z".replace(".0", "")


def _times(frame: _Frame) -> Iterator[Svg]:
    for at, text in axes.times(frame.since, frame.until):
        x = frame.x(at)
        if _LEFT + _ROOM / 4 <= x <= _WIDTH - _ROOM / 2:
            yield element("text", text, x=x, y=_BASE + 20, text_anchor="middle")


def _marks(frame: _Frame, marks: Sequence[Mark]) -> Iterator[Svg]:
    shown = [mark for mark in marks if frame.since <= mark.at <= frame.until]
    for mark in shown:
        x, line = frame.x(mark.at), "death" if mark.bad else "level"
        yield element("path", element("title", mark.label), class_=line, d=f"M{x:.1f} 4V{_BASE}")
    for group in _together(frame, shown):
        yield _label_of(frame, group)


def _together(frame: _Frame, marks: Sequence[Mark]) -> Sequence[Sequence[Mark]]:
    """Group marks that are too close to one another for labels of their own."""
    groups: list[list[Mark]] = []
    free = 0.0  # from where on there is room for the next label
    for mark in marks:
        width = len(mark.label) * LETTER
        begin = _begin(frame.x(mark.at), width)
        if groups and begin < free:
            groups[-1].append(mark)
        else:
            groups.append([mark])
            free = begin + width + _MORE
    return groups


def _begin(x: float, width: float) -> float:
    """Return where the label of a mark begins: behind it, or before it at the end."""
    return x + 4 if x + width + _MORE < _WIDTH else x - 4 - width


def _label_of(frame: _Frame, marks: Sequence[Mark]) -> Svg:
    """Write the label of the worst of some marks that stand together, and how many more are."""
    worst, more, x = max(marks, key=lambda mark: mark.bad), len(marks) - 1, frame.x(marks[0].at)
    label, bad = worst.label, " lab-fail" if worst.bad else ""
    behind = _begin(x, len(label) * LETTER) > x
    return element(
        "text",
        f"{label} and {count(more)} more" if more else label,
        class_=f"over{bad}",
        x=x + 4 if behind else x - 4,
        y=12,
        text_anchor=None if behind else "end",
    )
