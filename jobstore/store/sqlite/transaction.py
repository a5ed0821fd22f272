"""A transaction of a file, and how what it has counted is written there."""

import sqlite3
from typing import Final

from sqlalchemy import TableClause, bindparam, case, func, update
from sqlalchemy.dialects.sqlite import Insert, insert

from jobstore.store import schema
from jobstore.store.expressions import Statement, constant
from jobstore.store.facts import Changes
from jobstore.store.guards import ZERO
from jobstore.store.tally import WORDS
from jobstore.store.transaction import Transaction

# All at once: the least that happens to a job changes two, and a batch changes most of them.
# Measured: 6.6 us, where each by itself takes 2.3.
COUNT: Final = Statement(
    update(schema.COUNTER).values(
        count=schema.COUNTER.c.count
        + case(
            *((schema.COUNTER.c.state == constant(word), bindparam(word)) for word in WORDS),
            else_=ZERO,
        )
    )
)


def added(table: TableClause, key: str, largest: str | None = None) -> Insert:
    """Insert a row of numbers; if there is one with its key, add them to those that it has.

    Args:
        key: the column by which there is one row.
        largest: the column that keeps the largest number instead of the sum, if there is one.
    """
    row = insert(table).values({column.name: bindparam(column.name) for column in table.columns})
    kept = {
        name: func.max(old, row.excluded[name]) if name == largest else old + row.excluded[name]
        for name, old in table.columns.items()
        if name != key
    }
    return row.on_conflict_do_update(index_elements=[key], set_=kept)


USE: Final = Statement(added(schema.ACCOUNT_USAGE, "account"))
DO: Final = Statement(added(schema.DAY, "day", largest="longest_us"))


def connection_of(tx: Transaction) -> sqlite3.Connection:
    """Return the connection of a transaction, which has to be that of a file."""
    assert isinstance(tx, FileTransaction)
    return tx.connection


class FileTransaction(Transaction):
    """A transaction of a file.

    Args:
        connection: where it runs.
    """

    __slots__ = ("connection",)

    def __init__(self, connection: sqlite3.Connection, now: int, changes: Changes) -> None:
        super().__init__(now, changes)
        self.connection = connection

    def execute(self, statement: Statement, **values: object) -> sqlite3.Cursor:
        """Execute a statement with values for its parameters."""
        return self.connection.execute(statement.sql, statement.bound(values))

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        row_id = self.execute(statement, **values).lastrowid
        assert row_id is not None
        return row_id

    def write_tally(self) -> None:
        """Write the tally, once, at the end of the transaction."""
        tally = self.tally
        if tally.counts:
            self.execute(COUNT, **tally.counts)
        for account, used in tally.usage:
            self.execute(USE, account=account, **used)
        for day, done in tally.days:
            self.execute(DO, day=day, **done)
