"""How many jobs are in each state, as the tally keeps count of them."""

from typing import Final

from sqlalchemy import select

from jobstore.model.lifecycle import State
from jobstore.store import schema
from jobstore.store.expressions import Statement
from jobstore.store.transaction import Transaction

COUNTERS: Final = Statement(
    select(schema.COUNTER.c.machine, schema.COUNTER.c.state, schema.COUNTER.c.count)
)


def count_queued(tx: Transaction) -> int:
    """Return how many jobs are queued."""
    counters = tx.execute(COUNTERS).fetchall()
    queued: int = sum(
        n for machine, state, n in counters if (machine, state) == ("job", State.QUEUED)
    )
    return queued + tx.tally.queued
