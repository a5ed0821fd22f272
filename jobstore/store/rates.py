"""How many jobs owners have submitted lately, stored for several nodes.

A single server keeps that in memory: see `jobstore.live.owners`.
"""

from typing import Final

from sqlalchemy import bindparam, column, select, table

from jobstore.store.expressions import FRACTION, NUMBER, Statement, replacing
from jobstore.store.transaction import Transaction

_RATE: Final = table("rate", column("account", NUMBER), column("used_until", FRACTION))
USED: Final = Statement(
    select(_RATE.c.used_until)
    .where(_RATE.c.account == bindparam("account"))
    .with_for_update()  # one node after the other
)
USE: Final = replacing(_RATE, "account")


def used_until(tx: Transaction, account: int) -> float | None:
    """Return until when an account's allowance of submissions is used up.

    Returns:
        seconds since 1970; None if it has not submitted anything.
    """
    row = tx.execute(USED, account=account).fetchone()
    return None if row is None else float(row[0])


def use(tx: Transaction, account: int, until: float) -> None:
    """Store until when an account's allowance of submissions is used up."""
    tx.execute(USE, account=account, used_until=until)
