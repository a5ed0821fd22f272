"""Which job runs next: slots of each target, claims for free ones, orders for the executor.

The queue itself lies in the file, in an index that gives the next jobs of a target; here is only
how many slots each target has left, whether anything may be waiting for them, and whose turn it is.
"""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jobstore.model.errors import StoreLost
from jobstore.model.job import Order
from jobstore.model.rotation import Claimed, Room, Turns
from jobstore.store.sqlite.writer import Transaction, Writer
from jobstore.store.transitions import Aftermath

# How long to wait before claiming again after the store could not be written.
_RETRY_SECONDS: Final = 1.0

# Claims up to so many jobs of a target.
Claiming: TypeAlias = Callable[[Transaction, str, int, Turns, Room | None], Claimed]

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    """The slots of one target.

    Args:
        capacity: how many of its jobs may run at once.
        busy: how many run, or are being claimed.
        backlog: whether jobs may be waiting in the file.
        claiming: whether a claim is on its way.
        turns: whose jobs wait.
    """

    capacity: int
    busy: int = 0
    backlog: bool = True
    claiming: bool = False
    turns: Turns = field(default_factory=Turns)

    @property
    def free(self) -> int:
        return self.capacity - self.busy


class Dispatcher:
    """Give the executor its orders, never more claims than there are slots.

    Args:
        writer: where claims are made.
        claim: claims up to so many jobs of a target.
        queued: how many jobs wait already.
        bound: how many jobs of one account may run at once; 0 is no bound.
    """

    def __init__(self, writer: Writer, claim: Claiming, queued: int, bound: int = 0) -> None:
        self.queued = queued
        self._writer = writer
        self._claim = claim
        self._bound = bound
        self._running: Counter[int] = Counter()
        self._lanes: dict[str, _Lane] = {}
        self._orders: deque[Order] = deque()
        self._wake = asyncio.Event()
        self._freed = asyncio.Event()
        self._paused = True

    async def orders(self, capacities: Mapping[str, int]) -> AsyncIterator[Order]:
        """Start claiming, and give the orders as they come.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
        """
        self._lanes = {name: _Lane(capacity) for name, capacity in capacities.items()}
        self._paused = False
        self.claim_all()
        while True:
            while self._orders:
                yield self._orders.popleft()
            self._wake.clear()
            await self._wake.wait()

    def pause(self) -> None:
        """Claim nothing any more."""
        self._paused = True

    def slots(self) -> dict[str, tuple[int, int]]:
        """Tell how many slots of each target are busy, and how many it has."""
        return {name: (lane.busy, lane.capacity) for name, lane in self._lanes.items()}

    async def idle(self) -> None:
        """Wait until every slot is free: no job runs, and no claim is on its way."""
        while any(lane.busy for lane in self._lanes.values()):
            self._freed.clear()
            await self._freed.wait()

    def admit(self, target: str, account: int, *, waits: bool = False) -> bool:
        """Give a job that comes in a free slot, or else a place in the queue.

        Args:
            target: who will be asked.
            account: whose it is.
            waits: whether it has to wait for something else than a slot.

        Returns:
            whether it got a slot; others that wait already go first.
        """
        lane = self._lanes.get(target)
        if (
            waits
            or lane is None
            or self._paused
            or lane.backlog
            or lane.free < 1
            or (self._bound and not self._may_run(account))
        ):
            self.queued += 1
            return False
        lane.busy += 1
        if self._bound:
            self._running[account] += 1
        return True

    def turned_away(self, target: str, account: int, *, had_slot: bool) -> None:
        """Take back what a job was admitted to: it could not be written."""
        if had_slot:
            self.release(target, account)
        else:
            self.queued -= 1

    def release(self, target: str, account: int) -> None:
        """Give a slot back, to the next job if there is one."""
        self._free(target, 1)
        if self._bound:
            self._running[account] -= 1
        self._go_on(target)

    def enqueued(self, target: str, account: int, priority: int) -> None:
        """Note that a job of an account waits in the file."""
        lane = self._lanes.get(target)
        if lane is not None:
            lane.backlog = True
            lane.turns.came(account, priority)
            self._refill(target)

    def some_enqueued(self, target: str) -> None:
        """Note that jobs wait in the file, whosever they are."""
        lane = self._lanes.get(target)
        if lane is not None:
            lane.backlog = True
            lane.turns.complete = False
            self._refill(target)

    def lined_up(self, count: int) -> None:
        """Note that jobs are about to wait in the file, one for the other."""
        self.queued += count

    def dequeued(self, count: int = 1) -> None:
        """Note that jobs wait no longer, but for another reason than a claim."""
        self.queued -= count

    def followed(self, aftermath: Aftermath) -> None:
        """Note what the end of a job meant for those that waited for it."""
        self.queued -= len(aftermath.cancelled)
        for target in aftermath.released:
            self.some_enqueued(target)

    def recounted(self, queued: int) -> None:
        """Note how many jobs wait, some of them unheard of before."""
        self.queued = queued
        self.claim_all()

    def requeued(self, count: int) -> None:
        """Note that jobs wait again."""
        self.queued += count
        self.claim_all()

    def claim_all(self) -> None:
        """Note that jobs of any target may wait in the file."""
        for target in self._lanes:
            self.some_enqueued(target)

    def order(self, order: Order) -> None:
        """Hand an order to the executor."""
        self._orders.append(order)
        self._wake.set()

    def _free(self, target: str, slots: int) -> None:
        self._lanes[target].busy -= slots
        self._freed.set()

    def _may_run(self, account: int) -> bool:
        """Tell whether one more job of an account may run, where there is a bound.

        Of what is being claimed just now nobody knows yet whose it is.
        """
        claiming = any(lane.claiming for lane in self._lanes.values())
        return not claiming and self._running[account] < self._bound

    def _room(self, account: int) -> int:
        return self._bound - self._running[account]

    def _go_on(self, target: str) -> None:
        """Fill the slots of a target; with a bound, what ended may let jobs of any target run."""
        for name in self._lanes if self._bound else (target,):
            self._refill(name)

    def _refill(self, target: str) -> None:
        lane = self._lanes[target]
        if self._paused or lane.claiming or not lane.backlog or lane.free < 1:
            return
        if self._bound and not self._may_claim(lane):
            return
        wanted = lane.free
        lane.claiming = True
        lane.busy += wanted
        room = self._room if self._bound else None
        self._writer.send(
            lambda tx: self._claim(tx, target, wanted, lane.turns.copy(), room),
            then=lambda claimed: self._claimed(target, wanted, claimed),
            otherwise=lambda error: self._not_claimed(target, wanted, error),
        )

    def _may_claim(self, lane: _Lane) -> bool:
        """Tell whether there is anything to claim, where accounts have a bound."""
        if any(other.claiming for other in self._lanes.values()):
            return False
        turns = lane.turns
        return not turns.complete or any(
            self._running[account] < self._bound for account in turns.waiting
        )

    def _claimed(self, target: str, wanted: int, claimed: Claimed) -> None:
        lane, claims = self._lanes[target], claimed.claims
        lane.claiming = False
        lane.backlog = claimed.more
        claimed.tell(lane.turns)
        self._free(target, wanted - len(claims))
        self.queued -= len(claims)
        for claim in claims:
            self.order(claim)
        if self._bound:
            self._running.update(claim.account for claim in claims)
        self._go_on(target)

    def _not_claimed(self, target: str, wanted: int, error: Exception) -> None:
        """Try again later: the jobs are still queued."""
        log.warning("cannot claim jobs: %s", error, extra={"action": "claim", "target": target})
        self._free(target, wanted)
        if isinstance(error, StoreLost):
            return
        asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._retry, target)

    def _retry(self, target: str) -> None:
        self._lanes[target].claiming = False
        self._go_on(target)
