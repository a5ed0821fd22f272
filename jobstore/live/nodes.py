"""One node among several: it shows that it lives, and looks after those that do not.

**What shows that a node lives.** Each batch of its writer writes a number into the row of its
start. A node with nothing to write posts an empty batch at each beat, five times in a lease. The
others watch that number: if it stands still for a whole lease *by their own steady clock*, while
they could read it, they take the node for dead and end its start. No clocks are compared, and after
the database was away, everybody begins to count anew.

**What becomes of a node that was taken for dead.** Its next batch is refused (`NodeFenced`), so
that nothing of it can ever be committed again. It abandons what it runs, which is somebody else's
by now, and begins anew, with another number, in the same process. In doubt it does nothing: a node
that has not written for most of its lease starts no attempt until it has.

**Who recovers.** Any node, at each beat: the jobs of all starts that are over, by guarded
statements, so that it does not matter how many nodes do so at the same time.

**What gets lost on the way.** A claim that was committed while its answer was lost would run
nowhere. So each node compares what it runs with what the database says that it does. What is
missing at two beats in a row is recovered as if the node had died.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from jobstore.live.store import Store
from jobstore.model.errors import NodeFenced, StoreError
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.engine import Connection
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

# How often a node shows that it lives, in a lease; and what part of one it trusts in itself.
_BEATS: Final = 5
_TRUSTED: Final = 0.8

log = logging.getLogger(__name__)


class Nodes:
    """This node, and the others.

    Args:
        writer: writes as this node.
        side: a connection of its own, which waits for no batch.
        boot: this start of the node.
        begin: begins a start, and returns its number.
        lease: for how long a node may be silent, in seconds.
        store: whose jobs this node runs.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - it is put together in one place
        self,
        writer: Writer,
        side: Connection,
        boot: OwnBoot,
        begin: Callable[[], Awaitable[int]],
        lease: float,
        store: Store,
    ) -> None:
        self._writer = writer
        self._side = side
        self._boot = boot
        self._begin = begin
        self._lease = lease
        self._store = store
        self._missing: frozenset[int] = frozenset()
        self._seen: dict[int, tuple[int, float]] = {}
        self._trusted_until = monotonic() + _TRUSTED * lease

    async def beat(self) -> None:
        """Wait a little, show that this node lives, and look after the others."""
        await asyncio.sleep(self._lease / _BEATS)
        began = monotonic()
        try:
            await self._writer.run(_nothing)
        except NodeFenced:
            await self._begin_anew()
        self._trusted_until = began + _TRUSTED * self._lease
        try:
            await self._look()
        except StoreError:
            self._seen.clear()  # who could not be seen was not silent
            raise

    async def trusted(self) -> None:
        """Wait until this node knows that the others know that it lives."""
        while monotonic() > self._trusted_until:  # noqa: ASYNC110 - it ends as time passes
            await asyncio.sleep(self._lease / _BEATS / 4)

    async def _look(self) -> None:
        """Find out who is silent, and for how long."""
        alive = dict(await self._side.rows(boots.ALIVE, boot=self._boot.number))
        now = monotonic()
        self._seen = {boot: (batch, self._since(boot, batch, now)) for boot, batch in alive.items()}
        for boot, (batch, since) in self._seen.items():
            if now - since >= self._lease:
                await self._end(boot, batch)
        await self._compare()

    async def _compare(self) -> None:
        """Stop what somebody asked to be stopped at another node, and find what got lost."""
        boot, running = self._boot.number, frozenset(self._store.running)
        claimed = dict(await self._side.rows(boots.CLAIMED, boot=boot))
        for job_id, cancel_asked_at in claimed.items():
            if cancel_asked_at is not None and job_id in running:
                self._store.dispatcher.cancel(job_id)
        missing = frozenset(claimed) - running
        lost, self._missing = missing & self._missing, missing
        if lost and boot == self._boot.number:
            log.warning("%d claims got lost on the way", len(lost), extra={"action": "node"})
            await self._writer.run(lambda tx: boots.give_up(tx, sorted(lost), boot))

    def _since(self, boot: int, batch: int, now: float) -> float:
        before, since = self._seen.get(boot, (None, now))
        return since if before == batch else now

    async def _end(self, boot: int, batch: int) -> None:
        """End the start of a node that was silent for too long, unless it has said something."""
        ended = await self._writer.run(
            lambda tx: tx.execute(boots.DIED, boot=boot, batch=batch, now=tx.now).rowcount
        )
        if ended:
            log.warning("node %d is silent, and taken for dead", boot, extra={"action": "node"})

    async def _begin_anew(self) -> None:
        log.error(
            "the other nodes have taken this one for dead; it begins anew", extra={"action": "node"}
        )
        self._boot.number = await self._begin()
        self._store.dispatcher.begin_anew()


def _nothing(_: Transaction) -> None:
    """Commit nothing but the number of the batch."""
