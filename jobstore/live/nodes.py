"""One node among several: it shows that it is alive, and recovers the jobs of those that died.

**Signs of life.** Each batch of a node's writer writes a number into the row of its start. A node
with nothing to write posts an empty batch at each beat, five times per lease. The others watch
that number: if it does not change for a whole lease *by their own monotonic clock*, while they
could read it, they declare the node dead and end its start. No clocks are compared, and after the
database was unreachable, everybody starts counting again.

**A node that was declared dead.** Its next batch is refused (`NodeFenced`), so nothing of it can
ever be committed again. It abandons what it runs, which now belongs to others, and starts again
with another number, in the same process. When in doubt it does nothing: a node that has not
written for most of its lease starts no attempt until it has.

**After a crash.** What is left is a start that has not ended, with its claims, the bodies that it
was receiving and the results that it was delivering. The others end that start, at the latest one
lease after they saw the last sign of life.

**Who recovers.** Any node, at each beat: the jobs of all starts that have ended, by guarded
statements, so it does not matter how many nodes do so at the same time.

**Lost claims.** If a claim was committed but its answer was lost, its jobs would run nowhere. So
each node compares what it runs with what the database says it runs. A job that is missing at two
beats in a row is queued again if it was never started; otherwise it is recovered as if the node
had died.

**Notices** are hints only: see `jobstore.store.postgresql.notices`. Whatever they announce is also
found at the next beat.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import Final

from jobstore.live.store import Store
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import NodeFenced, StoreError
from jobstore.model.job import Replay
from jobstore.store.codec import encode_ids
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.nodes import latest
from jobstore.store.starts import Start
from jobstore.store.writer import Writer, nothing

# How often a node shows that it lives, in a lease; and what part of one it trusts in itself.
_BEATS: Final = 5
_TRUSTED: Final = 0.8
# How often it is looked for deliveries that take long.
_DELIVERY_SECONDS: Final = 0.5

log = logging.getLogger(__name__)


class Nodes:
    """This node, and the others; see `jobstore.live.others.Others`.

    Args:
        writer: writes as this node.
        side: a separate connection, which never waits for a batch.
        boot: this start of the node.
        begin: records a new start that serves targets, and returns its number.
        lease: how long a node may be silent, in seconds.
        store: the store whose jobs this node runs.
        look: reads the database's clock.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        writer: Writer,
        side: DatabaseConnection,
        boot: OwnBoot,
        *,
        begin: Callable[[str], Awaitable[int]],
        lease: float,
        store: Store,
        clock: Clock,
        look: Callable[[], Awaitable[None]],
    ) -> None:
        self._writer = writer
        self._side = side
        self._boot = boot
        self._begin = begin
        self._lease = lease
        self._store = store
        self._clock = clock
        self._look_at_clock = look
        self._targets = boots.encode_targets({})
        self._unsaid = self._unserved = False
        self._delivering: frozenset[int] = frozenset()
        self._listed: list[int] = []
        self._missing: frozenset[int] = frozenset()
        self._seen: dict[int, tuple[int, float]] = {}
        self._greeted = True  # until it has looked itself
        self._trusted_until = monotonic() + _TRUSTED * lease

    # --- what a server asks of it ---------------------------------------------------------------

    async def beat(self) -> bool:
        """Wait a little, show that this node is alive, and check the others."""
        await asyncio.sleep(self._lease / _BEATS)
        began = monotonic()
        try:
            await self._writer.run(nothing)  # but the number of the batch
        except NodeFenced:
            await self._begin_anew()
        self._trusted_until = began + _TRUSTED * self._lease
        try:
            if self._unsaid:
                await self._say()
            if self._unserved:
                await self._store.targets.serve_again()
                self._unserved = False
            await self._look_at_clock()
            await self._look()
            await self._compare()
            await self._wake()
        except StoreError:
            self._seen.clear()  # who could not be seen was not silent
            raise
        return True

    def company(self) -> bool:
        """Return whether there are other nodes, as far as this one knows."""
        return bool(self._seen) or self._greeted

    def greeted(self) -> None:
        """Note that another node has started."""
        self._greeted = True

    async def trusted(self) -> None:
        """Wait until the others have certainly seen this node alive."""
        while monotonic() > self._trusted_until:  # noqa: ASYNC110 - it ends as time passes
            await asyncio.sleep(self._lease / _BEATS / 4)

    async def serve(self, targets: Mapping[str, Replay]) -> None:
        """Announce which targets are served here, and what each allows to be repeated."""
        self._targets = boots.encode_targets(targets)
        self._unsaid = True
        with suppress(StoreError):  # then it is said at the next beat
            await self._say()

    async def served(self) -> frozenset[str]:
        """Return the targets that other nodes serve, or served a moment ago."""
        asked = {"now": self._clock(), "gone": boots.GONE, "own_boot": self._boot.number}
        return boots.served(await self._side.rows(boots.SERVED, **asked))

    async def turn(self, interval: float) -> bool:
        """Return whether it is this node's turn to clean up; one node does so in each round."""
        asked = {"now": self._clock(), "interval": int(interval * SECOND)}
        if not await self._side.rows(boots.TURN, **asked):
            return False
        await self._side.rows(boots.FOLD)
        return True

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of all nodes."""
        return await latest(self._store.history, limit, self._lease)

    async def tell_deliveries(self) -> None:
        """Announce small deliveries that take long to the other nodes, until cancelled."""
        while True:
            await asyncio.sleep(_DELIVERY_SECONDS)
            now = frozenset(self._store.delivering)
            slow, self._delivering = sorted(now & self._delivering), now
            if slow != self._listed:
                self._listed = slow
                try:
                    await self._say()
                except StoreError as error:  # nobody can take anything either
                    log.debug("%s", error, extra={"action": "node"})

    # --- what it does for that ------------------------------------------------------------------

    async def _say(self) -> None:
        said = {"targets": self._targets, "delivering": self._listed}
        await self._side.rows(boots.SERVE, own_boot=self._boot.number, **said)
        self._unsaid = False

    async def _look(self) -> None:
        """Find out which nodes are silent, and for how long."""
        self._greeted = False  # whoever comes from now on is seen, or greets
        alive = dict(await self._side.rows(boots.ALIVE, own_boot=self._boot.number))
        now = monotonic()
        self._seen = {boot: (batch, self._since(boot, batch, now)) for boot, batch in alive.items()}
        for boot, (batch, since) in self._seen.items():
            if now - since >= self._lease:
                await self._end(boot, batch)

    async def _compare(self) -> None:
        """Stop jobs whose cancellation was requested at another node, and find lost claims."""
        boot, running = self._boot.number, frozenset(self._store.running)
        claimed = dict(await self._side.rows(boots.CLAIMED, own_boot=boot))
        for job_id, cancel_asked_at in claimed.items():
            if cancel_asked_at is not None and job_id in running:
                self._store.dispatcher.cancel(job_id)
        missing = frozenset(claimed) - running - frozenset(self._store.running)
        lost, self._missing = missing & self._missing, missing
        if lost and boot == self._boot.number:
            log.warning(
                "%d claims were lost before they reached this node",
                len(lost),
                extra={"action": "node"},
            )
            # Recovery also ends those that nobody wants any more.
            unwanted = {job_id for job_id in lost if claimed[job_id] is not None}
            abandoned = self._store.attempts.abandoned
            begun = sorted((lost & abandoned) | unwanted)
            await self._writer.run(lambda tx: boots.give_up(tx, begun))
            abandoned.difference_update(begun)
            await self._writer.run(lambda tx: boots.unclaim(tx, sorted(lost.difference(begun))))

    async def _wake(self) -> None:
        """Wake waiters of jobs that have ended elsewhere, in case a notice was lost."""
        if watched := self._store.watched():
            for (job_id,) in await self._side.rows(boots.ENDED, ids=encode_ids(watched)):
                self._store.wake(job_id)

    def _since(self, boot: int, batch: int, now: float) -> float:
        before, since = self._seen.get(boot, (None, now))
        return since if before == batch else now

    async def _end(self, boot: int, batch: int) -> None:
        """End the start of a node that was silent for too long, unless it has written meanwhile."""
        ended = await self._writer.run(
            lambda tx: tx.execute(boots.DIED, boot=boot, batch=batch, now=tx.now).rowcount
        )
        if ended:
            log.warning("node %d is silent and was declared dead", boot, extra={"action": "node"})

    async def _begin_anew(self) -> None:
        log.error(
            "the other nodes declared this one dead; it is starting again", extra={"action": "node"}
        )
        self._boot.number = await self._begin(self._targets)
        self._store.dispatcher.begin_anew()
        self._unserved = True
