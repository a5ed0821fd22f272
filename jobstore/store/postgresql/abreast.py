"""Operations of a batch run side by side, so that a statement of many is sent only once.

Each statement sent to PostgreSQL is a round trip, and costs the server as much as the row that it
changes. So the operations of a batch run side by side, each up to its next statement. If several
want the same statement, it is executed once for all of them, with a row of values for each, and
each operation continues with its own part of the result.

**Invariants.** At each step, the operations continue in the order of their arrival. Between two
steps of one, each other one has made one; so what an operation decides by memory has to be written
to memory before its next statement. In the database, the statements of two operations interleave
like those of two nodes. So an operation never runs beside one on which it depends: operations that
read the end of a job run in a turn of their own, after all ends, and two ends of one attempt are
never in one turn.

If they are many, they go in a few parties. While the database works on what one of them wants, the
next one makes its steps, so neither waits for the other all the time. What the first party sends
next is behind everything that the last one has sent, so they stay in their order.

Each operation runs on a stack of its own, a greenlet, which is left where it waits for a result. A
new one takes 10 us, most of them in the kernel, and one that has run an operation before 1.5 us. So
those that came to the end of theirs are kept for the next batch; an error goes through the greenlet
of its operation, which ends by that.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from greenlet import getcurrent, greenlet

from jobstore.store.expressions import Statement
from jobstore.store.postgresql.journeys import Journeys, Sent
from jobstore.store.postgresql.many import many
from jobstore.store.postgresql.packing import packed

# How many greenlets are kept; a batch has more operations only where many wait.
_MOST_IDLE: Final = 256
# Into how many parties the operations of a batch are divided, and from how many on.
_PARTIES: Final = 4
MANY: Final = 16


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
        ended: whether it has returned, so that the greenlet runs others.
    """

    way: Callable[[], Any]
    walker: greenlet
    wants: PendingStatement = field(init=False)
    given: Given | None = None
    outcome: Any = None
    ended: bool = False

    def break_off(self) -> None:
        """End an operation that waits for what will never come.

        What it holds on to would be kept for ever: no collection sees what a greenlet that stands
        still refers to, such as the connection that knows why it is lost, and by that the greenlet.
        """
        if not (self.ended or self.walker.dead):
            self.walker.throw()


@dataclass(slots=True)
class _Receiving:
    """A sent statement, and how its result is divided."""

    sent: Sequence[Sent]
    share: Callable[[Sequence[Sent], int], list[Given]]

    def parts(self, count: int) -> list[Given]:
        return self.share(self.sent, count)


@dataclass(slots=True)
class _Party:
    """Operations that take their steps at the same time.

    Args:
        journeys: sends their statements.
        left: see `walk`.
        foreseen: see `walk`.
        going: those that have not ended.
        waiting: what each group of them waits for.
        asked: the questions that go along.
    """

    journeys: Journeys
    left: list[PendingStatement]
    foreseen: Foreseen
    going: list[_Walk]
    waiting: list[tuple[list[_Walk], _Receiving]] = field(init=False)
    asked: dict[Statement, Sent] = field(init=False)

    async def set_out(self) -> bool:
        """Let each operation take a step, and send what they want; return whether any does."""
        self.going = [one for one in self.going if _goes_on(one)]
        _send(self.journeys, self.left)
        if not self.going:
            return False
        groups: dict[int, list[_Walk]] = {}
        for one in self.going:
            groups.setdefault(id(one.wants.statement), []).append(one)
        self.waiting = [
            (group, _sent(self.journeys, [one.wants for one in group])) for group in groups.values()
        ]
        unasked = [each for each, rows in self.foreseen.items() if rows is None]
        self.asked = {each: self.journeys.send(each, {}) for each in unasked}
        await self.journeys.set_out()
        return True

    async def come_back(self) -> None:
        """Wait for the answers, and give each operation its own."""
        await self.journeys.come_back()
        self.foreseen |= {each: _rows(sent) for each, sent in self.asked.items()}
        for group, receiving in self.waiting:
            for one, given in zip(group, receiving.parts(len(group)), strict=True):
                one.given = given


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
    parties = [_Party(journeys, left, foreseen, going) for going in _parts(walks)]
    try:
        await _make_trips(parties)
    except BaseException:
        for one in walks:
            one.break_off()
        raise
    return [one.outcome for one in walks]


async def _make_trips(parties: Sequence[_Party]) -> None:
    """Let each party go on when its answers have come, until all have ended."""
    under_way = deque([party for party in parties if await party.set_out()])
    while under_way:
        party = under_way.popleft()
        await party.come_back()
        if await party.set_out():
            under_way.append(party)


def _parts(walks: list[_Walk]) -> list[list[_Walk]]:
    """Divide operations, if they are many."""
    if len(walks) < MANY:
        return [walks]
    size = -(-len(walks) // _PARTIES)
    return [walks[at : at + size] for at in range(0, len(walks), size)]


def _goes_on(one: _Walk) -> bool:
    """Run an operation up to its next statement; return whether there is one."""
    said = one if one.given is None else one.given
    wanted: PendingStatement | None = one.walker.switch(said)
    if wanted is None:
        one.ended = True
        _IDLE.keep(one.walker)
        return False
    one.wants = wanted
    return True


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
    for_many = many(statement) if len(wanted) > 1 else None
    if for_many is None:
        return _Receiving([journeys.send(statement, each.values) for each in wanted], _each)
    # In the order of the types.
    columns = zip(*[statement.pg_bound(each.values) for each in wanted], strict=True)
    kinds = zip(for_many.types.items(), columns, strict=True)
    lists = {name: packed(kind, column) for (name, kind), column in kinds}
    share = _ids if for_many.inserts else _numbered
    return _Receiving([journeys.send(for_many.statement, lists)], share)


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


def _numbered(sent: Sequence[Sent], count: int) -> list[Given]:
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
