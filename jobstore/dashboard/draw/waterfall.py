"""A waterfall of a job's time: waiting, attempts, pauses and the result, one below the other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from markupsafe import Markup, escape

from jobstore.dashboard.draw.spans import SpanRow, spans
from jobstore.dashboard.draw.svg import LETTER
from jobstore.dashboard.draw.time_axis import TimeAxis
from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Job, Moment
from jobstore.model.lifecycle import ENDED, Result, State

_TOP: Final = 30
# What is written in the page's colour on a bar; all other bars are bright in both themes.
_INK: Final[Mapping[str, str]] = {"wait": "lab strong"}


@frozen(kw_only=True)
class Layout:
    """Where things are in a drawing, in pixels.

    Args:
        kind: its class, besides those that all of them have.
        left: where the time begins.
        right: where it ends; there is room for a result that is still held.
        row: how high a row is.
        bar: how high its bar is.
        above: what height is for words above the bar; if there is none, they stand beside it.
        most_ticks: how many steps of time are marked at most.
    """

    kind: str
    width: int
    left: int
    right: int
    row: int
    bar: int
    above: int
    most_ticks: int


WIDE: Final = Layout(
    kind="broad", width=1240, left=120, right=1100, row=27, bar=14, above=0, most_ticks=10
)
# For telephones: the words stand above the bars, which get all of the width.
NARROW: Final = Layout(
    kind="slim", width=360, left=8, right=326, row=34, bar=8, above=15, most_ticks=4
)
_LABELS: Final = 72  # where what is said of a row begins, if it stands above its bar


def waterfall(
    job: Job,
    attempts: Sequence[Attempt],
    timeline: Sequence[Moment],
    now: int,
    layout: Layout = WIDE,
) -> Markup:
    """Draw how a job spent its time; the timeline says the same in words."""
    rows = spans(job, attempts, timeline, now)
    if not rows:
        return Markup("")
    axis = TimeAxis.of(rows, layout.left, layout.right, layout.most_ticks)
    drawing = _Drawing(layout, axis)
    lines = len(rows) + (job.state in ENDED)
    bottom = _TOP + lines * layout.row
    parts = [*_grid(axis, bottom), *_restarts(axis, timeline, rows, bottom)]
    if job.state is State.QUEUED and now < rows[-1].end:
        parts.append(_line("now", axis(now), _TOP - 6, axis(now), bottom))
    for index, row in enumerate(rows):
        parts.append(drawing.row(row, _TOP + index * layout.row))
    if job.state in ENDED:
        parts.append(drawing.result(job, _TOP + len(rows) * layout.row))
    label = "; ".join(f"{row.name}: {row.label}" for row in rows)
    return Markup(
        '<svg class="chart waterfall {}" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(layout.kind, layout.width, bottom + 8, label, Markup("").join(parts))


def _grid(axis: TimeAxis, bottom: int) -> Iterator[Markup]:
    for at, x in axis.ticks:
        yield _line("grid", x, _TOP - 6, x, bottom)
        yield _text(x, _TOP - 14, words.since_then(at), "middle")


def _restarts(
    axis: TimeAxis, timeline: Sequence[Moment], rows: Sequence[SpanRow], bottom: int
) -> Iterator[Markup]:
    for moment in timeline:
        if moment.event == "recovered" and moment.at <= rows[-1].end:
            x = axis(moment.at)
            yield _line("death", x, _TOP - 6, x, bottom)


@frozen
class _Drawing:
    layout: Layout
    axis: TimeAxis

    def row(self, row: SpanRow, top: int) -> Markup:
        x, end = self.axis(row.start), self.axis(row.end)
        width = max(end - x, 2.0)
        above, bar = top + self.layout.above, self.layout.bar
        drawn = Markup(
            '<rect class="b-{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="2"/>'
        ).format(row.kind, x, above, width, bar)
        cut = self._cut(x + width / 2, above) if row in self.axis.cuts else Markup("")
        name = self._name(row.name, top, "lab strong" if row.attempt else "lab")
        return name + drawn + cut + self._label(row, x, width, top)

    def _name(self, name: str, top: int, kind: str = "lab") -> Markup:
        if self.layout.above:
            return _text(0, top + 10, name, "start", kind)
        return _text(self.layout.left - 12, self._middle(top), name, "end", kind)

    def _middle(self, top: int) -> float:
        """Return where the letters beside a bar stand."""
        return top + self.layout.bar / 2 + 4

    def _label(self, row: SpanRow, x: float, width: float, top: int) -> Markup:
        tone = {"fail": "lab-fail", "done": "lab-done"}.get(row.kind, "")
        label, length, middle = row.label, len(row.label) * LETTER, self._middle(top)
        if self.layout.above:
            return _text(_LABELS, top + 10, label, "start", tone)
        if x + width + 8 + length < self.layout.width:
            return _text(x + width + 8, middle, label, "start", tone)
        if x - 8 - length > self.layout.left:
            return _text(x - 8, middle, label, "end", tone)
        return _text(x + 8, middle, label, "start", _INK.get(row.kind, "inside"))

    def _cut(self, x: float, top: int) -> Markup:
        """Mark a bar that is cut."""
        low, high = top + self.layout.bar + 2, self.layout.bar + 4
        path = f"M{x - 4:.1f} {low}l4 -{high}M{x + 1:.1f} {low}l4 -{high}"
        return Markup('<path class="cut" d="{}"/>').format(path)

    def result(self, job: Job, top: int) -> Markup:
        ended = job.finished_at or job.submitted_at
        held = job.result is Result.HELD
        told = f"held since {words.time_of_day(ended)[:8]}" if held else _gone(job)
        x, middle = self.axis(ended), top + self.layout.above + self.layout.bar / 2
        arrow = _arrow(x, middle, self.layout.width - 12) if held else Markup("")
        return self._name("result", top) + arrow + self._told(told, x, middle + 4, top, held=held)

    def _told(self, told: str, x: float, middle: float, top: int, *, held: bool) -> Markup:
        """Say what became of the result."""
        if self.layout.above:
            return _text(_LABELS, top + 10, told, "start")
        if not held:
            return _text(x, middle, told, "end" if x > self.layout.width / 2 else "start")
        fits = x > self.layout.left + len(told) * LETTER
        return _text(x - 8, middle, told, "end") if fits else Markup("")


def _arrow(x: float, y: float, end: int) -> Markup:
    head = Markup('<path class="base open" d="M{} {}l6 4 -6 4"/>').format(end - 6, y - 4)
    return _line("base", x, y, end, y) + head


def _gone(job: Job) -> str:
    if job.result is Result.TAKEN and job.fetched_at is not None and job.finished_at is not None:
        return f"fetched {words.duration(job.fetched_at - job.finished_at)} later"
    return str(job.result)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(
        kind, x1, y1, x2, y2
    )


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> Markup:
    return Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
        Markup(' class="{}"').format(kind) if kind else "", x, y, anchor, escape(text)
    )
