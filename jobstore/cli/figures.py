"""Figures about many jobs: how often and how long, and how much was going on when."""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from typing import Final

from rich.console import Console
from rich.text import Text

from jobstore.cli.formats import ColumnKind, Columns, Row
from jobstore.cli.plain import printable
from jobstore.cli.table import Column, Table
from jobstore.cli.terminal import say
from jobstore.cli.wording import lasting
from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.store.questions import By, JobFigures, QuarterHour
from jobstore.store.search import Search

_ROWS: Final = 50
_HOUR: Final = 3600 * SECOND
# Up to this, activity is told hour by hour.
_SHORT: Final = 72 * _HOUR
_YEAR: Final = 366 * 24 * _HOUR
# A bar's last character is one of these: eighths of a full one.
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LEAST_LAST: Final = 10  # of a bar or a name, where a terminal is narrow


@frozen(kw_only=True)
class Counted:
    """Figures, for scripts and for people.

    Args:
        columns: what is in a row for scripts.
        rows: these rows.
        shown: the columns for people.
        cells: what stands in them.
        note: what people are told below, if anything.
    """

    columns: Columns
    rows: Sequence[Row]
    shown: Sequence[Column]
    cells: Sequence[Sequence[Text]]
    note: str | None

    def print(self, console: Console) -> None:
        """Write them for people."""
        Table(console, self.shown).write(self.cells)
        if self.note:
            say(self.note)


# --- how often and how long ---------------------------------------------------------------------


def of_figures(found: Sequence[JobFigures], by: By, limit: int | None, *, plain: bool) -> Counted:
    """Write how often and how long jobs ran.

    Args:
        found: the figures, in order.
        by: what they are told apart by.
        limit: how many of them, if that was said.
        plain: whether it is for people.
    """
    most = limit or (_ROWS if plain else len(found))
    durations = (ColumnKind.NUMBER, ColumnKind.NUMBER, ColumnKind.NUMBER)
    columns = {
        by.value: ColumnKind.TEXT,
        "count": ColumnKind.WHOLE,
        "errors": ColumnKind.WHOLE,
    } | dict(zip(("p50_ms", "p95_ms", "max_ms"), durations, strict=True))
    counted = [(each, each.percentiles(50, 95, 100)) for each in found[:most]]
    rows = [
        (each.name, each.count, each.errors, *(us if us is None else us / 1000 for us in took))
        for each, took in counted
    ]
    cells = [
        [
            Text(f"{each.count:,}"),
            Text(f"{each.errors:,}", "red" if each.errors else "dim"),
            *(Text("" if us is None else lasting(us)) for us in took),
            Text(printable("(none)" if each.name is None else each.name)),
        ]
        for each, took in counted
    ]
    numbers = [Column(head, right=True) for head in ("COUNT", "ERRORS", "P50", "P95", "MAX")]
    shown = (*numbers, Column(by.value.upper(), least=_LEAST_LAST))
    return Counted(columns=columns, rows=rows, shown=shown, cells=cells, note=_more(found, most))


def _more(found: Sequence[JobFigures], most: int) -> str | None:
    if not found:
        return "No matching jobs."
    return f"There are {len(found):,}; --limit shows more." if len(found) > most else None


# --- how much was going on when -----------------------------------------------------------------


@dataclass(slots=True)
class Bucket:
    """What was submitted in an hour or on a day.

    Args:
        start: its beginning, in microseconds since 1970.
        hourly: whether it is an hour.
    """

    start: int
    hourly: bool
    count: int = 0
    errors: int = 0


def bars(spans: Sequence[QuarterHour], search: Search, zone: tzinfo, now: int) -> list[Bucket]:
    """Sum activity up by the hours or the days of a zone, those without any included.

    Args:
        spans: what there was, in order.
        search: for its range; without one, the activity itself tells.
        zone: whose hours and days.
        now: microseconds since 1970.
    """
    if not spans:
        return []
    first, last = spans[0].start, spans[-1].start
    if search.since is not None:
        first = max(search.since, first - _YEAR)
        last = max(last, min(now, now if search.until is None else search.until - 1))
    hourly = last - first <= _SHORT
    start_of = _hour_of if hourly else _day_of
    found = {start: Bucket(start, hourly) for start in _starts(first, last, start_of, zone)}
    for span in spans:
        start = start_of(span.start, zone)
        bar = found.setdefault(start, Bucket(start, hourly))
        bar.count += span.count
        bar.errors += span.errors
    return [found[start] for start in sorted(found)]


def of_bars(found: Sequence[Bucket], zone: tzinfo, *, plain: bool) -> Counted:
    """Write how much was going on when.

    Args:
        found: the hours or days, in order.
        zone: whose.
        plain: whether it is for people.
    """
    columns = {"start": ColumnKind.TIME, "count": ColumnKind.WHOLE, "errors": ColumnKind.WHOLE}
    rows = [(bar.start, bar.count, bar.errors) for bar in found]
    highest = max((bar.count for bar in found), default=0)
    cells = [
        [
            Text(_when(bar, zone)),
            Text(f"{bar.count:,}"),
            Text(f"{bar.errors:,}", "red" if bar.errors else "dim"),
            Text(_drawn(bar.count / highest if highest else 0), "cyan"),
        ]
        for bar in (found if plain else ())
    ]
    shown = (
        Column("FROM"),
        Column("COUNT", right=True),
        Column("ERRORS", right=True),
        Column(least=_LEAST_LAST),
    )
    note = None if found else "No matching jobs."
    return Counted(columns=columns, rows=rows, shown=shown, cells=cells, note=note)


def _starts(
    first: int, last: int, start_of: Callable[[int, tzinfo], int], zone: tzinfo
) -> Iterator[int]:
    start = start_of(first, zone)
    step = _HOUR if start_of is _hour_of else 36 * _HOUR  # well into the next day, whatever it has
    while start <= last:
        yield start
        start = max(start + 1, start_of(start + step, zone))


def _hour_of(moment: int, zone: tzinfo) -> int:
    """Return when an hour of a zone began; in some zones that is half past."""
    local = _local(moment, zone)
    return moment - (local.minute * 60 + local.second) * SECOND - moment % SECOND


def _day_of(moment: int, zone: tzinfo) -> int:
    midnight = datetime.combine(_local(moment, zone).date(), time(), zone)
    return (midnight - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _local(moment: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(moment // SECOND, zone)


def _when(bar: Bucket, zone: tzinfo) -> str:
    local = _local(bar.start, zone)
    return local.strftime("%a %Y-%m-%d %H:%M" if bar.hourly else "%a %Y-%m-%d")


_WIDTH: Final = 40


def _drawn(part: float) -> str:
    """Draw a bar, at least a sliver where there is anything at all."""
    eighths = max(1, round(part * _WIDTH * 8)) if part else 0
    full, rest = divmod(eighths, 8)
    drawn = "█" * full + (_EIGHTHS[rest] if rest else "")
    try:
        drawn.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "#" * max(1, round(part * _WIDTH))
    return drawn
