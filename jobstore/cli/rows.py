"""Rows that are few enough to be known before the first of them is written."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from jobstore.cli.plain import printable
from jobstore.cli.terminal import row, write


def write_table(console: Console, heads: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write rows below the heads of their columns; numbers are set to the right.

    Args:
        console: where to.
        heads: what the columns are called.
        rows: their values, of which there is at least one row.
    """
    rights = [isinstance(value, int) for value in rows[0]]
    cells = [[Text(printable(str(value))) for value in values] for values in rows]
    write_rows(console, [[Text(head, "bold") for head in heads], *cells], rights)


def write_facts(console: Console, facts: Sequence[tuple[str, str]]) -> None:
    """Write facts below each other, each with what it is about."""
    cells = [[Text(name, "dim"), Text(printable(fact))] for name, fact in facts]
    write_rows(console, cells, [False, False])


def write_rows(console: Console, rows: Sequence[Sequence[Text]], rights: Sequence[bool]) -> None:
    """Write cells below each other, each column as wide as its widest cell."""
    widths = [max(cell.cell_len for cell in cells) for cells in zip(*rows, strict=True)]
    for cells in rows:
        write(console, row(cells, widths, rights))
