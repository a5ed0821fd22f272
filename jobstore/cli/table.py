"""Tables for people, with columns as wide as their contents."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Generic, TypeVar

from rich.console import Console
from rich.text import Text

from jobstore.cli.plain import printable, tell, write_json
from jobstore.cli.terminal import stdout, write
from jobstore.model.frozen import frozen

T = TypeVar("T")

_GAP: Final = 2
_UNBOUNDED: Final = 1_000_000


@frozen
class Column:
    """A column of a table.

    Args:
        head: what stands above it.
        right: whether it is set to the right.
        most: the width that it may take in a terminal.
        least: if given, the column is cut to what the others leave of a terminal's width, but
            never to less than this.
        optional: whether it is left out as long as nothing stands in it.
    """

    head: str = ""
    right: bool = False
    most: int = _UNBOUNDED
    least: int | None = None
    optional: bool = False


class Table:
    """Write rows, some at a time; columns may only grow as it goes on.

    Args:
        console: where to.
        indent: how many spaces to put before each row.
    """

    def __init__(self, console: Console, columns: Sequence[Column], indent: int = 0) -> None:
        self._console = console
        self._columns = columns
        self._indent = indent
        self._widths = [0] * len(columns)
        self._shown: list[int] = []

    def write(self, rows: Sequence[Sequence[Text]]) -> None:
        """Write the next rows, below the heads of the columns if these have changed."""
        if not rows:
            return
        shown = [place for place in range(len(self._columns)) if self._shows(place, rows)]
        columns = [self._columns[place] for place in shown]
        lines = [[cells[place] for place in shown] for cells in rows]
        if shown != self._shown and any(column.head for column in columns):
            lines.insert(0, [Text(column.head, "bold") for column in columns])
        self._shown = shown
        for number, place in enumerate(shown):
            self._widths[place] = self._width(place, [cells[number] for cells in lines])
        widths = [self._widths[place] for place in shown]
        for cells in lines:
            write(self._console, _line(cells, widths, columns), self._indent)

    def _shows(self, place: int, rows: Sequence[Sequence[Text]]) -> bool:
        if not self._columns[place].optional or place in self._shown:
            return True
        return any(cells[place] for cells in rows)

    def _width(self, place: int, cells: Iterable[Text]) -> int:
        width = max(self._widths[place], *(cell.cell_len for cell in cells))
        if not self._console.is_terminal:
            return width
        column = self._columns[place]
        if column.least is None:
            return min(width, column.most)
        others = sum(self._widths[each] + _GAP for each in self._shown if each != place)
        return min(width, max(column.least, self._console.width - others))


def _line(cells: Iterable[Text], widths: Iterable[int], columns: Iterable[Column]) -> Text:
    """Put cells beside each other, cut to their widths; they are changed."""
    line = Text()
    for cell, width, column in zip(cells, widths, columns, strict=True):
        cell.truncate(width, overflow="ellipsis")
        cell.align("right" if column.right else "left", width)
        line.append(cell).append(" " * _GAP)
    line.rstrip()
    return line


def write_facts(console: Console, facts: Iterable[tuple[str, Text]], indent: int = 0) -> None:
    """Write facts below each other, each with what it is about."""
    rows = [[Text(name, "dim"), fact] for name, fact in facts]
    Table(console, (Column(), Column()), indent).write(rows)


@frozen(kw_only=True)
class Listed(Generic[T]):
    """How things of a kind are listed, where they are few.

    Args:
        heads: of the columns, for people.
        row: what stands in them; numbers are set to the right.
        fields: what scripts get of each.
        none: what people are told if there are none.
    """

    heads: Sequence[str]
    row: Callable[[T], Sequence[object]]
    fields: Callable[[T], object]
    none: str

    def write(self, found: Sequence[T], *, as_json: bool) -> None:
        """Write them to the standard output."""
        if as_json:
            for each in found:
                write_json(self.fields(each))
            return
        if not found:
            tell(self.none)
            return
        rows = [self.row(each) for each in found]
        rights = [isinstance(value, int) for value in rows[0]]
        columns = [Column(head, right) for head, right in zip(self.heads, rights, strict=True)]
        Table(stdout(), columns).write([[_cell(value) for value in values] for values in rows])


def _cell(value: object) -> Text:
    return Text(printable(str(value)))
