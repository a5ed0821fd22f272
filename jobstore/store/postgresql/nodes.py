"""Who shares a database, as anybody may ask who can read it."""

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
        lease: for how long a node may be silent until the others declare it dead, in seconds.
    """
    return [decoded(row, lease) for row in await history.rows(boots.LATEST, limit=limit)]


def decoded(row: Sequence[Any], lease: float) -> Start:
    """Give the start in a row of `boots.LATEST`; a node shows within each lease that it lives."""
    *start, died, now = row
    seen_at, ended_at = start[-2:]
    if ended_at is not None:
        return started(start, StartState.DIED if died else StartState.ENDED)
    silent = now - seen_at > lease * SECOND
    return started(start, StartState.SILENT if silent else StartState.ALIVE)


async def last_death(history: History, lease: float) -> Death:
    """Tell which node was the last one that died, or has been silent for too long.

    What runs is over where its start is older than those of all nodes that are alive.
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
    """Let no node write, nor join, until the transaction is over.

    Each batch of a node writes into the row of its start, and so waits here.

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
