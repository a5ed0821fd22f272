"""A quick look into the file: single rows, read on the thread that wants them."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from jobstore.store import sqlite, statements
from jobstore.store.sqlite import Statement


class Glance:
    """Look at rows that are found by their key: that takes less than a hop to another thread.

    Args:
        connection: a connection that nothing else uses.
        path: the store's file, for messages.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows.

        Raises:
            StoreError: the file cannot be read.
        """
        with sqlite.translated(self._path):
            return self._connection.execute(statement.sql, statement.bound(values)).fetchall()

    def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and give its first row, or None."""
        return next(iter(self.rows(statement, **values)), None)

    def revision(self, of: str) -> int:
        """Tell how often something was changed: accounts, schedules, or the queue from outside."""
        return int(self.row(statements.REVISION, of=of)[0])


@contextmanager
def glancing(path: Path) -> Iterator[Glance]:
    """Open a store for quick looks."""
    with closing(sqlite.connect(path, "rw", sqlite.READER_PRAGMAS)) as connection:
        yield Glance(connection, path)
