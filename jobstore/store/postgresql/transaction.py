"""A transaction of a database, and how what it has counted is written there."""

from typing import Any, Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, func
from sqlalchemy.dialects.postgresql import insert

from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.postgresql.engine import Link, execute
from jobstore.store.tally import ON_DAY, USED
from jobstore.store.transaction import Rows, Transaction

_METADATA: Final = MetaData()


def _counting(name: str, keys: dict[str, type[Any]], *numbers: str) -> Statement:
    """Add numbers to those in a row of one's own: each node has one, so that none waits."""
    columns = [Column(key, of, primary_key=True) for key, of in keys.items()]
    table = Table(name, _METADATA, *columns, *(Column(each, BigInteger) for each in numbers))
    row = insert(table).values({column.name: bindparam(column.name) for column in table.columns})
    kept = {
        each: func.greatest(table.c[each], row.excluded[each])
        if each == "longest_us"
        else table.c[each] + row.excluded[each]
        for each in numbers
    }
    return Statement(row.on_conflict_do_update(index_elements=[*keys], set_=kept))


COUNT: Final = _counting(
    "counter_slot", {"machine": Text, "state": Text, "slot": BigInteger}, "count"
)
USE: Final = _counting("account_usage_slot", {"account": BigInteger, "slot": BigInteger}, *USED)
DO: Final = _counting("day_slot", {"day": BigInteger, "slot": BigInteger}, *ON_DAY)


class NodeTransaction(Transaction):
    """A transaction of a node.

    Args:
        link: where it runs.
        slot: the number of the node's start, whose own numbers are added to.

    Attributes:
        changed: how many rows it has changed so far.
    """

    __slots__ = ("_link", "_slot", "changed")

    def __init__(self, link: Link, slot: int, now: int, changes: Changes) -> None:
        super().__init__(now, changes)
        self._link = link
        self._slot = slot
        self.changed = 0

    def execute(self, statement: Statement, **values: object) -> Rows:
        """Execute a statement with values for its parameters."""
        rows: Rows = self._executed(statement, values)
        return rows

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        row = self._executed(statement, values).fetchone()  # SQLAlchemy lets it return the id
        return int(row[0])

    def write_tally(self) -> None:
        """Write what was counted, once, as the last thing in the transaction."""
        tally, slot = self.tally, self._slot
        for word, count in sorted(tally.counts.items()):
            if count:
                machine = "job" if word in tally.states else "result"
                self.execute(COUNT, machine=machine, state=word, slot=slot, count=count)
        for account, used in sorted(tally.usage):
            self.execute(USE, account=account, slot=slot, **used)
        for day, done in sorted(tally.days):
            self.execute(DO, day=day, slot=slot, **done)

    def _executed(self, statement: Statement, values: dict[str, object]) -> Any:
        cursor = execute(self._link, statement, values)
        if not (cursor.statusmessage or "").startswith("SELECT"):
            self.changed += cursor.rowcount
        return cursor
