"""The one writer: operations collect while a commit is in flight, then share the next.

No linger and no timer: an operation that comes alone is committed at once, and the more come at
the same time, the more of them share one sync of the disk. The order of arrival is the order of
execution, so that of two operations on one job the first decides.

Statements take microseconds and run right here; only what may take long goes to the connection's
own thread: the commit, which waits for the disk, and operations that say so. In that thread each
statement would have to wait for Python's lock, which the loop gives away rarely while it is busy:
measured, 230 us an operation instead of 12.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, cast

from jobstore.clock import Clock
from jobstore.errors import JobstoreError, StoreBusy, StoreFull
from jobstore.store.sqlite import Connection, Statement, begin, begin_patiently, translate

# How long to wait for room on the disk before the next try.
INSIST_SECONDS: Final = 0.5

T = TypeVar("T")
log = logging.getLogger(__name__)


class Transaction:
    """One write transaction, with its one now.

    Args:
        connection: where it runs.
        now: its time, in microseconds since 1970.
    """

    __slots__ = ("connection", "now")

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.connection = connection
        self.now = now

    def execute(self, statement: Statement, **values: object) -> sqlite3.Cursor:
        """Execute a statement with values for its parameters."""
        return self.connection.execute(statement.sql, values)

    def insert(self, statement: Statement, **values: object) -> int:
        """Execute an INSERT of one row and return the row's id."""
        row_id = self.execute(statement, **values).lastrowid
        return cast("int", row_id)


Operation: TypeAlias = Callable[[Transaction], T]


@dataclass(slots=True)
class _Entry:
    operation: Operation[Any]
    then: Callable[[Any], None] | None
    otherwise: Callable[[Exception], None] | None
    future: asyncio.Future[Any]
    aside: bool


@dataclass(slots=True)
class _Outcome:
    value: Any = None
    error: Exception | None = None


class Writer:
    """Run operations in transactions that many of them share.

    An operation is a function of a transaction. It may run a second time, in a transaction of its
    own, if another one of its batch fails; so it must have no effect but on the transaction.

    Args:
        connection: the connection; nothing else may write on it.
        path: the store's file, for messages.
        clock: what time it is.
    """

    def __init__(self, connection: Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._waiting: list[_Entry] = []
        self._turn = asyncio.Lock()
        self._busy: asyncio.Task[None] | None = None
        self._insisting: set[asyncio.Task[Any]] = set()

    @property
    def idle(self) -> bool:
        """Whether no operation waits or runs."""
        return self._busy is None

    def post(
        self,
        operation: Operation[T],
        then: Callable[[T], None] | None = None,
        otherwise: Callable[[Exception], None] | None = None,
        *,
        aside: bool = False,
    ) -> asyncio.Future[T]:
        """Queue an operation for the next transaction.

        Args:
            operation: what to do.
            then: called with its value right after the commit, in the order of operations, even
                if nobody waits for the future any more.
            otherwise: called with the error if it could not be committed, likewise.
            aside: whether it may take milliseconds, so that it must not run on the loop.

        Returns:
            a future of its value, which is there only after the commit.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(operation, then, otherwise, future, aside))
        if self._busy is None:
            self._busy = asyncio.create_task(self._work_off())
        return future

    def send(
        self,
        operation: Operation[T],
        then: Callable[[T], None] | None = None,
        otherwise: Callable[[Exception], None] | None = None,
    ) -> None:
        """Queue an operation as `post` does, where nobody waits for its value or its error."""
        self.post(operation, then, otherwise).add_done_callback(lambda done: done.exception())

    async def run(
        self,
        operation: Operation[T],
        then: Callable[[T], None] | None = None,
        *,
        aside: bool = False,
    ) -> T:
        """Run an operation and return its value once it is committed; see `post`.

        Raises:
            StoreError: it could not be committed.
        """
        return await self.post(operation, then, aside=aside)

    def insist(self, operation: Operation[T], *, aside: bool = False) -> asyncio.Task[T]:
        """Run an operation that must not get lost: while there is no room for it, try again."""
        task = asyncio.create_task(self._insist(operation, aside=aside))
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)
        return task

    async def _insist(self, operation: Operation[T], *, aside: bool) -> T:
        while True:
            try:
                return await self.run(operation, aside=aside)
            except (StoreFull, StoreBusy) as error:
                log.warning("%s; trying again", error, extra={"action": "insist"})
                await asyncio.sleep(INSIST_SECONDS)

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function between two transactions, such as a checkpoint."""
        async with self._turn:
            return await self._connection.call(function)

    async def drained(self) -> None:
        """Wait until every operation posted so far is committed."""
        while self._busy is not None:
            await asyncio.shield(self._busy)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                async with self._turn:
                    batch, self._waiting = self._waiting, []
                    outcomes = await self._outcomes(batch)
                for entry, outcome in zip(batch, outcomes, strict=True):
                    self._resolve(entry, outcome)
        finally:
            self._busy = None

    async def _outcomes(self, batch: Sequence[_Entry]) -> Sequence[_Outcome]:
        """Run operations in one transaction; if that fails, each in one of its own."""
        operations, now = [entry.operation for entry in batch], self._clock()
        try:
            try:
                return await self._together(operations, now, any(entry.aside for entry in batch))
            except Exception as error:  # noqa: BLE001 - it is that of one of them
                return await self._connection.call(_each_alone, operations, now, error)
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            return [_Outcome(error=error)] * len(batch)

    async def _together(
        self, operations: Sequence[Operation[Any]], now: int, aside: bool
    ) -> list[_Outcome]:
        if aside:
            return await self._connection.call(_transact, operations, now)
        connection = self._connection.here
        if not begin(connection):  # another process writes just now
            await self._connection.call(begin_patiently)
        outcomes = _execute(connection, operations, now)
        await self._connection.call(_commit)
        return outcomes

    def _resolve(self, entry: _Entry, outcome: _Outcome) -> None:
        error = outcome.error
        if isinstance(error, sqlite3.Error):
            error = translate(self._path, error)
        if error is None:
            if entry.then is not None:
                entry.then(outcome.value)
            if not entry.future.done():  # whoever waited for it may have gone away
                entry.future.set_result(outcome.value)
        else:
            if entry.otherwise is not None:
                entry.otherwise(error)
            if not entry.future.done():
                entry.future.set_exception(error)


def _each_alone(
    connection: sqlite3.Connection,
    operations: Sequence[Operation[Any]],
    now: int,
    error: Exception,
) -> list[_Outcome]:
    """Run operations that failed together; one that was alone is not run again."""
    _roll_back(connection)
    if len(operations) == 1:
        return [_Outcome(error=error)]
    return [_alone(connection, operation, now) for operation in operations]


def _alone(connection: sqlite3.Connection, operation: Operation[Any], now: int) -> _Outcome:
    try:
        (outcome,) = _transact(connection, [operation], now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's, not the batch's
        _roll_back(connection)
        return _Outcome(error=error)
    return outcome


def _transact(
    connection: sqlite3.Connection, operations: Sequence[Operation[Any]], now: int
) -> list[_Outcome]:
    begin_patiently(connection)
    outcomes = _execute(connection, operations, now)
    _commit(connection)
    return outcomes


def _execute(
    connection: sqlite3.Connection, operations: Sequence[Operation[Any]], now: int
) -> list[_Outcome]:
    transaction = Transaction(connection, now)
    return [_outcome(transaction, operation) for operation in operations]


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _outcome(tx: Transaction, operation: Operation[Any]) -> _Outcome:
    """Run one operation; a refusal that has changed nothing is no reason to undo the others."""
    before = tx.connection.total_changes
    try:
        return _Outcome(operation(tx))
    except JobstoreError as error:
        if tx.connection.total_changes != before:
            raise
        return _Outcome(error=error)
