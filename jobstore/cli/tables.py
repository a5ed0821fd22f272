"""Jobs as the rows of a table, for people."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Final

from rich.console import Console
from rich.text import Text

from jobstore.cli.plain import printable
from jobstore.cli.terminal import row, write
from jobstore.cli.wording import age, to_the_second, took
from jobstore.model import clock
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result, State

# From this width on there is room for whole times beside the requests.
_WIDE: Final = 110
_LEAST_REQUEST: Final = 20
_MOST_OWNER: Final = 16
_GAP: Final = 2

STATE_STYLES: Final = {
    State.QUEUED: "cyan",
    State.RUNNING: "bold blue",
    State.DONE: "green",
    State.FAILED: "red",
    State.CANCELLED: "yellow",
}
_STATUS_STYLES: Final = {1: "", 2: "green", 3: "cyan", 4: "yellow", 5: "red"}


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of the table.

    Args:
        name: its head.
        cell: writes what it says of a job.
        right: whether that is set to the right.
        most: the width that it may take in a terminal.
    """

    name: str
    cell: Callable[[Job], Text]
    right: bool = False
    most: int = 1_000_000


class JobTable:
    """Write jobs as a table whose columns may only grow as it goes on.

    Args:
        console: where to; if it is a terminal, the table is cut to its width.
        zone: in which times are written; None is UTC.
        askers: who asked for the cancellation of each job, by its id; None to leave that out. What
            is added to it is written, too.
    """

    def __init__(
        self,
        console: Console,
        zone: tzinfo | None = None,
        askers: Mapping[int, str] | None = None,
    ) -> None:
        self._console = console
        self._zone = zone
        self._askers = {} if askers is None else askers
        self._now = clock.now()
        self._shown: list[_Column] = []
        self._widths: dict[str, int] = {}
        wide = not console.is_terminal or console.width >= _WIDE
        self._columns = [
            _ID,
            _STATE,
            _STATUS,
            _RESULT,
            _Column("SUBMITTED", self._submitted)
            if wide
            else _Column("AGE", self._age, right=True),
            _Column("TOOK", self._took, right=True),
            *(() if askers is None else [_Column("CANCELLED BY", self._asker, most=_MOST_OWNER)]),
            _OWNER,
            _REQUEST,
        ]

    def write(self, jobs: Sequence[Job]) -> None:
        """Write the next jobs, and the heads of the columns if they have changed."""
        has_owners = any(job.owner for job in jobs) or _OWNER in self._shown
        columns = [column for column in self._columns if has_owners or column is not _OWNER]
        rows = [[column.cell(job) for column in columns] for job in jobs]
        if columns != self._shown:
            rows.insert(0, [Text(column.name, "bold") for column in columns])
        self._shown = columns
        widths = [
            self._width(column, cells)
            for column, cells in zip(columns, zip(*rows, strict=True), strict=True)
        ]
        rights = [column.right for column in columns]
        for cells in rows:
            write(self._console, row(cells, widths, rights))

    def _width(self, column: _Column, cells: Iterable[Text]) -> int:
        """Choose a column's width; the last one gets what the others have left."""
        widest = max(cell.cell_len for cell in cells)
        if column is _REQUEST:
            room = self._console.width - sum(width + _GAP for width in self._widths.values())
            return max(_LEAST_REQUEST, room) if self._console.is_terminal else widest
        width = max(widest, self._widths.get(column.name, 0))
        if self._console.is_terminal:
            width = min(width, column.most)
        self._widths[column.name] = width
        return width

    def _age(self, job: Job) -> Text:
        return Text(age(job.submitted_at, self._now))

    def _submitted(self, job: Job) -> Text:
        return Text(to_the_second(job.submitted_at, self._zone))

    def _asker(self, job: Job) -> Text:
        return Text(printable(self._askers.get(job.id, "")))

    def _took(self, job: Job) -> Text:
        return Text(took(job, self._now))


def state_text(job: Job) -> Text:
    """Write a job's state in its colour, with its progress while it runs."""
    running = job.state is State.RUNNING and job.progress is not None
    words = f"{job.state} {job.progress:.0f}%" if running else job.state
    return Text(words, style=STATE_STYLES[job.state])


def status_style(status: int) -> str:
    """Choose the colour of a status code."""
    return _STATUS_STYLES.get(status // 100, "")


def _status(job: Job) -> Text:
    return Text("") if job.status is None else Text(str(job.status), status_style(job.status))


def _result(job: Job) -> Text:
    return Text(job.result, "bold" if job.result is Result.HELD else "dim")


_ID: Final = _Column("ID", lambda job: Text(str(job.id)), right=True)
_STATE: Final = _Column("STATE", state_text)
_STATUS: Final = _Column("STATUS", _status, right=True)
_RESULT: Final = _Column("RESULT", _result)
_OWNER: Final = _Column("OWNER", lambda job: Text(printable(job.owner)), most=_MOST_OWNER)
_REQUEST: Final = _Column("REQUEST", lambda job: Text(printable(f"{job.method} {job.path}")))
