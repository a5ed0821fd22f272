"""The one writer: operations collect while a commit is in flight, then share the next.

**What holds.** There is one writer per process, and it alone writes on its connection. The order of
arrival is the order of execution, so that of two operations on one job the first decides. A batch
is one transaction: who posted its operations is told after the commit and the sync, never before.
Its facts are handed on first, in the same step of the loop, and only then does the next batch
begin. So whoever hears of an operation finds everybody else told, and an operation finds in memory
what the file said when its batch began. An operation that fails fails alone: the batch is undone,
and each of its operations is run again in a transaction of its own. A refusal that has changed
nothing and told nothing costs the others nothing.

**Who may call.** `queue`, `post`, `run` and their likes `until_stored`: anybody on the loop, at any
time until `close`. `call`: any task, for what runs between two transactions and is short. An
operation is a plain function of its transaction; it awaits nothing, calls nothing of this class,
and has no effect but on the transaction, since it may run twice. Who is told by a call may queue
the next operation there and then, but must not take long: the others wait to be told.

**When it commits.** There is no linger and no timer: an operation that comes alone is committed at
once, and the more come at the same time, the more of them share one sync of the disk.

**Threads.** Statements take microseconds and run right here, on the loop; only what may take long
goes to the connection's own thread: the commit, which waits for the disk, and operations that say
so (`off_loop`). In that thread each statement would have to wait for Python's lock, which the loop
gives away rarely while it is busy: measured, 230 us an operation instead of 12. While the thread
works, the loop touches the connection for nothing.

**What goes wrong.** A disk that is full or fails refuses the batch, and the next one is tried as
usual; `committing` says how what was refused is kept from coming back. If it cannot be known
whether a batch is on the disk, its callers are told so (`StoreUnsure`), and nothing is written
until that is settled. A store that is gone from under the writer is lost for good (`StoreLost`).

**What a crash leaves.** Either all of a batch or nothing of it, and of what was acknowledged,
everything. A batch that was committed but not yet acknowledged is there as well: its callers never
heard of it, and find it when they ask.
"""

import asyncio
import logging
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from jobstore.model.clock import Clock
from jobstore.model.errors import StoreError, StoreFailing, StoreLost, StoreUnavailable, StoreUnsure
from jobstore.store.facts import Changes
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.committing import Batch, Committer
from jobstore.store.sqlite.condition import Condition
from jobstore.store.sqlite.engine import Connection, begin
from jobstore.store.sqlite.presence import Presence
from jobstore.store.transaction import Operation, Outcome, Told

# How long to wait before the next try while the disk is full or fails.
RETRY_SECONDS: Final = 0.5
# What may be over by then.
_PASSING: Final = (StoreUnavailable, StoreUnsure)

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Entry:
    operation: Operation[Any]
    told: Told
    off_loop: bool


class Writer:
    """Run operations in transactions that many of them share.

    Args:
        connection: the connection; nothing else may write on it.
        presence: what has to be there before and after each transaction; None for nothing.

    Attributes:
        condition: whether the store can be written.
        committed: told what each batch has changed, before the next one begins.
    """

    def __init__(
        self, connection: Connection, path: Path, clock: Clock, presence: Presence | None = None
    ) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._committer = Committer(path)
        self.condition = Condition(presence)
        self.committed: Callable[[Changes], None] = _unheard
        self._mending: asyncio.Task[None] | None = None
        self._waiting: list[_Entry] = []
        self._turn = asyncio.Lock()
        self._busy: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether no operation waits or runs."""
        return self._busy is None

    def queue(
        self, operation: Operation[Any], told: Told | None = None, *, off_loop: bool = False
    ) -> None:
        """Queue an operation for the next transaction.

        Args:
            operation: what to do.
            told: called with what became of it, after the commit; None if nobody wants to know.
            off_loop: whether it may take milliseconds, so that it must not run on the loop.
        """
        self._waiting.append(_Entry(operation, told or _unheard, off_loop))
        if self._busy is None:
            # In no context: who is told must not seem to be called by whoever came first.
            self._busy = asyncio.create_task(self._work_off(), context=Context())

    def post(self, operation: Operation[T], *, off_loop: bool = False) -> asyncio.Future[T]:
        """Queue an operation as `queue` does; it is done even if nobody waits for the future.

        Returns:
            a future of its value, which is there only after the commit.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.queue(operation, _into(future), off_loop=off_loop)
        return future

    async def run(self, operation: Operation[T], *, off_loop: bool = False) -> T:
        """Run an operation and return its value once it is committed; see `post`.

        Raises:
            StoreError: it could not be committed.
        """
        return await self.post(operation, off_loop=off_loop)

    def queue_until_stored(
        self, operation: Operation[Any], told: Told, *, off_loop: bool = False
    ) -> None:
        """Queue an operation that must not get lost: while it cannot be written, try again.

        Args:
            operation: what to do.
            told: called with what became of it in the end; where the store is lost, that is why.
            off_loop: as in `queue`.
        """

        def tried(outcome: Outcome) -> None:
            error = outcome.error
            if isinstance(error, StoreLost) or not isinstance(error, _PASSING):
                told(outcome)
                return
            log.warning("%s; trying again", error, extra={"action": "retry"})
            again = partial(self.queue_until_stored, operation, told, off_loop=off_loop)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, again)

        self.queue(operation, tried, off_loop=off_loop)

    def post_until_stored(
        self, operation: Operation[T], *, off_loop: bool = False
    ) -> asyncio.Future[T]:
        """Queue an operation as `queue_until_stored` does; see `post`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.queue_until_stored(operation, _into(future), off_loop=off_loop)
        return future

    async def call(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function between two transactions, such as a checkpoint.

        Raises:
            StoreError: it failed, or the store is not there any more.
        """
        async with self._turn:
            self.condition.require()
            return await self._connection.call(function)

    async def drained(self) -> None:
        """Wait until every operation posted so far is committed, or refused."""
        while self._busy is not None:
            await asyncio.shield(self._busy)

    async def close(self) -> None:
        """Finish what was posted, and bring a lost store into safety as far as that goes."""
        await self.drained()
        if self._mending is not None:
            if not self.condition.lost:
                self._mending.cancel()
            await asyncio.wait([self._mending])

    def look(self) -> StoreError | None:
        """Tell why nothing can be written just now, and look after that; None if it can."""
        with suppress(StoreLost):
            self.condition.require()
        self._mend()
        return self.condition.trouble

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # so that what comes in the same moment is there as well
                async with self._turn:
                    batch, self._waiting = self._waiting, []
                    done = await self._outcomes(batch)
                self.committed(done.changes)
                for entry, outcome in zip(batch, done.outcomes, strict=True):
                    try:
                        entry.told(outcome)
                    except Exception:
                        log.exception("the outcome may be lost", extra={"action": "tell"})
                self._mend()
        finally:
            self._busy = None

    async def _outcomes(self, batch: Sequence[_Entry]) -> Batch:
        """Run operations, and tell what a crash right now would leave of them."""
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

    async def _performed(self, batch: Sequence[_Entry]) -> Batch:
        """Run operations in one transaction; if that fails, each in one of its own."""
        operations = [entry.operation for entry in batch]
        try:
            now = self._clock()
            try:
                off_loop = True in [entry.off_loop for entry in batch]
                return await self._together(operations, now, off_loop=off_loop)
            except Exception as error:  # noqa: BLE001 - it is that of one of them
                self.condition.note([self._committer.told(error)])
                each_alone = self._committer.each_alone
                return await self._connection.call(each_alone, operations, now, error)
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            return Batch([self._committer.failed(error)] * len(batch))

    async def _together(
        self, operations: Sequence[Operation[Any]], now: int, *, off_loop: bool
    ) -> Batch:
        connection, changes = self._connection.here, Changes()
        if off_loop or not begin(connection):  # since another process writes just now
            return await self._connection.call(self._committer.together, operations, now, changes)
        batch = self._committer.execute(connection, operations, now, changes)
        await self._connection.call(self._committer.commit)
        return batch

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
        """Ensure that a crash brings nothing back that was refused.

        Raises:
            StoreUnsure: the disk does not take it.
        """
        await self._connection.call(self._committer.overwrite)

    # --- while nothing can be written -----------------------------------------------------------

    def _mend(self) -> None:
        """See, in the background, to a store in trouble."""
        if self.condition.trouble is not None and self._mending is None:
            self._mending = asyncio.create_task(self._mended())

    async def _mended(self) -> None:
        """Try to write until that works; what is lost is brought into safety once."""
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
        """Move what was acknowledged from the WAL into the file, if both are still ours.

        Where only a name was removed, or the file was moved, it then has everything in it.
        """
        if not self.condition.rescuable:
            return
        async with self._turn:
            with suppress(StoreError):
                await self._connection.call(pages.checkpoint)


def _into(future: asyncio.Future[Any]) -> Told:
    """Give what tells a future."""

    def told(outcome: Outcome) -> None:
        if future.done():  # whoever waited for it has gone away
            return
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)

    return told


def _unheard(_: Changes | Outcome) -> None:
    """Hear nothing: who only reads, or writes a single time, keeps nothing in memory."""
