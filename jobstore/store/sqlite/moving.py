"""A file as one end of a move: see `jobstore.store.moving`."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import TableClause, bindparam, func, insert, select

from jobstore.model import clock
from jobstore.model.errors import StoreError, StoreOccupied
from jobstore.model.frozen import frozen
from jobstore.store import schema
from jobstore.store.expressions import Statement, constant
from jobstore.store.facts import Changes
from jobstore.store.moving import EMPTY, Row, filled
from jobstore.store.sequences import COUNTED, raise_id
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.committing import commit
from jobstore.store.sqlite.lock import held, owned
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.transaction import FileTransaction
from jobstore.store.sqlite.translation import translated

# The token by which a file knows its log stands among the counters: see `mixture`.
_TOKEN: Final = constant("mark")
_GIVEN: Final = "SELECT name, seq FROM sqlite_sequence"


@contextmanager
def reading(path: Path) -> Iterator["FileSource"]:
    """Read a file as of one moment, while no server may own it.

    Raises:
        StoreInUse: a server owns it.
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    with held(path):
        sqlite.require(path)
    with owned(path), translated(path):
        pragmas = sqlite.READER_PRAGMAS
        with closing(sqlite.connect(path, sqlite.reading_mode(path), pragmas)) as connection:
            connection.execute("BEGIN")
            yield FileSource(connection)


@contextmanager
def writing(path: Path) -> Iterator["FileDestination"]:
    """Write a file, created if missing; committed as a whole if the context ends without an error.

    Raises:
        StoreInUse: a server owns it.
        StoreOccupied: it is not empty.
        StoreError: it is foreign, of another version, or cannot be written.
    """
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist")
    _make(path)
    with (
        owned(path),
        translated(path),
        closing(sqlite.connect(path, "rw", sqlite.WRITER_PRAGMAS)) as connection,
    ):
        connection.execute("BEGIN IMMEDIATE")
        _require_empty(connection, path)
        yield FileDestination(FileTransaction(connection, clock.now(), Changes()))
        commit(connection, path)
        pages.checkpoint(connection)


def _make(path: Path) -> None:
    """Create a store if there is none; one of an earlier version is left alone."""
    if not path.exists() or not path.stat().st_size:
        migrate(path)
    with held(path):
        sqlite.require(path)


def _require_empty(connection: sqlite3.Connection, path: Path) -> None:
    counts = {table.name: FileSource(connection).count(table) for table in EMPTY}
    if any(counts.values()):
        raise StoreOccupied(path, filled(counts))


@frozen
class FileSource:
    """The file to move, in a read transaction."""

    connection: sqlite3.Connection

    def count(self, table: TableClause) -> int:
        """Return the number of rows."""
        statement = Statement(select(func.count()).select_from(table))
        ((count,),) = self.connection.execute(statement.sql)
        return int(count)

    def rows(self, table: TableClause) -> Iterator[Row]:
        """Yield all rows."""
        columns = select(*schema.columns(table))
        if table is schema.COUNTER:
            columns = columns.where(table.c.machine != _TOKEN)
        return self.connection.execute(Statement(columns).sql)

    def last_ids(self) -> Mapping[str, int]:
        """Return the last ids given out."""
        return {name: last for name, last in self.connection.execute(_GIVEN) if name in COUNTED}


@frozen
class FileDestination:
    """An empty file, in an open transaction."""

    tx: FileTransaction

    def put(self, table: TableClause, rows: Iterable[Row]) -> None:
        """Insert rows; an empty store already has rows of counters."""
        values: dict[str, Any] = {each.name: bindparam(each.name) for each in schema.columns(table)}
        put = insert(table).prefix_with("OR REPLACE").values(values)
        self.tx.connection.executemany(Statement(put).sql, rows)

    def raise_ids(self, last: Mapping[str, int]) -> None:
        """Ensure that ids up to these are not used again."""
        for table, given in last.items():
            raise_id(self.tx, table, given)
