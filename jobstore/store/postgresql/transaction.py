"""A transaction in a database, and how its tally is written."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ARRAY, Text, column, func, select, table
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.types import TypeEngine

from jobstore.store.expressions import NUMBER, Statement, number
from jobstore.store.facts import Changes, Fact
from jobstore.store.postgresql.abreast import NOTHING, Foreseen, Given, PendingStatement, want
from jobstore.store.postgresql.journeys import Journeys
from jobstore.store.postgresql.many import listing
from jobstore.store.postgresql.packing import packed
from jobstore.store.tally import ON_DAY, USED, Tally
from jobstore.store.transaction import Rows, Transaction


def _counting(name: str, keys: Mapping[str, TypeEngine[Any]], *numbers: str) -> Statement:
    """Add to counters in this node's own rows, so that no node waits for another."""
    types = {**keys, **dict.fromkeys(numbers, NUMBER)}
    columns = [column(each, kind) for each, kind in types.items()]
    counter = table(name, *columns, column("slot", NUMBER))
    rows = select(*listing(types).columns.values()[: len(types)], number("slot"))
    row = insert(counter).from_select([*types, "slot"], rows)
    kept = {
        each: func.greatest(counter.c[each], row.excluded[each])
        if each == "longest_us"
        else counter.c[each] + row.excluded[each]
        for each in numbers
    }
    return Statement(row.on_conflict_do_update(index_elements=[*keys, "slot"], set_=kept))


COUNT: Final = _counting("counter_slot", {"machine": Text(), "state": Text()}, "count")
USE: Final = _counting("account_usage_slot", {"account": NUMBER}, *USED)
DO: Final = _counting("day_slot", {"day": NUMBER}, *ON_DAY)


@dataclass(slots=True)
class Shared:
    """What the operations of one transaction share.

    Args:
        journeys: sends statements to the database.
        slot: the number of the node's start, whose counters are changed.
        now: the transaction's time, in microseconds since 1970.
        changes: what its batch has changed so far.
        followed: whether any job waits for another one's success; None if not yet known.
        tally: its changes to counters.
        left: insertions that are sent with the next statement.
        foreseen: questions that go along with the next statement, and the rows of those answered.
    """

    journeys: Journeys
    slot: int
    now: int
    changes: Changes
    followed: bool | None = None
    tally: Tally = field(default_factory=Tally)
    left: list[PendingStatement] = field(default_factory=list)
    foreseen: Foreseen = field(default_factory=dict)

    def send_tally(self) -> None:
        """Send the tally, once, at the end of the transaction."""
        for statement, values in tallied(self.tally, self.slot):
            self.journeys.send(statement, values)


def tallied(tally: Tally, slot: int) -> Iterator[tuple[Statement, dict[str, object]]]:
    """Return the statements that write the tally, with their values.

    Args:
        slot: the number of the start whose counters are changed.
    """
    counts = [
        {"machine": "job" if word in tally.states else "result", "state": word, "count": count}
        for word, count in tally.counts.items()
        if count
    ]
    usage = [{"account": account, **used} for account, used in tally.usage]
    days = [{"day": day, **done} for day, done in tally.days]
    for statement, rows in ((COUNT, counts), (USE, usage), (DO, days)):
        if rows:
            lists = {
                name: packed(kind.item_type, [row[name] for row in rows])
                for name, kind in statement.pg_types.items()
                if isinstance(kind, ARRAY)
            }
            yield statement, {**lists, "slot": slot}


class NodeTransaction(Transaction):
    """A transaction of a node, as one of its operations sees it.

    Args:
        shared: what it shares with the other operations.

    Attributes:
        effects: how many changes it has made and facts it has reported so far.
    """

    __slots__ = ("_shared", "effects")

    shared = True

    def __init__(self, shared: Shared) -> None:
        self.effects = 0
        self._shared = shared
        self.now, self.changes, self.tally = shared.now, shared.changes, shared.tally

    @property
    def followed(self) -> bool | None:
        """Whether any job waits for another one's success; None if not yet known."""
        return self._shared.followed

    @followed.setter
    def followed(self, followed: bool | None) -> None:
        self._shared.followed = followed

    def execute(self, statement: Statement, **values: object) -> Rows:
        """Execute a statement with values for its parameters."""
        values = self._with_boot(statement, values)
        if statement.row is not None:  # an insertion: nobody has to wait for it
            self._shared.left.append(PendingStatement(statement, values))
            self.effects += 1
            return NOTHING
        rows = self._shared.foreseen.get(statement)
        given = want(statement, values) if rows is None else Given([*rows], len(rows))
        if statement.changes:
            self.effects += given.rowcount
        return given

    def foresee(self, statement: Statement) -> None:
        """Announce a question, which goes along with the next statement of any operation."""
        self._shared.foreseen.setdefault(statement)

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        values = self._with_boot(statement, values)
        row = want(statement, values).fetchone()  # see `returning_id`
        self.effects += 1
        return int(row[0])

    def _with_boot(self, statement: Statement, values: dict[str, object]) -> dict[str, object]:
        if "own_boot" in statement.pg_types:
            values["own_boot"] = self._shared.slot
        return values

    def tell(self, fact: Fact) -> None:
        """Report a fact about what this transaction changes; it counts once committed."""
        self.effects += 1
        super().tell(fact)
