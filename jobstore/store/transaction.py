"""The seam: what an operation may do to the store, and which facts it reports.

An operation is a function of a transaction. If another operation of its batch fails, it may run a
second time, in a transaction of its own, so it must have no effect outside the transaction. What
depends on its success is reported as facts, which count only once they are committed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeAlias, TypeVar

from jobstore.model.errors import JobstoreError
from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes, Fact
from jobstore.store.tally import Tally

T = TypeVar("T")


class Rows(Protocol):
    """The result of a statement, as a cursor of PEP 249.

    Attributes:
        rowcount: how many rows it changed.
    """

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """Return the next row, or None."""

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Transaction(ABC):
    """One write transaction, with its one now.

    Args:
        now: its time, in microseconds since 1970.
        changes: what its batch has changed so far.

    Attributes:
        followed: whether any job waits for another one's success; None if not yet known.
        tally: its changes to counters; written before the commit.
        shared: whether other nodes work on the same store.
    """

    __slots__ = ("changes", "followed", "now", "tally")

    shared = False

    def __init__(self, now: int, changes: Changes) -> None:
        self.now = now
        self.changes = changes
        self.followed: bool | None = None
        self.tally = Tally()

    @abstractmethod
    def execute(self, statement: Statement, **values: object) -> Rows:
        """Execute a statement with values for its parameters."""

    @abstractmethod
    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""

    def foresee(self, statement: Statement) -> None:  # noqa: B027 - a file answers at once
        """Announce a question without parameters, to be asked after the next statement, if at all.

        Where a statement is a round trip, both go together.
        """

    def ids(self, statement: Statement, **values: object) -> list[int]:
        """Execute a statement that returns ids, and return them."""
        return [row_id for (row_id,) in self.execute(statement, **values)]

    def tell(self, fact: Fact) -> None:
        """Report a fact about what this transaction changes; it counts once committed."""
        self.changes.facts.append(fact)


Operation: TypeAlias = Callable[[Transaction], T]


@dataclass(slots=True)
class Outcome:
    """The outcome of an operation: its value, or its error.

    Args:
        committing: whether the commit itself failed, so the operation may be found in
            the file after a crash, until something else is committed.
    """

    value: Any = None
    error: Exception | None = None
    committing: bool = False

    @classmethod
    def refused(cls, error: JobstoreError) -> Self:
        """Make the outcome of an operation that was refused, and has changed nothing.

        Its traceback leads to all that shares its batch, which would stay until it is looked for as
        garbage; where a refusal was raised is of no use to anybody.
        """
        return cls(error=error.with_traceback(None))


# Hears what became of an operation.
Told: TypeAlias = Callable[[Outcome], None]


@dataclass(slots=True)
class Batch:
    """The outcomes of operations, one by one, and what they changed.

    Args:
        seconds: how long the commit took; None if there was none, or several.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    changes: Changes = field(default_factory=Changes)
    seconds: float | None = None
