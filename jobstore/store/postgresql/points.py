"""A quick look at single rows, and what a node keeps in memory of what changes rarely."""

from typing import Any, Final

from sqlalchemy import select

from jobstore.store import accounts, schema, target_states
from jobstore.store.expressions import Statement
from jobstore.store.postgresql.engine import DatabaseConnection

REVISIONS: Final = Statement(select(schema.REVISION.c.of, schema.REVISION.c.number))
# What is kept in memory, by what counts its changes.
_KEPT: Final = {
    "accounts": (accounts.LIST, accounts.LIST_TOKENS),
    "targets": (target_states.STATES,),
}


class NodePoints:
    """Look at rows that are found by their key; see `jobstore.store.reading.Points`.

    Each request is somebody's, and no request waits for the database to say whose: accounts are in
    memory. A change of them is announced by the transaction that makes it, whoever makes it; a node
    that did not hear that finds out at its next beat.

    Args:
        connection: a connection for reading.
    """

    def __init__(self, connection: DatabaseConnection) -> None:
        self._connection = connection
        self._revisions: dict[str, int] = {}
        self._lists: dict[Statement, list[Any]] = {}
        self.rows = connection.rows
        self.row = connection.row

    def revision(self, of: str) -> int:
        """Tell how often something was changed: accounts, schedules, or the queue from outside."""
        return self._revisions[of]

    def kept(self, statement: Statement) -> list[Any]:
        """Give the rows of a short list that changes rarely: accounts, tokens, targets."""
        return self._lists[statement]

    async def refresh(self) -> None:
        """Let `revision` and `kept` say what is so by now.

        Raises:
            StoreError: the database cannot be asked; what was known before is still said.
        """
        revisions = dict(await self._connection.rows(REVISIONS))
        for of, lists in _KEPT.items():
            if revisions[of] != self._revisions.get(of):
                self._lists |= {each: await self._connection.rows(each) for each in lists}
        # Not before: what could not be read must not pass for known.
        self._revisions = revisions
