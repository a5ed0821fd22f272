"""Move a whole store to another engine: every row with its id, and the ids given out so far.

**Invariants.** The source is read as of one moment, and is not changed. The destination is written
in one transaction, so it is either a complete store or still empty, wherever a crash or a
signal ends the move. Nobody may be using either of them: each engine ensures that in its own way.

**What is moved.** All tables, in an order in which each row finds what it refers to; figures
about jobs as they are, not counted again, since they outlive their jobs; and the
last ids given out, so that none is reused. What only running servers need is left behind:
which node delivers a result or receives a body, and the token by which a file recognises its log.
So are sessions: people log in again at the new store.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import TableClause

from jobstore.store import schema

# In this order, each row finds what it refers to; the last ones count changes of the others.
TABLES: Final = (
    schema.BOOT,
    schema.DEFINITION,
    schema.JOB,
    schema.REQUEST,
    schema.RESPONSE,
    schema.BODY,
    schema.CHUNK,
    schema.EVENT,
    schema.ATTEMPT,
    schema.DELAY,
    schema.IDEMPOTENCY,
    schema.ACCOUNT,
    schema.TOKEN,
    schema.TARGET_STATE,
    schema.SERVED,
    schema.AUDIT,
    schema.OPERATION,
    schema.OPERATION_PART,
    schema.DAY,
    schema.PERIOD,
    schema.UNCOUNTED,
    schema.ACCOUNT_USAGE,
    schema.COUNTER,
    schema.REVISION,
)
# What stays behind.
LEFT: Final = (schema.SESSION,)
# What an empty store has: no row of these.
EMPTY: Final = tuple(
    table
    for table in TABLES
    if table not in {schema.ACCOUNT_USAGE, schema.COUNTER, schema.REVISION}
)
# How often somebody is told how far it is.
_TOLD_EACH: Final = 500

# Told the name of a table, how many of its rows are moved, and how many there are.
Progress = Callable[[str, int, int], object]
Row = Sequence[Any]


class Source(Protocol):
    """The store to move, as of one moment."""

    def count(self, table: TableClause) -> int:
        """Return the number of rows."""

    def rows(self, table: TableClause) -> Iterator[Row]:
        """Yield all rows, with the columns in the table's order; only a few are in memory."""

    def last_ids(self) -> Mapping[str, int]:
        """Return the last ids given out, by table."""


class Destination(Protocol):
    """An empty store, in a transaction that is committed at the end."""

    def put(self, table: TableClause, rows: Iterable[Row]) -> None:
        """Insert rows."""

    def raise_ids(self, last: Mapping[str, int]) -> None:
        """Ensure that ids up to these are not used again."""


def move(source: Source, destination: Destination, progress: Progress) -> Mapping[str, int]:
    """Move everything from one store to an empty one.

    Returns:
        the number of rows of each table.
    """
    moved = {}
    for table in TABLES:
        told = _Told(table.name, source.count(table), progress)
        destination.put(table, told.through(source.rows(table)))
        moved[table.name] = told.done
    destination.raise_ids(source.last_ids())
    return moved


@dataclass(slots=True)
class _Told:
    """The progress of a table."""

    name: str
    total: int
    progress: Progress
    done: int = 0

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass the rows on, and report progress now and then."""
        self.progress(self.name, 0, self.total)
        for row in rows:
            yield row
            self.done += 1
            if not self.done % _TOLD_EACH:
                self.progress(self.name, self.done, self.total)


def filled(counts: Mapping[str, int]) -> str:
    """Return the tables of a store that are not empty."""
    return f"it has rows in {', '.join(name for name, count in counts.items() if count)}"
