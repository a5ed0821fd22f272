"""The seam: what an operation may do to the store, and what it tells of that.

An operation is a function of a transaction. It may run a second time, in a transaction of its own,
if another one of its batch fails; so it has no effect but on the transaction. What depends on its
success is told as facts, which count only once it is committed.
"""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes, Fact
from jobstore.store.tally import Tally

T = TypeVar("T")


class Transaction:
    """One write transaction, with its one now.

    Args:
        connection: where it runs.
        now: its time, in microseconds since 1970.
        changes: what its batch has changed so far.

    Attributes:
        followed: whether any job waits for the success of another; None until somebody has looked.
        tally: what it has changed of the numbers that are kept of the jobs; written before the
            commit.
    """

    __slots__ = ("changes", "connection", "followed", "now", "tally")

    def __init__(self, connection: sqlite3.Connection, now: int, changes: Changes) -> None:
        self.connection = connection
        self.now = now
        self.changes = changes
        self.followed: bool | None = None
        self.tally = Tally()

    def execute(self, statement: Statement, **values: object) -> sqlite3.Cursor:
        """Execute a statement with values for its parameters."""
        return self.connection.execute(statement.sql, statement.bound(values))

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        row_id = self.execute(statement, **values).lastrowid
        assert row_id is not None
        return row_id

    def ids(self, statement: Statement, **values: object) -> list[int]:
        """Execute a statement that returns ids, and give these."""
        return [row_id for (row_id,) in self.execute(statement, **values)]

    def tell(self, fact: Fact) -> None:
        """Tell what this transaction changes, for when it is committed."""
        self.changes.facts.append(fact)


Operation: TypeAlias = Callable[[Transaction], T]


@dataclass(slots=True)
class Outcome:
    """What became of an operation: its value, or its error in the store's words.

    Args:
        committing: whether the error is that of the commit, so that the operation may be found in
            the file after a crash until something else was committed.
    """

    value: Any = None
    error: Exception | None = None
    committing: bool = False


# Hears what became of an operation.
Told: TypeAlias = Callable[[Outcome], None]
