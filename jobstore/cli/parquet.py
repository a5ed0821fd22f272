"""Rows as a Parquet file, by pyarrow, which is an extra."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from jobstore.cli.files import export_file
from jobstore.cli.formats import ColumnKind, Columns, Row
from jobstore.cli.plain import Complaint

# How many rows stand together: so many are in memory at once.
_GROUP: Final = 50_000


class Parquet:
    """Write rows into a Parquet file.

    Args:
        columns: what is in a row.
        arrow: the package.
        sink: pyarrow's writer.
    """

    def __init__(self, columns: Columns, arrow: Any, sink: Any) -> None:
        self._columns = columns
        self._arrow = arrow
        self._sink = sink
        self._rows: list[Row] = []

    def write(self, rows: Sequence[Row]) -> None:
        """Write the next rows, as soon as there are enough of them."""
        self._rows += rows
        if len(self._rows) >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write what is left."""
        if self._rows:
            values = zip(*self._rows, strict=True)
            arrays = [
                self._arrow.array([_written(kind, v) for v in column], field.type)
                for kind, field, column in zip(
                    self._columns.values(), self._sink.schema, values, strict=True
                )
            ]
            self._sink.write_table(self._arrow.table(arrays, schema=self._sink.schema))
            self._rows = []


@contextmanager
def parquet_file(
    path: Path, store: Path | None, columns: Columns, *, replace: bool
) -> Iterator[Parquet]:
    """Yield a Parquet file that gets its name if the context ends well.

    Args:
        path: its name.
        store: the store, which it must not replace, if it is a file.
        columns: what is in a row.
        replace: whether it may replace another file.

    Raises:
        Complaint: pyarrow is not installed.
        StoreError: the file cannot be made.
    """
    try:
        import pyarrow as pa  # an extra
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise Complaint(
            "--parquet needs the package pyarrow: pip install 'jobstore[parquet]'"
        ) from None
    types = {
        ColumnKind.WHOLE: pa.int64(),
        ColumnKind.NUMBER: pa.float64(),
        ColumnKind.TEXT: pa.string(),
        ColumnKind.FLAG: pa.bool_(),
        ColumnKind.TIME: pa.timestamp("us", tz="UTC"),
        ColumnKind.OBJECT: pa.string(),
    }
    schema = pa.schema([(name, types[kind]) for name, kind in columns.items()])
    with export_file(path, store, replace=replace) as file, ParquetWriter(file, schema) as sink:
        parquet = Parquet(columns, pa, sink)
        yield parquet
        parquet.flush()


def _written(kind: ColumnKind, value: Any) -> Any:
    if kind is ColumnKind.OBJECT and value is not None:
        return json.dumps(dict(value))
    return value
