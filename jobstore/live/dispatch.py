"""Which job runs next: the slots of each target, claims for free slots, orders for the executor.

The queue itself is in the store, as an index that yields the next jobs of a target. This module
keeps in memory how many slots each target has left, whether jobs may be waiting for them, and
whose turn it is. All of that follows from what was committed: `settle`, and the facts that it is
given, change it between two batches of the writer. There are two exceptions: `release`, for an
attempt whose end can never be stored because the store is lost, and the number of slots of a lane,
which operators may change at any time.

A lane can be closed because its target is paused or cannot be reached. It then has no slots at
all, so no code that starts jobs has to know the reason; running jobs go on. A batch that is in
flight when a lane is closed, or loses slots, may still start jobs.

An operation that asks for a free slot gets the right answer in whichever thread it runs: memory
reflects the store at the start of the batch, and the transaction knows what the batch has done
since. A slot is taken by the transaction that makes a job running, and freed by the one that ends
the attempt; if that transaction fails, nothing has to be undone here.

A claim is posted whenever a slot and a job may meet: after a batch that freed a slot or queued a
job, and together with the end of a job, so that both share a commit. It claims as many jobs as
there are free slots when it is executed. Each target has at most one claim in flight. If it cannot
be committed, the jobs are still queued, and it is repeated a second later.

A crash leaves running jobs without a server; the next start recovers them by their boot number.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jobstore.model.errors import StoreError, StoreLost
from jobstore.model.job import Abandonment, Cancellation, Claim, Order
from jobstore.model.rotation import Claimed, Room, Turns
from jobstore.store import elsewhere
from jobstore.store.facts import CancelAsked, Changes, Looked, Queued, Ready, Started
from jobstore.store.own_boot import OwnBoot
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer, nothing

# How long to wait before claiming again after the store could not be written.
_RETRY_SECONDS: Final = 1.0

# Claims up to so many jobs of a target.
Claiming: TypeAlias = Callable[[Transaction, str, int, Turns, Room | None], Claimed]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    """The slots of one target.

    Args:
        slots: how many of its jobs may run at once.
        busy: how many run.
        backlog: whether jobs may be waiting in the store.
        claiming: whether a claim is in flight.
        turns: the accounts whose jobs wait.
        capacity: how many slots there are at the moment: none while the lane is closed.
    """

    slots: int
    busy: int = 0
    backlog: bool = True
    claiming: bool = False
    turns: Turns = field(default_factory=Turns)
    capacity: int = 0


class Dispatcher:
    """Give the executor its orders, never more claims than free slots.

    Args:
        writer: makes the claims.
        claim: claims up to a number of jobs of a target.
        queued: how many jobs are queued already.
        boot: this start of the server; claims of others hold no slot here.
        bound: how many jobs of one account may run at once; 0 means no limit.

    Attributes:
        queued: how many jobs are queued.
    """

    def __init__(
        self, writer: Writer, claim: Claiming, queued: int, boot: OwnBoot, bound: int = 0
    ) -> None:
        self.queued = queued
        self._writer = writer
        self._claim = claim
        self._boot = boot
        self._bound = bound
        self._running: Counter[int] = Counter()
        self._lanes: dict[str, _Lane] = {}
        self._order: Callable[[Order], None]  # once it has begun, before which nothing is claimed
        self._freed = asyncio.Event()
        self._stopped = False

    def begin(
        self,
        capacities: Mapping[str, int],
        order: Callable[[Order], None],
        closed: Collection[str] = (),
    ) -> None:
        """Start claiming.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
            order: called with each order, between two batches of the writer.
            closed: the targets of which no job may start.
        """
        self._lanes = {
            name: _Lane(slots, capacity=0 if name in closed else slots)
            for name, slots in capacities.items()
        }
        self._order = order
        self._refill_all()

    def resize(self, target: str, slots: int, *, closed: bool) -> None:
        """Set the number of slots of a target; a closed lane still has none."""
        lane = self._lanes.get(target)
        if lane is not None:
            lane.slots, lane.capacity = slots, 0 if closed else slots
            self._refill(target, lane)

    def stop(self) -> None:
        """Start no further jobs."""
        self._stopped = True

    def slots(self) -> dict[str, tuple[int, int]]:
        """Return for each target how many slots are busy, and how many it has."""
        return {name: (lane.busy, lane.slots) for name, lane in self._lanes.items()}

    async def idle(self) -> None:
        """Wait, once stopped, until every slot is free: no job runs, and none is about to."""
        with suppress(StoreError):  # what cannot be committed starts nothing
            await self._writer.run(nothing)
        while any(lane.busy for lane in self._lanes.values()):
            self._freed.clear()
            await self._freed.wait()

    def look_again(self) -> None:
        """Claim jobs that another process may have put into the store."""
        for lane in self._lanes.values():
            lane.backlog, lane.turns.complete = True, False
        self._refill_all()

    def begin_anew(self) -> None:
        """Forget what runs: it no longer belongs to this process."""
        self._running.clear()
        for lane in self._lanes.values():
            lane.busy, lane.backlog, lane.turns = 0, True, Turns()
        if self._lanes:
            self._order(Abandonment())
        self._freed.set()
        self._refill_all()

    # --- in a transaction -----------------------------------------------------------------------

    def waiting(self, tx: Transaction) -> int:
        """Return how many jobs are queued, including those of a transaction."""
        return self.queued + tx.changes.queued

    def may_start(self, tx: Transaction, target: str, account: int) -> bool:
        """Return whether a new job gets a slot now; jobs that are waiting already go first."""
        lane = self._lanes.get(target)
        return (
            lane is not None
            and not self._stopped
            and not lane.backlog
            and target not in tx.changes.lined_up
            and self._free(tx, target) > 0
            and (not self._bound or (self._room(tx, account) > 0 and not tx.shared))
        )

    def take(self, tx: Transaction, target: str, account: int) -> None:
        """Take a slot, for a job that starts in this transaction."""
        self._count(tx, target, account, 1)

    def over(self, tx: Transaction, claim: Claim) -> None:
        """Free the slot of an attempt that is over."""
        if claim.boot == self._boot.number:
            self._count(tx, claim.target, claim.account, -1)

    def _count(self, tx: Transaction, target: str, account: int, slots: int) -> None:
        tx.changes.slots[target] += slots
        if self._bound:
            tx.changes.running[account] += slots

    def recount(self, tx: Transaction, queued: int) -> None:
        """Read the number of queued jobs from the store, where another process has added some."""
        tx.changes.queued = queued - self.queued

    def _free(self, tx: Transaction, target: str) -> int:
        lane = self._lanes[target]
        return lane.capacity - lane.busy - tx.changes.slots[target]

    def _rooms(self, tx: Transaction) -> Room:
        """Return a function that tells how many more jobs of an account may run on all nodes."""
        others = elsewhere.running(tx) if tx.shared else Counter[int]()
        return lambda account: self._room(tx, account) - others[account]

    def _room(self, tx: Transaction, account: int) -> int:
        return self._bound - self._running[account] - tx.changes.running[account]

    def _claimed(self, tx: Transaction, target: str) -> None:
        """Claim as many jobs as there are slots."""
        free = self._free(tx, target)
        if self._stopped or free < 1:
            return
        room = self._rooms(tx) if self._bound else None
        claimed = self._claim(tx, target, free, self._lanes[target].turns.copy(), room)
        tx.tell(Looked(target, claimed))
        for claim in claimed.claims:
            self.take(tx, target, claim.account)
            tx.tell(Started(claim))

    # --- after a batch --------------------------------------------------------------------------

    def queue(self, fact: Queued) -> None:
        """Note that a job is queued in the store."""
        lane = self._lanes.get(fact.target)
        if lane is not None:
            lane.backlog = True
            lane.turns.came(fact.account, fact.priority)

    def ready(self, fact: Ready) -> None:
        """Note that jobs may be waiting in the store."""
        for target, lane in self._lanes.items():
            if fact.target in {None, target}:
                lane.backlog = True
                lane.turns.complete = False

    def looked(self, fact: Looked) -> None:
        """Note what a claim found."""
        lane = self._lanes[fact.target]
        # What other nodes leave no room for is looked for again when they have told something.
        lane.backlog = fact.claimed.more and bool(fact.claimed.claims or not self._boot.shared)
        fact.claimed.tell(lane.turns)

    def started(self, fact: Started) -> None:
        """Have a job run."""
        self._order(fact.claim)

    def cancel_asked(self, fact: CancelAsked) -> None:
        """Have a job stopped."""
        self.cancel(fact.job_id)

    def cancel(self, job_id: int) -> None:
        """Have a job stopped, if it runs here."""
        if self._lanes:
            self._order(Cancellation(job_id))

    def settle(self, changes: Changes) -> None:
        """Count what a batch changed, and fill free slots."""
        self.queued += changes.queued
        for target, taken in changes.slots.items():
            self._lanes[target].busy += taken
        if changes.running:
            self._running.update(changes.running)
        self._freed.set()
        self._refill_all()

    # --- claims ---------------------------------------------------------------------------------

    def release(self, claim: Claim) -> None:
        """Free the slot of an attempt whose end cannot be written."""
        if claim.boot != self._boot.number:
            return
        self._lanes[claim.target].busy -= 1
        if self._bound:
            self._running[claim.account] -= 1
        self._freed.set()
        self._refill_all()

    def ending(self, target: str) -> None:
        """Have the next claim share the commit with a job's end that was just posted."""
        self._refill(target, self._lanes[target], ending=1)

    def _refill_all(self) -> None:
        for target, lane in self._lanes.items():
            self._refill(target, lane)

    def _refill(self, target: str, lane: _Lane, ending: int = 0) -> None:
        if self._stopped or lane.claiming or not lane.backlog:
            return
        if lane.capacity - lane.busy + ending < 1 or not (ending or self._may_claim(lane)):
            return
        lane.claiming = True
        self._writer.queue(
            lambda tx: self._claimed(tx, target),
            lambda outcome: self._done(target, outcome.error),
        )

    def _may_claim(self, lane: _Lane) -> bool:
        """Return whether any job can be claimed, if accounts have a limit."""
        if not self._bound or not lane.turns.complete:
            return True
        return any(self._running[account] < self._bound for account in lane.turns.waiting)

    def _done(self, target: str, error: Exception | None) -> None:
        """Continue after a claim, or try again later: the jobs are still queued."""
        if error is None:
            self._go_on(target)
            return
        log.warning("cannot claim jobs: %s", error, extra={"action": "claim", "target": target})
        if not isinstance(error, StoreLost):
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._go_on, target)

    def _go_on(self, target: str) -> None:
        lane = self._lanes[target]
        lane.claiming = False
        self._refill(target, lane)
