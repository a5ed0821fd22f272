"""Import exported history into a file: all of it in one transaction, or nothing."""

import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

from jobstore.model import clock
from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.importing import Import, Imported
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.committing import commit
from jobstore.store.sqlite.lock import held, owned
from jobstore.store.sqlite.transaction import FileTransaction
from jobstore.store.sqlite.translation import translated


def import_history(
    path: Path, lines: Iterable[bytes], progress: Callable[[int], object] = lambda _: None
) -> Imported:
    """Import exported history, whole or not at all; no server may be running.

    Args:
        path: an existing store of this schema version.
        lines: the lines of the export.
        progress: called with the number of jobs read, now and then.

    Raises:
        ExportInvalid: it is invalid, damaged or newer, or has a job whose id is taken.
        StoreInUse: a server runs.
        StoreError: the store cannot be used.
    """
    with held(path):
        sqlite.require(path)
    with owned(path), translated(path):
        connection = sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)
        try:
            connection.execute("BEGIN IMMEDIATE")
            tx = _Importing(connection, clock.now(), Changes())
            imported = Import(tx, progress).run(lines)
            tx.write_tally()
            commit(connection, path)
            pages.checkpoint(connection)
        finally:
            connection.close()  # which takes back what was not committed
    return imported


class _Importing(FileTransaction):
    """A transaction that raises ValueError for invalid rows, as `Import` expects."""

    __slots__ = ()

    def execute(self, statement: Statement, **values: object) -> sqlite3.Cursor:
        """Execute a statement with values for its parameters.

        Raises:
            ValueError: the values are invalid.
        """
        try:
            return super().execute(statement, **values)
        except sqlite3.IntegrityError as error:
            raise ValueError(f"these values are not allowed ({error})") from error
