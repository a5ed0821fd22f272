"""Whether a submission would be accepted now, and if not, why.

Targets are not checked: one slow service is no reason to take the store out of rotation, since its
jobs can wait. Neither is recovery, during which submissions are accepted.
"""

from collections.abc import Mapping
from typing import Final

from jobstore.live.store import Store
from jobstore.model.errors import StoreAway, StoreDenied, StoreError, StoreReadOnly

# For how long the writer may commit nothing, in seconds.
PATIENCE: Final = 10.0
# What strangers are told where an error's own words tell more than that: of addresses and users.
_CLAUSES: Final[Mapping[type[StoreError], str]] = {
    StoreAway: "the database cannot be reached",
    StoreDenied: "the database does not allow that",
    StoreReadOnly: "the database is read-only",
}


class Health:
    """Report the state of a server.

    Args:
        patience: for how long the writer may commit nothing, in seconds.
    """

    def __init__(self, store: Store, patience: float = PATIENCE) -> None:
        self._store = store
        self._patience = patience

    async def checks(self) -> Mapping[str, str | None]:
        """Return for each check what is wrong, as a clause, or None."""
        store, sizes = self._store, await self._store.census.sizes()
        queued, limit = store.queue()
        return {
            "server": None if store.accepting else "the server is shutting down",
            "store": _clause(store.look()),
            "writer": self._writer(),
            "room": None if sizes is None else store.file.full(sizes),
            "queue": None if queued < limit else "the queue is full",
        }

    def _writer(self) -> str | None:
        if self._store.pulse.silent < self._patience:
            return None
        return f"no commit for {self._store.pulse.silent:.0f} s"


def _clause(error: StoreError | None) -> str | None:
    return None if error is None else _CLAUSES.get(type(error), error.problem)
