"""The writer of a file: how a batch is executed there, and how failures are handled.

There is one writer per process, and only it writes on its connection. `call` is for short work
between two transactions; any task may call it.

**Threads.** Statements take microseconds and run on the loop; only what may take long goes to the
connection's own thread: the commit, which waits for the disk, and operations that say so
(`off_loop`). In that thread each statement would have to wait for Python's lock, which a busy loop
rarely releases: measured, 230 us per operation instead of 12. While the thread works, the loop does
not touch the connection.

**Failures.** A full or failing disk refuses the batch, and the next one is tried as usual;
`committing` explains how refused changes are kept from coming back. If it cannot be known whether a
batch is on the disk, its callers get `StoreUnsure`, and nothing is written until that is settled. A
store whose files have disappeared is lost until the next start (`StoreReplaced`).
"""

import asyncio
import sqlite3
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar

from jobstore.model.clock import Clock
from jobstore.model.errors import StoreClosed, StoreError, StoreFailing, StoreLost, StoreUnsure
from jobstore.store.facts import Changes
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.committing import Committer
from jobstore.store.sqlite.condition import Condition
from jobstore.store.sqlite.engine import Connection, begin
from jobstore.store.sqlite.presence import Presence
from jobstore.store.transaction import Batch, Operation, Outcome
from jobstore.store.writer import RETRY_SECONDS, Entry, Writer

T = TypeVar("T")


class FileWriter(Writer):
    """Run operations in transactions that many of them share.

    Args:
        connection: the connection; nothing else may write on it.
        presence: checks the files before and after each transaction; None for no check.

    Attributes:
        condition: whether the store can be written.
    """

    def __init__(
        self, connection: Connection, path: Path, clock: Clock, presence: Presence | None = None
    ) -> None:
        super().__init__()
        self._connection = connection
        self._path = path
        self._clock = clock
        self._committer = Committer(path)
        self.condition = Condition(presence)
        self._mending: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function between two transactions, such as a checkpoint.

        Where its caller is cancelled, it is still waited for: no transaction may begin on the
        connection while the thread has it.

        Raises:
            StoreError: it failed, or the store is not there any more.
        """
        async with self._turn:
            if self._closed:
                raise StoreClosed
            self.condition.require()
            return await _to_its_end(self._connection.call(function))

    async def close(self) -> None:
        """Finish what was posted, and save what can be saved of a lost store."""
        await super().close()
        if self._mending is not None:
            if not self.condition.lost:
                self._mending.cancel()
            await asyncio.wait([self._mending])

    def look(self) -> StoreError | None:
        """Return why the store cannot be written, and start repairing it; None if it can."""
        with suppress(StoreLost):
            self.condition.require()
        self._mend()
        return self.condition.trouble

    async def _next_batch(self) -> tuple[Batch, Sequence[Entry]]:
        async with self._turn:
            return await super()._next_batch()

    async def _outcomes(self, batch: list[Entry]) -> Batch:
        """Run operations, and return their outcomes as a crash right now would leave them."""
        try:
            self.condition.require()
            if self._committer.stale:
                await self._overwrite()
        except StoreError as error:  # none of them has begun
            lost = isinstance(error, StoreLost)
            refusal = error if lost else StoreFailing(self._path, "it cannot be written to")
            return Batch([Outcome(error=refusal)] * len(batch))
        done = await self._sure(await self._performed(batch))
        self.condition.note(each.error for each in done.outcomes if each.error is not None)
        return done

    async def _performed(self, batch: list[Entry]) -> Batch:
        """Run operations in one transaction; if that fails, each in one of its own."""
        try:
            now = self._clock()
            try:
                return await self._together(batch, now)
            except Exception as error:  # noqa: BLE001 - it is that of one of them
                self.condition.note([self._committer.told(error)])
                each_alone, operations = self._committer.each_alone, _operations(batch)
                return await self._connection.call(each_alone, operations, now, error)
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            return Batch([self._committer.failed(error)] * len(batch))

    async def _together(self, batch: list[Entry], now: int) -> Batch:
        connection, committer, operations = self._connection, self._committer, _operations(batch)
        if True in [entry.off_loop for entry in batch]:
            return await connection.call(self._long, batch, now)
        if not begin(connection.here):  # since another process writes at the moment
            return await connection.call(committer.together, operations, now, Changes())
        done = committer.execute(connection.here, operations, now, Changes())
        done.seconds = await connection.call(committer.commit)
        return done

    def _long(self, connection: sqlite3.Connection, batch: list[Entry], now: int) -> Batch:
        """Run operations that take long, in the connection's thread, and what comes meanwhile."""
        committer = self._committer
        done = committer.begun(connection, _operations(batch), now, Changes())
        late = self._late()
        if late:
            batch += late
            joined = committer.execute(connection, _operations(late), self._clock(), done.changes)
            done.outcomes += joined.outcomes
        done.seconds = committer.commit(connection)
        return done

    def _late(self) -> list[Entry]:
        """Take what has come since a batch began, so that it need not wait for two commits.

        What may take long as well has to wait, and so has everything if the files have disappeared:
        what has not begun can be refused for sure. The loop only adds to what waits meanwhile.
        """
        if not self.condition.in_place:
            return []
        late = list(takewhile(lambda entry: not entry.off_loop, [*self._waiting]))
        del self._waiting[: len(late)]
        return late

    async def _sure(self, done: Batch) -> Batch:
        try:
            if self._committer.stale:
                await self._overwrite()
            self.condition.require()
        except StoreLost:  # in the very moment, with or without what was committed last
            unsure = Outcome(error=StoreUnsure(self._path))
            return Batch([unsure if each.error is None else each for each in done.outcomes])
        except StoreUnsure as error:
            outcomes = [Outcome(error=error) if each.committing else each for each in done.outcomes]
            return Batch(outcomes, done.changes)
        return done

    async def _overwrite(self) -> None:
        """Ensure that a crash cannot bring back a refused change.

        Raises:
            StoreUnsure: the disk refuses to be written.
        """
        await self._connection.call(self._committer.overwrite)

    # --- while nothing can be written -----------------------------------------------------------

    def _mend(self) -> None:
        """Repair a store in trouble, in the background."""
        if self.condition.trouble is not None and self._mending is None:
            self._mending = asyncio.create_task(self._mended())

    async def _mended(self) -> None:
        """Try to write until it works; once, save what can be saved of a lost store."""
        while not self.condition.lost and self.condition.trouble is not None:
            await asyncio.sleep(RETRY_SECONDS)
            with suppress(StoreError):
                await self.call(self._committer.overwrite)
                self.condition.committed()
        if self.condition.lost:
            await self._rescue()  # and never again
        else:
            self._mending = None

    async def _rescue(self) -> None:
        """Checkpoint what was acknowledged, if both files are still ours.

        If only a name was removed, or the file was moved, it then contains everything.
        """
        if not self.condition.rescuable:
            return
        async with self._turn:
            with suppress(StoreError):
                await self._connection.call(pages.checkpoint)


def _operations(batch: Sequence[Entry]) -> list[Operation[Any]]:
    return [entry.operation for entry in batch]


async def _to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Wait for what a thread does, also if this is cancelled meanwhile."""
    working = asyncio.create_task(work)
    try:
        return await asyncio.shield(working)
    finally:
        while not working.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([working])
