"""A database as one end of a move: see `jobstore.store.moving`."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Final

from psycopg import IsolationLevel, sql
from sqlalchemy import ColumnClause, Double, LargeBinary, TableClause, Text, column

from jobstore.model import clock
from jobstore.model.errors import StoreMissing, StoreOccupied
from jobstore.model.frozen import frozen
from jobstore.store import schema
from jobstore.store.codec import writable
from jobstore.store.expressions import NUMBER
from jobstore.store.moving import EMPTY, Row, filled
from jobstore.store.postgresql import nodes
from jobstore.store.postgresql.migrate import migrate, named, require
from jobstore.store.postgresql.plain import Plain, PlainTransaction, connect
from jobstore.store.postgresql.translation import translated
from jobstore.store.schema import columns as columns_of
from jobstore.store.sequences import COUNTED, raise_id

# Where each node counts by itself, what was counted before is nobody's.
_SLOT: Final = column("slot", NUMBER)
_SLOTTED: Final = frozenset({schema.COUNTER, schema.ACCOUNT_USAGE, schema.DAY})
# Of a file, nobody sees the end of a server that died; of a database, other nodes have seen it.
_DIED: Final = "CASE WHEN died = 1 THEN NULL ELSE ended_at END AS ended_at"
_BURY: Final = "UPDATE boot SET ended_at = %s, died = 1 WHERE ended_at IS NULL"
# So that the first plans are made for what is there.
_PLANNED: Final = "ANALYZE definition, job, request, response, body, chunk, event, attempt"
_GIVEN: Final = (
    "SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence(%s, 'id')::regclass), 0)"
)


@contextmanager
def reading(url: str, schema: str, lease: float) -> Iterator["DatabaseSource"]:
    """Read a database as of one moment, while no node may use it.

    Args:
        schema: the schema with the store's tables.
        lease: how long a node may be silent before the others declare it dead, in seconds.

    Raises:
        StoreError: a node is alive, or the store is missing, foreign or of another version.
    """
    require(url, schema)
    with translated(url), closing(connect(url, schema)) as link:
        link.isolation_level = IsolationLevel.REPEATABLE_READ
        with link.transaction():
            nodes.keep_out(PlainTransaction(link, clock.now()), named(url, schema), lease)
            yield DatabaseSource(link)


@contextmanager
def writing(url: str, schema: str, lease: float) -> Iterator["DatabaseDestination"]:
    """Write a database; everything is committed if the context ends without an error.

    Raises:
        StoreOccupied: it is not empty.
        StoreError: a node is alive, or the schema is foreign, of another version, or cannot be
            written.
    """
    try:
        require(url, schema)
    except StoreMissing:
        migrate(url, schema)
    name = named(url, schema)
    with translated(url), closing(connect(url, schema)) as link, link.transaction():
        tx = PlainTransaction(link, clock.now())
        nodes.keep_out(tx, name, lease)
        _require_empty(link, name)
        yield DatabaseDestination(tx)
        link.execute(_BURY, (tx.now,))
        link.execute(_PLANNED)


def _require_empty(link: Plain, name: str) -> None:
    counts = {table.name: DatabaseSource(link).count(table) for table in EMPTY}
    if any(counts.values()):
        raise StoreOccupied(name, filled(counts))


def _kind(column: ColumnClause[Any]) -> str:
    """Return the type of a column in PostgreSQL."""
    match column.type:
        case Text():
            return "text"
        case LargeBinary():
            return "bytea"
        case Double():
            return "float8"
    return "int8"


@frozen
class DatabaseSource:
    """The database to move, in a transaction that sees it at one moment."""

    link: Plain

    def count(self, table: TableClause) -> int:
        """Return the number of rows."""
        counted = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table.name))
        row: Any = self.link.execute(counted).fetchone()
        return int(row[0])

    def rows(self, table: TableClause) -> Iterator[Row]:
        """Yield all rows."""
        columns = [
            sql.SQL(_DIED) if column is schema.BOOT.c.ended_at else sql.Identifier(column.name)
            for column in columns_of(table)
        ]
        selected = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT BINARY)").format(
            sql.SQL(", ").join(columns), sql.Identifier(table.name)
        )
        with self.link.cursor() as cursor, cursor.copy(selected) as copy:
            copy.set_types([_kind(column) for column in columns_of(table)])
            yield from copy.rows()

    def last_ids(self) -> Mapping[str, int]:
        """Return the last ids given out."""
        found: dict[str, Any] = {
            table: self.link.execute(_GIVEN, (table,)).fetchone() for table in COUNTED
        }
        return {table: last for table, (last,) in found.items() if last}


@frozen
class DatabaseDestination:
    """An empty database, in an open transaction."""

    tx: PlainTransaction

    def put(self, table: TableClause, rows: Iterable[Row]) -> None:
        """Insert rows."""
        if table in _SLOTTED:
            self._copy(
                f"{table.name}_slot", [*columns_of(table), _SLOT], ((*row, 0) for row in rows)
            )
            return
        if table is schema.REVISION:  # an empty store has these already
            self.tx.link.execute("DELETE FROM revision")
        self._copy(table.name, columns_of(table), rows)

    def _copy(self, name: str, columns: Sequence[ColumnClause[Any]], rows: Iterable[Row]) -> None:
        names = sql.SQL(", ").join(sql.Identifier(column.name) for column in columns)
        put = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(name), names)
        with self.tx.link.cursor() as cursor, cursor.copy(put) as copy:
            copy.set_types([_kind(column) for column in columns])
            for row in rows:
                copy.write_row([_writable(value) for value in row])

    def raise_ids(self, last: Mapping[str, int]) -> None:
        """Ensure that ids up to these are not used again."""
        for table, given in last.items():
            raise_id(self.tx, table, given)


def _writable(value: Any) -> Any:
    """Escape NUL, which text in PostgreSQL cannot contain."""
    if isinstance(value, str) and "\0" in value:
        return writable(value)
    return value
