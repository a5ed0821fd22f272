"""A waterfall of a job's time: waiting, attempts, pauses and the result, one below the other.

A wait that is far longer than everything else would hide the rest. So it is cut: drawn
shorter, with a mark, and labelled with its full length.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup, escape

from jobstore.dashboard.draw.spans import SpanRow, spans
from jobstore.model import words
from jobstore.model.clock import SECOND
from jobstore.model.job import Attempt, Job, Moment
from jobstore.model.lifecycle import ENDED, Result, State

_WIDTH: Final = 1240
_LEFT: Final = 120  # where the time begins; what a row is stands before that
_RIGHT: Final = 1100  # where it ends; there is room for a result that is still held
_TOP: Final = 30
_ROW: Final = 27
_BAR: Final = 14
_LETTER: Final = 6.2  # how wide one is, about
# What is written in the page's colour on a bar; all other bars are bright in both themes.
_INK: Final[Mapping[str, str]] = {"wait": "lab strong"}
_CUT: Final = 20  # times as long as all attempts: then a wait is cut
_SHORT: Final = SECOND // 100
_STEPS: Final = tuple(
    SECOND * step // 1000
    for step in (
        *(1, 2, 5, 10, 20, 50, 100, 200, 500),
        *(1_000 * s for s in (1, 2, 5, 10, 15, 30)),
        *(60_000 * m for m in (1, 2, 5, 10, 15, 30)),
        *(3_600_000 * h for h in (1, 2, 3, 6, 12, 24, 48, 168)),
    )
)
_MOST_TICKS: Final = 10
_TICK: Final = 14  # letters that one takes up


# --- where a time is ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Axis:
    """The time axis of the drawing.

    Args:
        knots: times and positions in order; in between, the scale is linear.
        cuts: the spans that are drawn shorter than they are.
    """

    knots: Sequence[tuple[int, float]]
    cuts: Sequence[SpanRow]

    @classmethod
    def of(cls, rows: Sequence[SpanRow]) -> "Axis":
        """Create the axis for consecutive rows."""
        runs = sum(row.length for row in rows if row.attempt)
        most = _CUT * max(runs, _SHORT) if runs else None
        cuts = [row for row in rows if not row.attempt and most is not None and row.length > most]
        drawn = [max(runs, _SHORT) // 2 if row in cuts else row.length for row in rows]
        scale = (_RIGHT - _LEFT) / max(sum(drawn), 1)
        knots, place = [(rows[0].start, float(_LEFT))], float(_LEFT)
        for row, length in zip(rows, drawn, strict=True):
            place += length * scale
            knots.append((row.end, place))
        return cls(knots, cuts)

    def __call__(self, at: int) -> float:
        """Return the position of a time."""
        before = self.knots[0]
        for knot in self.knots[1:]:
            if at <= knot[0]:
                share = (at - before[0]) / max(knot[0] - before[0], 1)
                return before[1] + share * (knot[1] - before[1])
            before = knot
        return before[1]

    @property
    def ticks(self) -> list[tuple[int, float]]:
        """Return the labelled times, from the first one on; there are none inside cuts."""
        start, end = self.knots[0][0], self.knots[-1][0]
        if self.cuts:
            named = sorted({knot[0] for knot in self.knots})
            return _apart([(at - start, self(at)) for at in named])
        step = next((s for s in _STEPS if (end - start) / s <= _MOST_TICKS), _STEPS[-1])
        return [(at, self(start + at)) for at in range(0, end - start + 1, step)]


def _apart(ticks: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Leave out labels that would overlap."""
    kept = [ticks[0]]
    for tick in ticks[1:]:
        apart = tick[1] - kept[-1][1] > _TICK * _LETTER
        if apart and words.since_then(tick[0]) != words.since_then(kept[-1][0]):
            kept.append(tick)
    return kept


# --- drawing ------------------------------------------------------------------------------------


def waterfall(
    job: Job, attempts: Sequence[Attempt], timeline: Sequence[Moment], now: int
) -> Markup:
    """Draw how a job spent its time; the timeline says the same in words."""
    rows = spans(job, attempts, timeline, now)
    if not rows:
        return Markup("")
    axis = Axis.of(rows)
    lines = len(rows) + (job.state in ENDED)
    bottom = _TOP + lines * _ROW
    parts = [*_grid(axis, bottom), *_restarts(axis, timeline, rows, bottom)]
    if job.state is State.QUEUED and now < rows[-1].end:
        parts.append(_line("now", axis(now), _TOP - 6, axis(now), bottom))
    for index, row in enumerate(rows):
        parts.append(_row(axis, row, _TOP + index * _ROW))
    if job.state in ENDED:
        parts.append(_result(job, axis, _TOP + len(rows) * _ROW))
    label = "; ".join(f"{row.name}: {row.label}" for row in rows)
    return Markup(
        '<svg class="chart waterfall" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>'
    ).format(_WIDTH, bottom + 8, label, Markup("").join(parts))


def _grid(axis: Axis, bottom: int) -> Iterator[Markup]:
    for at, x in axis.ticks:
        yield _line("grid", x, _TOP - 6, x, bottom)
        yield _text(x, _TOP - 14, words.since_then(at), "middle")


def _restarts(
    axis: Axis, timeline: Sequence[Moment], rows: Sequence[SpanRow], bottom: int
) -> Iterator[Markup]:
    for moment in timeline:
        if moment.event == "recovered" and moment.at <= rows[-1].end:
            x = axis(moment.at)
            yield _line("death", x, _TOP - 6, x, bottom)


def _row(axis: Axis, row: SpanRow, top: float) -> Markup:
    x, end = axis(row.start), axis(row.end)
    width = max(end - x, 2.0)
    middle = top + _BAR / 2 + 4
    name = _text(_LEFT - 12, middle, row.name, "end", "lab strong" if row.attempt else "lab")
    bar = Markup('<rect class="b-{}" x="{:.1f}" y="{}" width="{:.1f}" height="{}" rx="2"/>').format(
        row.kind, x, top, width, _BAR
    )
    cut = _cut(x + width / 2, top) if row in axis.cuts else Markup("")
    tone = "lab-fail" if row.kind == "fail" else "lab-done" if row.kind == "done" else ""
    label = row.label
    if x + width + 8 + len(label) * _LETTER < _WIDTH:
        beside = _text(x + width + 8, middle, label, "start", tone)
    elif x - 8 - len(label) * _LETTER > _LEFT:
        beside = _text(x - 8, middle, label, "end", tone)
    else:
        beside = _text(x + 8, middle, label, "start", _INK.get(row.kind, "inside"))
    return name + bar + cut + beside


def _cut(x: float, top: float) -> Markup:
    """Mark a bar that is cut."""
    path = f"M{x - 4:.1f} {top + _BAR + 2}l4 -{_BAR + 4}M{x + 1:.1f} {top + _BAR + 2}l4 -{_BAR + 4}"
    return Markup('<path class="cut" d="{}"/>').format(path)


def _result(job: Job, axis: Axis, top: float) -> Markup:
    ended = job.finished_at or job.submitted_at
    x, middle = axis(ended), top + _BAR / 2
    name = _text(_LEFT - 12, middle + 4, "result", "end", "lab")
    held = job.result is Result.HELD
    if not held:
        return name + _text(x, middle + 4, _gone(job), "end" if x > _WIDTH / 2 else "start")
    arrow = _line("base", x, middle, _WIDTH - 12, middle)
    head = Markup('<path class="base open" d="M{} {}l6 4 -6 4"/>').format(_WIDTH - 18, middle - 4)
    words_ = f"held since {words.time_of_day(ended)[:8]}"
    beside = (
        _text(x - 8, middle + 4, words_, "end") if x > _LEFT + len(words_) * _LETTER else Markup("")
    )
    return name + arrow + head + beside


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
