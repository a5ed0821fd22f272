"""Point reads: single rows, read in the caller's thread."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jobstore.store import revisions
from jobstore.store.expressions import Statement
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.condition import Condition
from jobstore.store.sqlite.presence import Presence
from jobstore.store.sqlite.translation import translated


class PointReader:
    """Look at rows that are found by their key: that takes less than a hop to another thread.

    Args:
        connection: a connection that nothing else uses.
        presence: what has to be there for each answer, or None.
    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, presence: Presence | None = None
    ) -> None:
        self._connection = connection
        self._path = path
        self._presence = presence

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and return all its rows.

        Raises:
            StoreError: the file cannot be read, or is not there any more.
        """
        return self._present(statement, values)

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and return its first row, or None."""
        return next(iter(self._present(statement, values)), None)

    def revision(self, of: str) -> int:
        """Return a revision number: of accounts, schedules, or others' changes to the queue."""
        ((number,),) = self._rows(revisions.REVISION, {"of": of})
        return int(number)

    def kept(self, statement: Statement) -> list[Any]:
        """Return the rows of a short list that changes rarely: accounts, tokens, targets."""
        return self._present(statement, {})

    async def refresh(self) -> None:
        """Do nothing: each look goes into the file."""

    def keep(self) -> None:
        """Never close the connection, not even when the process ends.

        SQLite moves the WAL into the file and removes it when the last connection is closed, by
        their names, which may belong to other files by now.
        """
        import ctypes  # hardly ever needed

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._connection))

    def _present(self, statement: Statement, values: Mapping[str, object]) -> list[Any]:
        rows = self._rows(statement, values)
        if self._presence is not None:
            self._presence.require()
        return rows

    def _rows(self, statement: Statement, values: Mapping[str, object]) -> list[Any]:
        with translated(self._path):
            return self._connection.execute(statement.sql, statement.bound(values)).fetchall()


@contextmanager
def point_reading(path: Path, presence: Presence, condition: Condition) -> Iterator[PointReader]:
    """Open a store for quick looks, until the context is left; a lost one is never closed."""
    connection = sqlite.connect(path, "rw", sqlite.READER_PRAGMAS)
    points = PointReader(connection, path, presence)
    try:
        yield points
    finally:
        if condition.lost:
            points.keep()
        else:
            connection.close()
