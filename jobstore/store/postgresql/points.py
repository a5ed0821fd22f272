"""Point reads, and rarely changing lists that a node keeps in memory."""

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
    """Read single rows by key; see `jobstore.store.reading.Points`.

    No request waits for the database to find out who sent it: accounts are kept in
    memory. Each transaction that changes them announces that; a node that misses
    the notice finds out at its next beat.

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
        """Return a revision number: of accounts, schedules, or others' changes to the queue."""
        return self._revisions[of]

    def kept(self, statement: Statement) -> list[Any]:
        """Return the rows of a short list that changes rarely: accounts, tokens, targets."""
        return self._lists[statement]

    async def refresh(self) -> None:
        """Update the values of `revision` and `kept`.

        Raises:
            StoreError: the database cannot be reached; the earlier values remain.
        """
        revisions = dict(await self._connection.rows(REVISIONS))
        for of, lists in _KEPT.items():
            if revisions[of] != self._revisions.get(of):
                self._lists |= {each: await self._connection.rows(each) for each in lists}
        # Not before: what could not be read must not pass for known.
        self._revisions = revisions
