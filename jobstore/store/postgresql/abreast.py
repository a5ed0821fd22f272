"""Operations of a batch run side by side, so that a statement of many is sent only once.

Each statement sent to PostgreSQL is a round trip, and costs the server as much as the row that it
changes. So the operations of a batch run side by side, each up to its next statement. If several
want the same statement, it is executed once for all of them, with a row of values for each, and
each operation continues with its own part of the result.

The statement for many is derived from the statement for one: columns of the table of values replace
its parameters. Guards and everything else stay as they are.

**Invariants.** At each step, the operations continue in the order of their arrival. Between two
steps of one, the others have made theirs; so what an operation decides by memory has to be written
to memory before its next statement. In the database, the statements of two operations interleave
like those of two nodes. So an operation never runs beside one on which it depends: operations that
read the end of a job run in a turn of their own, after all ends, and two ends of one attempt are
never in one turn.

Each operation runs on a stack of its own, a greenlet, which is left where it waits for a result. A
new one takes 10 us, most of them in the kernel, and one that has run an operation before 1.5 us. So
those that came to the end of theirs are kept for the next batch; what an operation is refused with
goes through its greenlet, which ends by that.
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, TypeAlias

from greenlet import getcurrent, greenlet
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Insert,
    Select,
    Update,
    bindparam,
    column,
    func,
    insert,
    select,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import NullType, TypeEngine

from jobstore.model.frozen import frozen
from jobstore.store.expressions import Statement
from jobstore.store.postgresql.journeys import Journeys, Sent
from jobstore.store.postgresql.packing import packed

_ORDER: Final = "ord"
# How many greenlets are kept; a batch has more operations only where many wait.
_MOST_IDLE: Final = 256


@dataclass(slots=True)
class Given:
    """The result of a statement for one of the operations that executed it."""

    rows: list[Any]
    rowcount: int

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        return self.rows.pop(0) if self.rows else None

    def fetchall(self) -> list[Any]:
        """Return the remaining rows."""
        rows, self.rows = self.rows, []
        return rows

    def __iter__(self) -> Iterator[Any]:
        """Iterate over the remaining rows."""
        return iter(self.fetchall())


# What nobody has asked for.
NOTHING: Final = Given([], 1)


# Questions without parameters, and their rows; None for those not yet asked.
Foreseen: TypeAlias = dict[Statement, list[Any] | None]


@dataclass(slots=True)
class PendingStatement:
    """A statement that an operation wants to have executed."""

    statement: Statement
    values: Mapping[str, object]


@dataclass(slots=True)
class _Walk:
    """An operation that is being run.

    Args:
        way: the function.
        walker: the greenlet in which it runs.
        wants: the statement that it waits for.
        given: the result of that; None before its first step.
        outcome: what it has returned.
    """

    way: Callable[[], Any]
    walker: greenlet
    wants: PendingStatement = field(init=False)
    given: Given | None = None
    outcome: Any = None


@dataclass(slots=True)
class _Receiving:
    """A sent statement, and how its result is divided."""

    sent: Sequence[Sent]
    share: Callable[[Sequence[Sent], int], list[Given]]

    def parts(self, count: int) -> list[Given]:
        return self.share(self.sent, count)


class _Idle(threading.local):
    """The greenlets of a thread that have nothing to run."""

    def __init__(self) -> None:
        self.walkers: list[greenlet] = []

    def take(self) -> greenlet:
        if self.walkers:
            return self.walkers.pop()
        walker = greenlet(_walk_for_ever)
        walker.switch()
        return walker

    def keep(self, walker: greenlet) -> None:
        if len(self.walkers) < _MOST_IDLE:
            self.walkers.append(walker)


_IDLE: Final = _Idle()


def _walk_for_ever() -> None:
    """Run one operation after the other, and hold on to none that has ended."""
    hub = getcurrent().parent
    assert hub is not None
    while True:
        one: _Walk = hub.switch(None)
        one.outcome = one.way()
        del one


def want(statement: Statement, values: Mapping[str, object]) -> Given:
    """Request the execution of a statement together with others; called by an operation."""
    hub = getcurrent().parent
    assert hub is not None
    given: Given = hub.switch(PendingStatement(statement, values))
    return given


async def walk(
    journeys: Journeys,
    ways: Sequence[Callable[[], Any]],
    left: list[PendingStatement],
    foreseen: Foreseen,
) -> list[Any]:
    """Run functions side by side to their ends.

    Args:
        journeys: sends the statements; those sent before go along with the first round trip.
        ways: the functions; each calls `want` for its statements.
        left: statements whose results nobody needs, added by the functions. They are sent
            before the next wanted statement, or with whatever is sent next.
        foreseen: what the functions will ask, added by them; it is asked after their next
            statements.

    Returns:
        what the functions return.
    """
    walks = [_Walk(way, _IDLE.take()) for way in ways]
    going = walks
    while going:
        going = [one for one in going if _goes_on(one)]
        _send(journeys, left)
        if going:
            await _execute(journeys, going, foreseen)
    return [one.outcome for one in walks]


def _goes_on(one: _Walk) -> bool:
    """Run an operation up to its next statement; return whether there is one."""
    wanted: PendingStatement | None = one.walker.switch(one if one.given is None else one.given)
    if wanted is None:
        _IDLE.keep(one.walker)
        return False
    one.wants = wanted
    return True


async def _execute(journeys: Journeys, walks: Sequence[_Walk], foreseen: Foreseen) -> None:
    """Execute all wanted statements in one round trip."""
    groups: dict[int, list[_Walk]] = {}
    for one in walks:
        groups.setdefault(id(one.wants.statement), []).append(one)
    going = [(group, _sent(journeys, [one.wants for one in group])) for group in groups.values()]
    asked = {each: journeys.send(each, {}) for each, rows in foreseen.items() if rows is None}
    await journeys.make()
    foreseen |= {each: _rows(sent) for each, sent in asked.items()}
    for group, receiving in going:
        for one, given in zip(group, receiving.parts(len(group)), strict=True):
            one.given = given


def _send(journeys: Journeys, left: list[PendingStatement]) -> None:
    """Send statements whose results are ignored."""
    groups: dict[int, list[PendingStatement]] = {}
    for asked in left:
        groups.setdefault(id(asked.statement), []).append(asked)
    for wanted in groups.values():
        _sent(journeys, wanted)
    left.clear()


def _sent(journeys: Journeys, wanted: Sequence[PendingStatement]) -> _Receiving:
    """Send a statement for all operations that want it."""
    statement = wanted[0].statement
    if len(wanted) > 1 and not wanted[0].values:
        return _Receiving([journeys.send(statement, {})], _copies)
    many = _many(statement) if len(wanted) > 1 else None
    if many is None:
        return _Receiving([journeys.send(statement, each.values) for each in wanted], _each)
    lists = {
        name: packed(kind, [each.values[name] for each in wanted])
        for name, kind in many.types.items()
    }
    return _Receiving([journeys.send(many.statement, lists)], _ids if many.inserts else _parts)


def _each(sent: Sequence[Sent], _: int) -> list[Given]:
    """Return each operation's own result."""
    return [Given(_rows(one), one.rowcount) for one in sent]


def _copies(sent: Sequence[Sent], count: int) -> list[Given]:
    """Return the same result for all: the statement has no parameters."""
    return [Given([*_rows(sent[0])], sent[0].rowcount) for _ in range(count)]


def _ids(sent: Sequence[Sent], count: int) -> list[Given]:
    """Return the id of each operation's row: ids are given out in the order of the rows."""
    ids = sorted(row[0] for row in _rows(sent[0]))
    return [Given([(row_id,)], 1) for row_id in ids] or [Given([], 1) for _ in range(count)]


def _parts(sent: Sequence[Sent], count: int) -> list[Given]:
    """Return each operation's rows, which carry its number."""
    given = [Given([], 0) for _ in range(count)]
    for *row, place in _rows(sent[0]):
        given[place - 1].rows.append(tuple(row))
    for each in given:
        each.rowcount = len(each.rows)
    return given


def _rows(sent: Sent) -> list[Any]:
    assert sent.rows is not None  # it is answered
    return sent.rows


@frozen
class _Many:
    """A statement for many operations, derived from one for a single operation.

    Args:
        types: the types of the parameters, by name; each takes a list now.
        inserts: whether it inserts rows.
    """

    statement: Statement
    types: Mapping[str, TypeEngine[Any]]
    inserts: bool


@cache
def _many(statement: Statement) -> _Many | None:
    """Derive the statement for many; None if that is not possible."""
    element = statement.postgresql
    types = statement.pg_types
    if not types or any(isinstance(each, NullType) for each in types.values()):
        return None
    table = listing(types)
    if isinstance(element, Insert) and statement.row is not None:
        many = _many_inserts(element, statement.row, table)
    elif isinstance(element, Update):
        many = _with(table, element).returning(table.c[_ORDER])
    elif isinstance(element, Select) and " LIMIT " not in statement.pg_sql:
        many = _with(table, element).add_columns(table.c[_ORDER])
    else:
        return None
    return _Many(Statement(many), types, inserts=isinstance(element, Insert))


def _with(table: Any, element: Any) -> Any:
    """Replace parameters by columns of the table of values."""

    def replace(each: Any, **_: Any) -> Any:
        return table.c[each.key] if isinstance(each, BindParameter) else None

    replaced: Any = replacement_traverse(element, {}, replace)  # type: ignore[call-overload]
    return replaced


def _many_inserts(
    element: Insert, row: Mapping[str, ColumnElement[Any]], table: Any
) -> ClauseElement:
    values = {name: _with(table, value) for name, value in row.items()}
    rows = select(*values.values()).select_from(table).order_by(table.c[_ORDER])
    many: Any = insert(element.table).from_select([*values], rows)
    if "id" in element.table.columns:
        many = many.returning(element.table.c.id)
    inserts: ClauseElement = many
    return inserts


def listing(types: Mapping[str, TypeEngine[Any]]) -> Any:
    """Return a table of values: a column for each parameter, bound as a list, and the order."""
    lists = [bindparam(name, type_=ARRAY(each)) for name, each in types.items()]
    columns = [column(name, each) for name, each in types.items()]
    values = func.unnest(*lists).table_valued(
        *columns, with_ordinality=_ORDER, name="given", joins_implicitly=True
    )
    return values.render_derived()
