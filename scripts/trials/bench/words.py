"""A run in words: line by line, as a table for a README, and beside another run."""

from collections.abc import Iterator, Mapping
from typing import Final

from trials.bench.figures import Range, Row
from trials.bench.plan import CLIENT_CPU
from trials.bench.report import Report

_MANY: Final = 100
_SOME: Final = 10


def line(row: Row) -> str:
    """Write a row as it comes."""
    parts = [f"{row.name:<60}", f"{_figure(row.value.median):>8} {row.unit:<6}"]
    if row.ratio:
        parts.append(f"ratio {_range(row.ratio)}")
    if row.p50 is not None and row.p99 is not None:
        parts.append(f"p50 {_figure(row.p50)} ms, p99 {_figure(row.p99)} ms")
    if row.cpu:
        parts.append(f"CPU {_figure(row.cpu.median)} µs")
    return "  ".join([*parts, _more(row.more)]).rstrip()


def table(report: Report) -> Iterator[str]:
    """Write a run as a table in Markdown, with what it ran on above it."""
    machine = report.machine
    yield (
        f"{report.date}, {machine['model']} with {machine['cpus']} processors, Python"
        f" {machine['python']}, SQLite {machine['sqlite']}, aiohttp {machine['aiohttp']}, a disk"
        f" that syncs in {_figure(machine['fsync_p50_ms'])} ms; `{report.command}`:"
    )
    yield ""
    yield "| Work | Figure | Ratio (range) | to | p50, p99 ms | CPU µs | Also |"
    yield "|---|---|---|---|---|---|---|"
    for row in report.rows:
        yield f"| {' | '.join(_cells(row))} |"


def _cells(row: Row) -> Iterator[str]:
    yield row.name
    yield f"{_figure(row.value.median)} {row.unit}"
    yield _range(row.ratio) if row.ratio else ""
    yield row.to or ""
    times = (row.p50, row.p99)
    yield ", ".join(_figure(value) for value in times if value is not None)
    yield _figure(row.cpu.median) if row.cpu else ""
    yield _more({name: value for name, value in row.more.items() if name != CLIENT_CPU})


def comparison(one: Report, other: Report) -> Iterator[str]:
    """Write the rows that two runs both have side by side; those that surely differ are marked."""
    for report in (one, other):
        yield f"{report.date}  {report.machine['model']}  {report.command}"
    yield f"{'':60}{'A':>9}{'B':>9}{'change':>9}{'CPU A':>9}{'CPU B':>9}"
    others = {row.name: row for row in other.rows}
    for row in one.rows:
        if found := others.get(row.name):
            yield _beside(row, found)


def _beside(row: Row, other: Row) -> str:
    one, two = row.ratio or row.value, other.ratio or other.value
    change = two.median / one.median - 1
    cpus = "".join(f"{_figure(cpu.median) if cpu else '':>9}" for cpu in (row.cpu, other.cpu))
    mark = "" if one.meets(two) else "  differs"
    figures = f"{_figure(one.median):>9}{_figure(two.median):>9}{change:>+9.1%}"
    return f"{row.name:<60}{figures}{cpus}{mark}".rstrip()


def _range(values: Range) -> str:
    return f"{_figure(values.median)} ({_figure(values.least)} to {_figure(values.most)})"


def _more(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {_figure(value)}" for name, value in figures.items())


def _figure(value: float) -> str:
    """Write a figure with three digits, or all that stand before the point."""
    if abs(value) >= _MANY:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= _SOME else f"{value:.3g}"
