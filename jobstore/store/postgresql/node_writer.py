"""The writer of a node: how a batch is run there, and what goes wrong with it.

A batch is one transaction on the writer's own connection. It begins by
writing its number into the row of the node's start, and only if that start is not over. That is

- the *fence*: a node that was declared dead never commits again;
- the *lease*: the others see the number move, and know that the node lives;
- the *witness*: if the connection breaks in the commit, the number tells whether it took effect.

So there is no commit of which nobody knows: the caller is told after the commit, or that nothing
was changed.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from typing import Final

import psycopg
from psycopg.errors import DeadlockDetected, SerializationFailure

from jobstore.model.clock import Clock
from jobstore.model.errors import JobstoreError, NodeFenced, StoreAway, StoreError
from jobstore.store.facts import Changes
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.abreast import walk
from jobstore.store.postgresql.engine import Connection, Link, execute, is_broken, translate
from jobstore.store.postgresql.transaction import NodeTransaction, Shared
from jobstore.store.transaction import Batch, Outcome
from jobstore.store.writer import Entry, Writer

# How often a batch is tried again that met another one, before that is an error.
_MEETINGS: Final = 5
# For how long a database that is away is waited for in the middle of a commit, in seconds.
_WITNESS_SECONDS: Final = 60.0
_PAUSE: Final = 0.2

log = logging.getLogger(__name__)


class NodeWriter(Writer):
    """Run operations in transactions that many of them share.

    Args:
        connection: the connection; nothing else may write on it.
        boot: this start of the node; where no server runs, there is no lease.
    """

    def __init__(self, connection: Connection, clock: Clock, boot: OwnBoot) -> None:
        super().__init__()
        self._connection = connection
        self._clock = clock
        self._number = 0
        self._boot = boot
        self.trouble: StoreError | None = None
        self._mending: asyncio.Task[None] | None = None

    def look(self) -> StoreError | None:
        """Tell why nothing can be written just now, and look after that; None if it can."""
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
        """Connect again, until that works."""
        while self.trouble is not None:
            await asyncio.sleep(_PAUSE)
            with suppress(StoreError):
                await self._connection.rows(boots.ALIVE, boot=0)
                log.info("the store can be written again", extra={"action": "write"})
                self.trouble = None
        self._mending = None

    async def _outcomes(self, batch: Sequence[Entry]) -> Batch:
        try:
            done = await self._performed(batch, self._clock())
        except psycopg.Error as error:
            done = Batch([Outcome(error=translate(self._connection.name, error))] * len(batch))
        except Exception as error:  # noqa: BLE001 - told to everyone who waits
            done = Batch([Outcome(error=error)] * len(batch))
        for outcome in done.outcomes:
            if isinstance(outcome.error, StoreAway) and self.trouble is None:
                log.error("%s", outcome.error, extra={"action": "write"})
                self.trouble = outcome.error
        return done

    async def _performed(self, entries: Sequence[Entry], now: int) -> Batch:
        """Run operations in one transaction; if that fails, each in one of its own."""
        try:
            return await self._together(entries, now, Changes())
        except psycopg.Error as error:
            if is_broken(error) or len(entries) == 1:
                raise
        except NodeFenced:
            raise
        except Exception as error:  # noqa: BLE001 - it is that of one of them
            if len(entries) == 1:
                return Batch([Outcome(error=error)])
        batch = Batch()
        for entry in entries:
            try:
                alone = await self._together([entry], now, batch.changes.copy())
            except psycopg.Error as error:
                batch.outcomes.append(Outcome(error=translate(self._connection.name, error)))
            except Exception as error:  # noqa: BLE001 - it is its caller's alone
                batch.outcomes.append(Outcome(error=error))
            else:
                batch.outcomes += alone.outcomes
                batch.changes = alone.changes
        return batch

    async def _together(self, entries: Sequence[Entry], now: int, changes: Changes) -> Batch:
        for _ in range(_MEETINGS):
            with suppress(SerializationFailure, DeadlockDetected):  # nothing was changed: once more
                return await self._once(entries, now, changes.copy())
        return await self._once(entries, now, changes)

    async def _once(self, entries: Sequence[Entry], now: int, changes: Changes) -> Batch:
        link = await self._connection.link()
        try:
            await link.execute("BEGIN")
            await self._fence(link)
            batch = await self._executed(link, entries, now, changes)
        except BaseException:
            await self._undo(link)
            raise
        try:
            await link.execute("COMMIT")
        except psycopg.Error as error:
            await self._connection.drop()
            if not (is_broken(error) and await self._is_committed()):
                raise
        return batch

    async def _executed(
        self, link: Link, entries: Sequence[Entry], now: int, changes: Changes
    ) -> Batch:
        shared = Shared(link, self._boot.number, now, changes)
        batch = Batch([], changes)
        for abreast, some in groupby(entries, key=lambda entry: entry.abreast):
            ways = [partial(_outcome, shared, each) for each in some]
            for together in [ways] if abreast else [[way] for way in ways]:
                batch.outcomes += await walk(link, together)
        await shared.write_tally()
        return batch

    async def _fence(self, link: Link) -> None:
        if not self._boot.number:
            return
        self._number += 1
        fence = {"boot": self._boot.number, "batch": self._number}
        cursor = await execute(link, boots.FENCE, fence)
        if not await cursor.fetchone():
            raise NodeFenced(self._connection.name)

    async def _is_committed(self) -> bool:
        """Tell whether the commit took effect in which the connection broke.

        Raises:
            psycopg.Error: nobody can be asked.
        """
        if not self._boot.number:
            return False
        end = time.monotonic() + _WITNESS_SECONDS
        while True:
            try:
                link = await self._connection.link()
                cursor = await execute(link, boots.WITNESS, {"boot": self._boot.number})
                row = await cursor.fetchone()
            except psycopg.Error:
                await self._connection.drop()
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(_PAUSE)
            else:
                return row is not None and row[0] == self._number

    async def _undo(self, link: Link) -> None:
        try:
            await link.execute("ROLLBACK")
        except psycopg.Error:
            await self._connection.drop()


def _outcome(shared: Shared, entry: Entry) -> Outcome:
    """Run an operation; a refusal that has changed nothing is no reason to undo the others."""
    tx = NodeTransaction(shared)
    try:
        return Outcome(entry.operation(tx))
    except JobstoreError as error:
        if tx.effects:
            raise
        return Outcome(error=error)
