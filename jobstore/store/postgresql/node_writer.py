"""The writer of a node: how it executes a batch, and how it handles failures.

A batch is one transaction on the writer's own connection. It begins by writing its number into the
row of the node's start, and only if that start has not ended. That number is

- the *fence*: a node that was declared dead never commits again;
- the *lease*: the others see the number change, and know that the node is alive;
- the *witness*: if the connection breaks during the commit, the number tells whether it succeeded.

So a caller gets its result after the commit, or learns that nothing was changed.

**When the database cannot be reached**, nobody waits longer than `PATIENCE` for it, counted from
the arrival of the oldest operation in a batch, and with what its request has waited for before. Two
tenths of it are kept: one for those who had to wait for the batch before, the other for what is
asked when the database answers in that tenth, such as the witness. A batch whose connection broke
before its commit, or whose commit did not take effect, is retried for as long as patience is left,
and once more if the loop was held up: the connection may have been lost because of that. Then it is
refused, and so are all later ones, at once, until there is a new connection. If the connection
broke during a commit and the witness cannot be asked in time, the callers learn that the outcome is
unknown (`StoreUnsure`). The witness is asked before anything else is written. If the commit did
take effect, its facts are passed on then, and the jobs that it started run. Results that it took
for readers are given back, since those readers were told that they had failed.

**After a crash**, either all of a batch is in the database or nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

import psycopg
from psycopg.errors import DeadlockDetected, SerializationFailure, UniqueViolation

from jobstore.model.clock import Clock
from jobstore.model.errors import NodeBusy, NodeFenced, StoreAway, StoreError, StoreUnsure
from jobstore.store import results
from jobstore.store.facts import Changes, Taken
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.batch_patience import BatchPatience
from jobstore.store.postgresql.batch_turns import by_turns, groups
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.journeys import Journeys, Sent
from jobstore.store.postgresql.link import Link
from jobstore.store.postgresql.links import execute
from jobstore.store.postgresql.patience import LAST, PATIENCE, impatient
from jobstore.store.postgresql.transaction import Shared
from jobstore.store.postgresql.translation import is_broken, translate
from jobstore.store.transaction import Batch, Operation, Outcome, Told
from jobstore.store.writer import Entry, Turn, Writer, unheard

# How often a batch is tried again that met another one, before that is an error.
_MEETINGS: Final = 5
# Two batches that do the same at the same time: the one finds what the other has put there.
_MET: Final = (SerializationFailure, DeadlockDetected, UniqueViolation)
_PAUSE: Final = 0.2
# How many operations may wait; a database that is slow must not fill the memory.
WAITING: Final = 50_000

log = logging.getLogger(__name__)


class NodeWriter(Writer):
    """Run operations in transactions that many of them share.

    Args:
        connection: the connection; nothing else may write on it.
        boot: this start of the node; without a server there is no lease.
        patience: how long anybody waits for a database that is away, in seconds.
        steady: a monotonic clock for that, in seconds; None for the process's own.
    """

    def __init__(
        self,
        connection: DatabaseConnection,
        clock: Clock,
        boot: OwnBoot,
        patience: float = PATIENCE,
        steady: Callable[[], float] | None = None,
    ) -> None:
        super().__init__()
        self._patience = BatchPatience(patience, steady)
        self._connection = connection
        self._clock = clock
        self._number = 0
        self._boot = boot
        self.trouble: StoreError | None = None
        self._mending: asyncio.Task[None] | None = None
        self._was_late = False  # the loop, to listen to the database
        self._unsure: Changes | None = None
        self._journeys: Journeys | None = None

    def queue(
        self,
        operation: Operation[Any],
        told: Told | None = None,
        *,
        off_loop: bool = False,
        abreast: Turn = Turn.ALONE,
    ) -> Entry | None:
        """Queue an operation as any writer does, unless too many wait."""
        if len(self._waiting) >= WAITING:
            refused = Outcome(error=NodeBusy(self._connection.name))
            asyncio.get_running_loop().call_soon(told or unheard, refused)
            return None
        entry = super().queue(operation, told, off_loop=off_loop, abreast=abreast)
        if entry is not None:
            self._patience.note_arrival(entry)
        return entry

    def look(self) -> StoreError | None:
        """Return why the store cannot be written, and start repairing it; None if it can."""
        self._mend()
        return self.trouble

    async def close(self) -> None:
        """Finish what was posted."""
        await super().close()
        if self._mending is not None:
            self._mending.cancel()
            await asyncio.wait([self._mending])

    def _mend(self) -> None:
        if self.trouble is not None and self._mending is None:
            self._mending = asyncio.create_task(self._mended())

    async def _mended(self) -> None:
        """Reconnect until it works, and find out whether the last batch was committed."""
        while self.trouble is not None:
            await asyncio.sleep(_PAUSE)
            try:
                committed = await self._witness(self._patience.of_witness(1))
            except psycopg.Error as error:
                log.debug("%s", error, extra={"action": "write"})
                await self._connection.drop()
            else:
                unsure, self._unsure = self._unsure, None
                if unsure is not None and committed:
                    self._tell_late(unsure)
                log.info("the store can be written again", extra={"action": "write"})
                self.trouble = None
        self._mending = None

    def _tell_late(self, changes: Changes) -> None:
        """Pass on the facts of a batch that turned out to be committed."""
        taken = [fact for fact in changes.facts if isinstance(fact, Taken)]
        changes.facts[:] = [fact for fact in changes.facts if not isinstance(fact, Taken)]
        self.committed(changes)
        for fact in taken:
            back = partial(results.give_back, job_id=fact.job_id, reader=self._boot.number)
            because = "the database went away in the middle of it"
            self.queue_until_stored(partial(back, detail=because), unheard)

    async def _next_batch(self) -> tuple[Batch, Sequence[Entry]]:
        done, batch = await super()._next_batch()
        self._waiting[:0] = batch[len(done.outcomes) :]  # what there was no time for
        return done, batch[: len(done.outcomes)]

    async def _outcomes(self, batch: Sequence[Entry]) -> Batch:
        if self.trouble is not None:
            return Batch([Outcome(error=self.trouble)] * len(batch))
        self._patience.begin(batch)
        try:
            done = await self._performed(batch)
        except psycopg.Error as error:
            done = Batch([Outcome(error=translate(self._connection.name, error))] * len(batch))
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            done = Batch([Outcome(error=error)] * len(batch))
        for outcome in done.outcomes:
            if isinstance(outcome.error, StoreAway | StoreUnsure) and self.trouble is None:
                log.error("%s", outcome.error, extra={"action": "write"})
                self.trouble = StoreAway(self._connection.name, "it did not answer")
        self._patience.end(batch[: len(done.outcomes)])
        return done

    async def _performed(self, entries: Sequence[Entry]) -> Batch:
        """Run operations in one transaction; if that fails, each in one of its own."""
        try:
            return await self._together(entries, Changes())
        except psycopg.Error as error:
            if is_broken(error) or len(entries) == 1:
                raise
        except (NodeFenced, StoreUnsure):  # of all of them: what may be done is not done again
            raise
        except Exception as error:  # noqa: BLE001 - it is that of one of them
            if len(entries) == 1:
                return Batch([Outcome(error=error)])
        return await self._each_alone(entries)

    async def _each_alone(self, entries: Sequence[Entry]) -> Batch:
        batch = Batch()
        for place, entry in enumerate(entries):
            if place and self._patience.takes_long:
                break
            try:
                alone = await self._together([entry], batch.changes.copy())
            except psycopg.Error as error:
                refused = Outcome(error=translate(self._connection.name, error))
                if is_broken(error):  # for all that are left
                    batch.outcomes += [refused] * (len(entries) - place)
                    break
                batch.outcomes.append(refused)
            except StoreUnsure as error:
                away = Outcome(error=StoreAway(self._connection.name, "it did not answer"))
                left = len(entries) - place - 1
                batch.outcomes += [Outcome(error=error), *[away] * left]
                break
            except Exception as error:  # noqa: BLE001 - it is its caller's alone
                batch.outcomes.append(Outcome(error=error))
            else:
                batch.outcomes += alone.outcomes
                batch.changes = alone.changes
        return batch

    async def _together(self, entries: Sequence[Entry], changes: Changes) -> Batch:
        """Run operations in one transaction; retry as long as nothing was changed."""
        meetings = breaks = 0
        while True:
            try:
                return await self._once(entries, changes.copy())
            except _MET:
                meetings += 1
                if meetings > _MEETINGS:
                    raise
            except psycopg.Error as error:
                breaks += 1
                if breaks == 1 and self._was_late:
                    self._patience.forgive()
                if not is_broken(error) or self._patience.left < _PAUSE:
                    raise
                await asyncio.sleep(_PAUSE)

    async def _once(self, entries: Sequence[Entry], changes: Changes) -> Batch:
        committing = self._was_late = False
        link = await self._connection.link(self._patience.left)
        with impatient(link, self._patience.silence) as patience:
            try:
                async with self._on(link).using(patience.renew) as journeys:
                    batch = await self._executed(journeys, entries, changes)
                    committing, began = True, time.monotonic()
                    journeys.say(b"COMMIT")
                    await journeys.make()
                    batch.seconds = time.monotonic() - began
            except psycopg.Error as error:
                self._was_late = patience.was_late
                left = self._patience.of_witness(0 if patience.is_over else LAST)
                await self._undo(link)
                unknown = committing and is_broken(error)
                if not (unknown and await self._is_committed(changes, left)):
                    raise
            except BaseException:
                await self._undo(link)
                raise
        return batch

    async def _executed(
        self, journeys: Journeys, entries: Sequence[Entry], changes: Changes
    ) -> Batch:
        """Run operations; the first and last statements share round trips with others.

        If they take long, the last operations are left for the next batch.
        """
        journeys.say(b"BEGIN")
        fence = self._fence(journeys)
        shared = Shared(journeys, self._boot.number, self._clock(), changes)
        batch = Batch([], changes)
        for together in groups(entries):
            if batch.outcomes and self._patience.takes_long:
                break
            batch.outcomes += await by_turns(shared, together)
        if fence is not None:
            if fence.rows is None:  # none of the operations had a statement
                await journeys.make()
            if not fence.rows:
                raise NodeFenced(self._connection.name)
        shared.send_tally()
        return batch

    def _fence(self, journeys: Journeys) -> Sent | None:
        if not self._boot.number:
            return None
        self._number += 1
        return journeys.send(boots.FENCE, {"boot": self._boot.number, "batch": self._number})

    def _on(self, link: Link) -> Journeys:
        """Return the sender of statements on a connection, which knows what is prepared there."""
        if self._journeys is None or self._journeys.link is not link:
            self._journeys = Journeys(link)
        return self._journeys

    async def _is_committed(self, changes: Changes, left: Callable[[], float]) -> bool:
        """Return whether a commit took effect during which the connection broke.

        Args:
            left: tells how many seconds are left to find that out.

        Raises:
            StoreUnsure: that cannot be found out in time.
        """
        while self._boot.number and left() > 0:
            try:
                return await self._witness(left)
            except psycopg.Error:
                await self._connection.drop()
                await asyncio.sleep(min(_PAUSE, max(left(), 0)))
        self._unsure = changes
        raise StoreUnsure(self._connection.name, "the database went away", "it is back")

    async def _witness(self, left: Callable[[], float]) -> bool:
        """Return whether the last batch is in the database.

        Args:
            left: tells how many seconds are left to wait.

        Raises:
            psycopg.Error: the database cannot be reached.
        """
        link = await self._connection.link(left())
        with impatient(link, left):
            cursor = await execute(link, boots.WITNESS, {"boot": self._boot.number})
            row = await cursor.fetchone()
        return row is not None and row[0] == self._number

    async def _undo(self, link: Link) -> None:
        self._journeys = None  # with a rollback, the driver drops what is prepared
        try:
            await link.execute("ROLLBACK")
        except psycopg.Error:
            await self._connection.drop()
