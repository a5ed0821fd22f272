"""Move a whole store to another engine: every row with its id, and the ids that were given out.

**Invariants.** The source is read as of one moment, and is not changed. The destination is written
in one transaction, so it is either a complete store or still an empty one, wherever a crash or a
signal ends the move. Nobody may be using either of them: each engine ensures that in its own way.

**What is carried over.** All tables, in an order in which each row finds what it refers to; numbers
that are kept of the jobs as they are, and not counted anew, since days outlive their jobs; and the
last ids that were given, so that none is given again. What only running servers need stays behind:
which node delivers a result or receives a body, and the token by which a file knows its log. So do
sessions: people log in again at the new store, and those who cannot were never to come along.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from sqlalchemy import Table

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
    """A store that is moved, as of one moment."""

    def count(self, table: Table) -> int:
        """Tell how many rows there are."""

    def rows(self, table: Table) -> Iterator[Row]:
        """Give all rows, with the columns in the order of the table; few of them are in memory."""

    def last_ids(self) -> Mapping[str, int]:
        """Tell the last ids that were given, by the names of the tables."""


class Destination(Protocol):
    """An empty store, in a transaction that is committed if all goes well."""

    def put(self, table: Table, rows: Iterable[Row]) -> None:
        """Put rows in."""

    def raise_ids(self, last: Mapping[str, int]) -> None:
        """Ensure that ids up to these are not used again."""


def move(source: Source, destination: Destination, progress: Progress) -> Mapping[str, int]:
    """Move everything from one store into another one that is empty.

    Returns:
        how many rows of each table.
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
    """How far it is with a table."""

    name: str
    total: int
    progress: Progress
    done: int = 0

    def through(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Give the rows on, and tell of them now and then."""
        self.progress(self.name, 0, self.total)
        for row in rows:
            yield row
            self.done += 1
            if not self.done % _TOLD_EACH:
                self.progress(self.name, self.done, self.total)


def filled(counts: Mapping[str, int]) -> str:
    """Name the tables of a store that have rows, where all should be empty."""
    return f"it has rows in {', '.join(name for name, count in counts.items() if count)}"
