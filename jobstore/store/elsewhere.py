"""What other nodes are doing at the moment, where two nodes must not do the same.

**Results in delivery.** A node marks each result that it takes, or delivers in pieces, with the
number of its start. The mark counts until that start ends: results that a dead node
was delivering are free again.

**Decisions that two nodes must not make at the same time** are made under a lock that is held until
the commit: `lock` waits for it.
"""

from collections import Counter
from typing import Final

from sqlalchemy import Text, and_, any_, bindparam, func, literal_column, null, or_, select, update

from jobstore.model.clock import SECOND
from jobstore.model.lifecycle import Result, State
from jobstore.store import schema
from jobstore.store.expressions import NUMBER, Statement, number
from jobstore.store.guards import (
    ZERO,
    elsewhere,
    in_state,
    no_reader,
    now,
    own_boot,
    still_with_result,
    this_job,
)
from jobstore.store.transaction import Transaction

_job: Final = schema.JOB.c

# A small result is marked as taken before it is sent. Other nodes take it to be on its way for so
# long after that; of deliveries that take longer, the node keeps a list.
_MOMENT: Final = 3 * SECOND
_held: Final = still_with_result(Result.HELD)
RESERVE: Final = Statement(
    update(schema.JOB).where(this_job, _held, no_reader).values(reader=own_boot)
)
UNRESERVE: Final = Statement(
    update(schema.JOB).where(this_job, _held, _job.reader == number("reader")).values(reader=null())
)
ON_ITS_WAY: Final = Statement(
    select(_job.id)
    .join_from(schema.JOB, schema.BOOT, schema.BOOT.c.id == _job.reader)
    .where(
        this_job,
        elsewhere(_job.reader),
        or_(
            _held,
            and_(
                still_with_result(Result.TAKEN),
                or_(
                    _job.fetched_at > now - literal_column(str(_MOMENT), NUMBER),
                    _job.id == any_(schema.BOOT.c.delivering),
                ),
            ),
        ),
    )
)


def reserve(tx: Transaction, job_id: int) -> bool:
    """Reserve a held result for a reader of this node, until it is taken or held again.

    Returns:
        False if another node has it.
    """
    return tx.execute(RESERVE, job_id=job_id).rowcount == 1


def unreserve(tx: Transaction, job_id: int, reader: int) -> None:
    """End the reservation of a held result.

    Args:
        reader: the start of the node that reserved it.
    """
    tx.execute(UNRESERVE, job_id=job_id, reader=reader)


def on_its_way(tx: Transaction, job_id: int) -> bool:
    """Return whether another node is delivering a result."""
    return tx.shared and tx.execute(ON_ITS_WAY, job_id=job_id, now=tx.now).fetchone() is not None


# --- one node after the other ---------------------------------------------------------------------


LOCK: Final = Statement(
    select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("word", type_=Text), ZERO)))
)
RUNNING: Final = Statement(
    select(_job.account, func.count())
    .where(in_state(State.RUNNING), _job.boot != own_boot)
    .group_by(_job.account)
)


def lock(tx: Transaction, word: str) -> None:
    """Wait until no other transaction holds the lock of a name, and hold it until the commit."""
    tx.execute(LOCK, word=word)


def running(tx: Transaction) -> Counter[int]:
    """Count each account's running jobs at other nodes; no job starts there until the commit."""
    lock(tx, "running")
    return Counter(dict(tx.execute(RUNNING)))


# --- who reaches a target -------------------------------------------------------------------------


_served: Final = schema.SERVED.c
REACHED: Final = Statement(
    select(_served.boot).where(
        _served.target == bindparam("target"),
        _served.held_at.is_(None),
        elsewhere(_served.boot),
    )
)


def reached(tx: Transaction, target: str) -> bool:
    """Return whether another node can reach a target."""
    return tx.shared and tx.execute(REACHED, target=target).fetchone() is not None
