"""Rows for scripts: JSON lines and CSV; the same columns go into Parquet files."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum, auto
from typing import Any, Final, Protocol, TypeAlias

from jobstore.cli.plain import printable, write_json
from jobstore.model.clock import iso


class ColumnKind(Enum):
    """What kind of value a column has."""

    WHOLE = auto()
    NUMBER = auto()
    TEXT = auto()
    FLAG = auto()
    TIME = auto()  # microseconds since 1970; written as ISO 8601
    OBJECT = auto()  # names with numbers


# How a formula begins in a spreadsheet; some also take the full-width forms.
_FORMULA: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")

Columns: TypeAlias = Mapping[str, ColumnKind]
Row: TypeAlias = Sequence[Any]


class RowWriter(Protocol):
    """Writes rows, some at a time."""

    def write(self, rows: Sequence[Row]) -> None:
        """Write the next rows."""


class JsonLines:
    """Write each row as a line of JSON.

    Args:
        columns: what is in a row.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns

    def write(self, rows: Sequence[Row]) -> None:
        """Write the next rows."""
        for row in rows:
            write_json(as_object(self._columns, row))
        sys.stdout.flush()


class Csv:
    """Write each row as a line of CSV, below a line of names.

    Text from clients is written so that no spreadsheet runs it and no terminal obeys it.

    Args:
        columns: what is in a row.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = columns
        self._csv = csv.writer(sys.stdout, lineterminator="\n")
        self._csv.writerow(columns)

    def write(self, rows: Sequence[Row]) -> None:
        """Write the next rows."""
        for row in rows:
            values = as_object(self._columns, row).values()
            self._csv.writerow(map(_in_a_cell, values))
        sys.stdout.flush()


def as_object(columns: Columns, row: Row) -> dict[str, Any]:
    """Return a row as JSON has it."""
    return {
        name: _written(kind, value)
        for (name, kind), value in zip(columns.items(), row, strict=True)
    }


def _in_a_cell(value: Any) -> Any:
    if isinstance(value, dict):
        return json.dumps(value) if value else ""
    return _harmless(value) if isinstance(value, str) else value


def _harmless(text: str) -> str:
    """Write text so that a spreadsheet takes it for text, and a terminal shows all of it.

    https://owasp.org/www-community/attacks/CSV_Injection
    """
    shown = printable(text)
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


def _written(kind: ColumnKind, value: Any) -> Any:
    if value is None:
        return None
    match kind:
        case ColumnKind.TIME:
            return iso(value)
        case ColumnKind.OBJECT:
            return dict(value)
        case _:
            return value
