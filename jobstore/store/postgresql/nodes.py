"""The nodes that share a database, for anybody who can read it."""

from collections.abc import Sequence
from typing import Any, Final

from jobstore.model.clock import SECOND
from jobstore.model.errors import StoreError
from jobstore.store.history import History
from jobstore.store.postgresql import boots
from jobstore.store.search import Death
from jobstore.store.starts import Start, StartState, started
from jobstore.store.transaction import Transaction

_ENOUGH: Final = 10_000
_OVER: Final = (StartState.DIED, StartState.SILENT)


async def latest(history: History, limit: int, lease: float) -> list[Start]:
    """List the newest starts of nodes, the newest first.

    Args:
        lease: how long a node may be silent before the others declare it dead, in seconds.
    """
    return [decoded(row, lease) for row in await history.rows(boots.LATEST, limit=limit)]


def decoded(row: Sequence[Any], lease: float) -> Start:
    """Return the start in a row of `boots.LATEST`; a live node writes within each lease."""
    *start, died, now = row
    seen_at, ended_at = start[-2:]
    if ended_at is not None:
        return started(start, StartState.DIED if died else StartState.ENDED)
    silent = now - seen_at > lease * SECOND
    return started(start, StartState.SILENT if silent else StartState.ALIVE)


async def last_death(history: History, lease: float) -> Death:
    """Return the last node that died or has been silent for too long.

    Running jobs are over if their start is older than those of all live nodes.
    """
    starts = await latest(history, _ENOUGH, lease)
    alive = [start.boot for start in starts if start.state is StartState.ALIVE]
    over = min(alive) - 1 if alive else max((start.boot for start in starts), default=0)
    died = next((start for start in starts if start.state in _OVER), None)
    if died is None:
        return Death(boot=0, over=over)
    return Death(
        boot=died.boot,
        over=over,
        pid=died.pid,
        started_at=died.started_at,
        restarted_at=died.ended_at,
    )


def keep_out(tx: Transaction, name: str, lease: float) -> None:
    """Keep nodes from writing or joining until the transaction is over.

    Each batch of a node writes to the row of its start, and so waits for this transaction.

    Raises:
        StoreError: a node is alive.
    """
    tx.execute(boots.PATIENTLY)
    tx.execute(boots.KEEP_OUT)
    for row in tx.execute(boots.LATEST, limit=_ENOUGH):
        start = decoded(row, lease)
        if start.state is StartState.ALIVE:
            node = start.name or f"node {start.boot}"
            problem = (
                f"{node} (process id {start.pid} on {start.host}) is alive; stop all nodes first"
            )
            raise StoreError(name, problem)
