"""What reads a store, whichever engine it is on."""

from collections.abc import Sequence
from typing import Any, Protocol

from jobstore.store.expressions import Statement


class Reader(Protocol):
    """A connection that writes nothing; it raises the store's own errors."""

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows."""

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and give its first row, or None."""


class Searcher(Reader, Protocol):
    """A connection for statements that may look at many rows."""

    async def within(
        self, seconds: float | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement as `rows` does, and stop it when its time is over.

        Args:
            seconds: how long it may take, the wait for the connection included, or None.

        Raises:
            TimeIsUp: it was stopped.
        """

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Execute statements that find the store as of one moment; give their rows."""


class Points(Reader, Protocol):
    """A quick look at single rows; and what is looked at all the time, without waiting for it."""

    def revision(self, of: str) -> int:
        """Tell how often something was changed: accounts, schedules, or the queue from outside."""

    def kept(self, statement: Statement) -> list[Any]:
        """Give the rows of a short list that changes rarely: accounts, tokens, targets."""

    async def refresh(self) -> None:
        """Let `revision` and `kept` say what is so by now."""
