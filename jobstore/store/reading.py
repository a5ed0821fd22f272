"""The interfaces of what reads a store, for both engines."""

from collections.abc import Sequence
from typing import Any, Protocol

from jobstore.store.expressions import Statement


class Reader(Protocol):
    """A connection that writes nothing; it raises the store's own errors."""

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and return all its rows."""

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and return its first row, or None."""


class Searcher(Reader, Protocol):
    """A connection for statements that may look at many rows."""

    async def within(
        self, seconds: float | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement as `rows` does, and stop it when its time is up.

        Args:
            seconds: how long it may take, including the wait for the connection, or None.

        Raises:
            TimeIsUp: it was stopped.
        """

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Execute statements that see the store at one moment; return their rows."""


class Points(Reader, Protocol):
    """Point reads of single rows, and values that are needed all the time, without waiting."""

    def revision(self, of: str) -> int:
        """Return a revision number: of accounts, schedules, or others' changes to the queue."""

    def kept(self, statement: Statement) -> list[Any]:
        """Return the rows of a short list that changes rarely: accounts, tokens, targets."""

    async def refresh(self) -> None:
        """Update the values of `revision` and `kept`."""
