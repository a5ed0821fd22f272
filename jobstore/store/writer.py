"""The one writer of a process: operations collect while a commit is in flight, then share the next.

**Invariants.** Operations are executed in the order in which they arrive, so of two operations on
the same job the first one decides. A batch of operations is one transaction. Callers get their
result after the commit and its sync, never before. The facts of the batch are passed on first, in
the same step of the event loop, and only then does the next batch start. So when a caller resumes,
every subscriber already knows about the change, and when an operation runs, memory reflects the
state of the store at the start of its batch. A failing operation fails alone: the batch is rolled
back, and each of its operations runs again in a transaction of its own. An operation that is
refused without having changed anything costs the others nothing.

**Who may call what.** Any task on the loop may call `queue`, `post`, `run` and the variants that
try again, such as `post_until_stored`, at any time; after `close` everything is refused, since the
connection may be gone. An operation is a plain function of its transaction. It may run twice, so it
must not await, must not call this class, and must have no effect outside the transaction. Code that
resumes after an operation may queue the next one at once, but must not take long: others are
waiting to resume.

**When it commits.** There is no timer and no artificial delay: a single operation is committed at
once, and the more operations arrive together, the more of them share one sync of the disk. What
arrives while an operation runs that takes long may still join its batch.

**After a crash.** Either all of a batch is in the store or nothing of it, and everything that was
acknowledged is. A batch that was committed but not yet acknowledged is in the store as well; its
callers never heard of it and find it when they ask.

How a batch is executed, and how its failures are handled, depends on the engine.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any, Final, TypeVar

from jobstore.model.errors import StoreClosed, StoreError, StoreLost, StoreUnavailable, StoreUnsure
from jobstore.store.facts import Changes
from jobstore.store.transaction import Batch, Operation, Outcome, Told, Transaction
from jobstore.store.waited import Waits

# How long to wait before the next try while the store cannot be written.
RETRY_SECONDS: Final = 0.5
# What may be over by then.
_PASSING: Final = (StoreUnavailable, StoreUnsure)

T = TypeVar("T")
log = logging.getLogger(__name__)


class Turn(IntEnum):
    """The turn in which an operation of a batch may run beside others, if the engine can.

    Operations of one turn see everything done in earlier turns.
    """

    ALONE = 0
    CHANGE = 1  # jobs come in, and end
    TAKE = 2  # results are looked at, and go to their readers
    CANCEL = 3


@dataclass(slots=True)
class Entry:
    """An operation that waits for the next transaction; see `Writer.queue`.

    Args:
        came: when somebody began to wait for it, where an engine limits that.
        before: for how many seconds its request had waited already.
        waits: those of the request for which it is done; None if it is for none.
    """

    operation: Operation[Any]
    told: Told
    off_loop: bool = False
    abreast: Turn = Turn.ALONE
    came: float = 0.0
    before: float = 0.0
    waits: Waits | None = None


class Writer(ABC):
    """Run operations in transactions that many of them share.

    Attributes:
        committed: called with the changes of each batch, before the next one begins.
        measured: called with how many seconds a commit took, and how many operations it had;
            None if metrics are off.
    """

    def __init__(self) -> None:
        self.committed: Callable[[Changes], None] = unheard
        self.measured: Callable[[float, int], None] | None = None
        self._waiting: list[Entry] = []
        self._busy: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether no operation waits or runs."""
        return self._busy is None

    @property
    def waiting(self) -> int:
        """How many operations wait for the next transaction."""
        return len(self._waiting)

    @abstractmethod
    def look(self) -> StoreError | None:
        """Return why the store cannot be written, and start repairing it; None if it can."""

    @abstractmethod
    def _mend(self) -> None:
        """Repair a store in trouble, in the background."""

    @abstractmethod
    async def _outcomes(self, batch: list[Entry]) -> Batch:
        """Run operations, and return their outcomes as a crash right now would leave them.

        What waits may join them meanwhile: it is moved into the batch.
        """

    def queue(
        self,
        operation: Operation[Any],
        told: Told | None = None,
        *,
        off_loop: bool = False,
        abreast: Turn = Turn.ALONE,
    ) -> Entry | None:
        """Queue an operation for the next transaction.

        Args:
            operation: what to do.
            told: called with the outcome after the commit, or None.
            off_loop: whether it may take milliseconds, so that it must not run on the loop.
            abreast: the turn in which it may run side by side with others. What it decides by
                memory, it has to write to memory before its next statement.

        Returns:
            what waits now; None if it is refused.
        """
        if self._closed:  # its connection must not be touched any more
            refused = Outcome(error=StoreClosed())
            asyncio.get_running_loop().call_soon(told or unheard, refused)
            return None
        entry = Entry(operation, told or unheard, off_loop, abreast)
        self._waiting.append(entry)
        if self._busy is None:
            # In no context: who is told must not seem to be called by whoever came first.
            self._busy = asyncio.create_task(self._work_off(), context=Context())
        return entry

    def post(
        self, operation: Operation[T], *, off_loop: bool = False, abreast: Turn = Turn.ALONE
    ) -> asyncio.Future[T]:
        """Queue an operation as `queue` does; it is executed even if nobody waits for the future.

        Returns:
            a future of its value, resolved after the commit.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.queue(operation, _into(future), off_loop=off_loop, abreast=abreast)
        return future

    async def run(
        self, operation: Operation[T], *, off_loop: bool = False, abreast: Turn = Turn.ALONE
    ) -> T:
        """Run an operation and return its value once it is committed; see `post`.

        Raises:
            StoreError: it could not be committed.
        """
        return await self.post(operation, off_loop=off_loop, abreast=abreast)

    def queue_until_stored(
        self,
        operation: Operation[Any],
        told: Told,
        *,
        off_loop: bool = False,
        abreast: Turn = Turn.ALONE,
    ) -> None:
        """Queue an operation that must not get lost: try again until it is written.

        Args:
            operation: what to do.
            told: called with the final outcome; an error only if the store is lost.
            off_loop: as in `queue`.
            abreast: as in `queue`.
        """

        def tried(outcome: Outcome) -> None:
            error = outcome.error
            if isinstance(error, StoreLost) or not isinstance(error, _PASSING):
                told(outcome)
                return
            log.warning("%s; trying again", error, extra={"action": "retry"})
            again = partial(
                self.queue_until_stored, operation, told, off_loop=off_loop, abreast=abreast
            )
            asyncio.get_running_loop().call_later(RETRY_SECONDS, again)

        self.queue(operation, tried, off_loop=off_loop, abreast=abreast)

    def post_until_stored(
        self, operation: Operation[T], *, off_loop: bool = False
    ) -> asyncio.Future[T]:
        """Queue an operation as `queue_until_stored` does; see `post`."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.queue_until_stored(operation, _into(future), off_loop=off_loop)
        return future

    async def drained(self) -> None:
        """Wait until every operation posted so far is committed, or refused."""
        while self._busy is not None:
            await asyncio.shield(self._busy)

    async def close(self) -> None:
        """Finish what was posted; later operations are refused."""
        await self.drained()
        self._closed = True

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # so that what comes in the same moment is there as well
                await self._work_off_one()
                self._mend()
        finally:
            self._busy = None

    async def _work_off_one(self) -> None:
        """Run a batch, and tell of it; nothing of it is kept once the next one begins."""
        done, batch = await self._next_batch()
        self.committed(done.changes)
        if self.measured is not None and done.seconds is not None:
            operations = len(batch) - [entry.operation for entry in batch].count(nothing)
            if operations:
                self.measured(done.seconds, operations)
        for entry, outcome in zip(batch, done.outcomes, strict=True):
            try:
                entry.told(outcome)
            except Exception:
                log.exception("an outcome could not be reported", extra={"action": "tell"})

    async def _next_batch(self) -> tuple[Batch, Sequence[Entry]]:
        batch, self._waiting = self._waiting, []
        return await self._outcomes(batch), batch


def nothing(_: Transaction) -> None:
    """Do nothing, as an operation that follows everything posted before on the same path."""


def _into(future: asyncio.Future[Any]) -> Told:
    """Return a callback that resolves a future."""

    def told(outcome: Outcome) -> None:
        if future.done():  # whoever waited for it has gone away
            return
        if outcome.error is None:
            future.set_result(outcome.value)
        else:
            future.set_exception(outcome.error)

    return told


def unheard(_: Changes | Outcome) -> None:
    """Ignore changes: a reader or single change keeps nothing in memory."""
