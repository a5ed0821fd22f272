"""The one writer: operations collect while a commit is in flight, then share the next.

No linger and no timer: an operation that comes alone is committed at once, and the more come at
the same time, the more of them share one sync of the disk. The order of arrival is the order of
execution, so that of two operations on one job the first decides.
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
from jobstore.store.sqlite import Connection, Statement, translate

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
    ) -> asyncio.Future[T]:
        """Queue an operation for the next transaction.

        Args:
            operation: what to do.
            then: called with its value right after the commit, in the order of operations, even
                if nobody waits for the future any more.
            otherwise: called with the error if it could not be committed, likewise.

        Returns:
            a future of its value, which is there only after the commit.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Entry(operation, then, otherwise, future))
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

    async def run(self, operation: Operation[T], then: Callable[[T], None] | None = None) -> T:
        """Run an operation and return its value once it is committed; see `post`.

        Raises:
            StoreError: it could not be committed.
        """
        return await self.post(operation, then)

    def insist(self, operation: Operation[T]) -> asyncio.Task[T]:
        """Run an operation that must not get lost: while there is no room for it, try again."""
        task = asyncio.create_task(self._insist(operation))
        self._insisting.add(task)
        task.add_done_callback(self._insisting.discard)
        return task

    async def _insist(self, operation: Operation[T]) -> T:
        while True:
            try:
                return await self.run(operation)
            except (StoreFull, StoreBusy) as error:
                log.warning("%s; trying again", error, extra={"action": "insist"})
                await asyncio.sleep(INSIST_SECONDS)

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function between two transactions, such as a checkpoint."""
        return await self._connection.call(function)

    async def drained(self) -> None:
        """Wait until every operation posted so far is committed."""
        while self._busy is not None:
            await asyncio.shield(self._busy)

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                operations = [entry.operation for entry in batch]
                try:
                    outcomes = await self._connection.call(_commit, operations, self._clock())
                except Exception as error:  # noqa: BLE001 - told to everyone who waits
                    outcomes = [_Outcome(error=error)] * len(batch)
                for entry, outcome in zip(batch, outcomes, strict=True):
                    self._resolve(entry, outcome)
        finally:
            self._busy = None

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


def _commit(
    connection: sqlite3.Connection, operations: Sequence[Operation[Any]], now: int
) -> list[_Outcome]:
    """Run operations in one transaction; if that fails, each in one of its own."""
    try:
        return _transact(connection, operations, now)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is its caller's, not the batch's
        if len(operations) == 1:
            return [_Outcome(error=error)]
    return [outcome for single in operations for outcome in _commit(connection, [single], now)]


def _transact(
    connection: sqlite3.Connection, operations: Sequence[Operation[Any]], now: int
) -> list[_Outcome]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        transaction = Transaction(connection, now)
        outcomes = [_outcome(transaction, operation) for operation in operations]
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return outcomes


def _outcome(tx: Transaction, operation: Operation[Any]) -> _Outcome:
    """Run one operation; a refusal that has changed nothing is no reason to undo the others."""
    before = tx.connection.total_changes
    try:
        return _Outcome(operation(tx))
    except JobstoreError as error:
        if tx.connection.total_changes != before:
            raise
        return _Outcome(error=error)
