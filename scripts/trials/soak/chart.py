"""What a soak came to as a picture: panels above each other, which share their minutes."""

from collections.abc import Callable, Sequence
from math import log
from pathlib import Path
from statistics import median
from textwrap import shorten
from typing import Final, TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from trials.soak.report import Report
from trials.soak.sampling import Sample
from trials.soak.verdict import MIB, dialects

_SIZE: Final = (10.0, 12.5)  # inches
_LEFT: Final = 0.085  # of the figure's width
_MANY: Final = 100  # so that no digits stand behind the point
_DOTS: Final = 120  # an inch
_HEIGHTS: Final = (1, 1, 1, 1, 2.8)
_INK: Final = "#26323d"
_FAINT: Final = "#6b7883"
_GRID: Final = "#e4e8eb"
_LINE: Final = "#1f6f8b"
_WARM_UP: Final = "#f3f0e6"
_COLOURS: Final = ("#3b6fb6", "#c2571a", "#8b6f00", "#7b3fa0", "#1f8a70", "#555f68")
# A line through the medians of so many intervals; the intervals themselves are shown faintly.
_SMOOTH: Final = 13
# How far apart labels stand at least, as a share of the panel's height.
_APART: Final = 0.05
_DOTTED: Final = (0, (1, 1.4))

_Value: TypeAlias = Callable[[Sample], float]

_End: TypeAlias = tuple[float, str, str]  # where a line ends, its name and its colour


def draw(report: Report, path: Path) -> None:
    """Draw a soak as a PNG of 1200 x 1500 dots."""
    figure = Figure(figsize=_SIZE, dpi=_DOTS, facecolor="white")
    axes: Sequence[Axes] = figure.subplots(
        len(_HEIGHTS), 1, sharex=True, gridspec_kw={"height_ratios": _HEIGHTS, "hspace": 0.16}
    )
    figure.subplots_adjust(left=_LEFT, right=0.83, top=0.882, bottom=0.05)
    _title(figure, report)
    minutes = [each.seconds / 60 for each in report.samples]
    for panel in axes:
        _frame(panel, report.warm_up / 60, minutes[-1])
    for panel, (name, value) in zip(axes[:-1], _SINGLE, strict=True):
        _draw_one(panel, name, minutes, [value(each) for each in report.samples])
    _draw_latencies(axes[-1], report.samples)
    axes[0].text(
        report.warm_up / 120, 0.06, "warm-up", transform=axes[0].get_xaxis_transform(),
        ha="center", va="bottom", color=_FAINT, fontsize=9,
    )  # fmt: skip
    axes[-1].set_xlabel("minutes", color=_INK)
    figure.savefig(path)


_SINGLE: Final[Sequence[tuple[str, _Value]]] = (
    ("memory, MiB", lambda each: each.memory / MIB),
    ("file, MiB", lambda each: each.file / MIB),
    ("WAL, MiB", lambda each: each.wal / MIB),
    ("descriptors", lambda each: each.descriptors),
)


def _title(figure: Figure, report: Report) -> None:
    broken = sum(report.tally.broken.values())
    flat = all(each.flat for each in report.findings)
    work = f"{sum(report.tally.done.values()):,} pieces of mixed work, {broken:,} broken"
    verdict = f"{work}; after the warm-up, {'all is flat' if flat else 'not all is flat'}"
    figure.text(_LEFT, 0.976, "jobstore soak", fontsize=19, weight="bold", color=_INK, va="center")
    figure.text(_LEFT, 0.951, verdict, fontsize=12, color=_INK, va="center")
    where = f"{report.machine}; {report.date}\n{shorten(report.command, 120)}"
    figure.text(_LEFT, 0.939, where, fontsize=9, color=_FAINT, va="top", linespacing=1.5)


def _frame(panel: Axes, warm_up: float, end: float) -> None:
    """Draw what is the same in all panels; times are in minutes."""
    panel.set_xlim(0, end)
    panel.axvspan(0, warm_up, color=_WARM_UP, zorder=0)
    panel.grid(axis="y", color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    panel.tick_params(colors=_FAINT, labelsize=9, length=0, which="both")
    for side, spine in panel.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_GRID)


def _name(panel: Axes, name: str) -> None:
    panel.set_title(name, loc="left", fontsize=11, weight="bold", color=_INK, pad=5)


def _draw_one(panel: Axes, name: str, minutes: Sequence[float], values: Sequence[float]) -> None:
    _name(panel, name)
    panel.plot(minutes, values, color=_LINE, linewidth=1.3)
    panel.set_ylim(0, 1.15 * max(*values, 1))
    panel.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    usual, largest = _written(median(values)), _written(max(values))
    label = f"{_written(values[-1])} at the end\n{usual} usually\n{largest} at most"
    _label(panel, 0.5, label, _INK)


def _draw_latencies(panel: Axes, samples: Sequence[Sample]) -> None:
    """Draw the p99 of each dialect above its p50, on a logarithmic scale."""
    _name(panel, "latency, ms:  p99 solid, p50 dotted")
    panel.set_yscale("log")
    ends: list[_End] = []
    for dialect, colour in zip(dialects(samples), _COLOURS, strict=False):
        used = [each for each in samples if dialect in each.dialects]
        minutes = [each.seconds / 60 for each in used]
        p99 = [each.dialects[dialect].p99 for each in used]
        p50 = smooth([each.dialects[dialect].p50 for each in used])
        panel.plot(minutes, p99, color=colour, linewidth=0.6, alpha=0.15)
        panel.plot(minutes, smooth(p99), color=colour, linewidth=1.8)
        panel.plot(minutes, p50, color=colour, linewidth=1.6, linestyle=_DOTTED)
        ends.append((smooth(p99)[-1], f"{dialect} p99", colour))
        ends.append((p50[-1], f"{dialect} p50", colour))
    panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.yaxis.set_minor_formatter(NullFormatter())
    _label_ends(panel, sorted(ends))


def _label_ends(panel: Axes, ends: Sequence[_End]) -> None:
    """Write each line's name beside its end, the lowest first, not over each other."""
    lowest, highest = panel.get_ylim()
    heights = [log(value / lowest) / log(highest / lowest) for value, _, _ in ends]
    for height, (value, name, colour) in zip(spread(heights, _APART), ends, strict=True):
        _label(panel, height, f"{_written(value)}  {name}", colour)


def _label(panel: Axes, height: float, text: str, colour: str) -> None:
    panel.text(
        1.012, height, text, transform=panel.transAxes, color=colour, fontsize=9, va="center",
        linespacing=1.35,
    )  # fmt: skip


def smooth(values: Sequence[float]) -> list[float]:
    """Give for each value the median of those around it."""
    half = _SMOOTH // 2
    return [median(values[max(0, at - half) : at + half + 1]) for at in range(len(values))]


def spread(heights: Sequence[float], apart: float) -> list[float]:
    """Move heights, the lowest first, until they are so far apart; none goes below 0."""
    placed: list[float] = []
    for height in heights:
        placed.append(max(height, placed[-1] + apart) if placed else height)
    moved = max((here - there for here, there in zip(placed, heights, strict=True)), default=0.0)
    down = min(moved / 2, max(0.0, placed[0] - apart / 2)) if placed else 0.0
    return [height - down for height in placed]


def _written(value: float) -> str:
    return f"{value:.1f}" if value < _MANY else f"{value:,.0f}"
