"""A transaction of a database, and how what it has counted is written there."""

from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import BigInteger, Column, MetaData, Table, Text, bindparam, func
from sqlalchemy.dialects.postgresql import insert

from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes, Fact
from jobstore.store.postgresql.abreast import want
from jobstore.store.postgresql.engine import Link, execute
from jobstore.store.tally import ON_DAY, USED, Tally
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


@dataclass(slots=True)
class Shared:
    """What the operations of one transaction have in common.

    Args:
        link: where it runs.
        slot: the number of the node's start, whose own numbers are added to.
        now: its time, in microseconds since 1970.
        changes: what its batch has changed so far.
        followed: whether any job waits for the success of another; None until somebody has looked.
        tally: what it has changed of the numbers that are kept of the jobs.
    """

    link: Link
    slot: int
    now: int
    changes: Changes
    followed: bool | None = None
    tally: Tally = field(default_factory=Tally)

    async def write_tally(self) -> None:
        """Write what was counted, once, as the last thing in the transaction."""
        tally, slot = self.tally, self.slot
        for word, count in sorted(tally.counts.items()):
            if count:
                machine = "job" if word in tally.states else "result"
                values = {"machine": machine, "state": word, "slot": slot, "count": count}
                await execute(self.link, COUNT, values)
        for account, used in sorted(tally.usage):
            await execute(self.link, USE, {"account": account, "slot": slot, **used})
        for day, done in sorted(tally.days):
            await execute(self.link, DO, {"day": day, "slot": slot, **done})


class NodeTransaction(Transaction):
    """A transaction of a node, as one of its operations sees it.

    Args:
        shared: what it has in common with the others.

    Attributes:
        effects: how much it has changed and told so far.
    """

    __slots__ = ("_shared", "effects")

    shared = True

    def __init__(self, shared: Shared) -> None:
        self.effects = 0
        self._shared = shared
        self.now, self.changes, self.tally = shared.now, shared.changes, shared.tally

    @property
    def followed(self) -> bool | None:
        """Whether any job waits for the success of another; None until somebody has looked."""
        return self._shared.followed

    @followed.setter
    def followed(self, followed: bool | None) -> None:
        self._shared.followed = followed

    def execute(self, statement: Statement, **values: object) -> Rows:
        """Execute a statement with values for its parameters."""
        if "own_boot" in statement.pg_types:
            values["own_boot"] = self._shared.slot
        given = want(statement, values)
        if statement.changes:
            self.effects += given.rowcount
        return given

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        row = self.execute(statement, **values).fetchone()  # SQLAlchemy lets it return the id
        return int(row[0])

    def tell(self, fact: Fact) -> None:
        """Tell what this transaction changes, for when it is committed."""
        self.effects += 1
        super().tell(fact)
