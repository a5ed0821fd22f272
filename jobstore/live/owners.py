"""Limits for each owner, so that nobody uses up everything."""

import math
from collections import OrderedDict
from typing import Final

from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import OwnerLimit, TooFast
from jobstore.model.frozen import frozen
from jobstore.store import rates
from jobstore.store.transaction import Transaction

# Of how many owners the latest submissions are remembered at most.
_REMEMBERED: Final = 10_000
# How long whoever has too much is asked to wait: until jobs have run, and until results have gone.
_UNTIL_RUN: Final = 5
_UNTIL_GONE: Final = 60
# The most jobs that are described in one call, which may exceed the rate: later ones wait for it.
MOST_AT_ONCE: Final = 1000


@frozen(kw_only=True)
class OwnerLimits:
    """The limits of one owner; 0 means no limit.

    Args:
        queued: how many jobs may be queued, for whatever reason.
        running: how many may run at once, over all targets.
        stored: how many bytes of requests and responses may be stored before new jobs are refused.
        rate: how many jobs per second may be submitted on average.
    """

    queued: int = 0
    running: int = 0
    stored: int = 0
    rate: float = 0.0


class Owners:
    """Refuse what exceeds the limits of one owner.

    Args:
        limits: the limits.
        steady: a clock that nobody sets: an owner must not be refused for as long as the wall clock
            is put back.
    """

    def __init__(self, limits: OwnerLimits, steady: Clock) -> None:
        self._limits = limits
        self._steady = steady
        # By account, until when its submissions have used up what it may submit.
        self._used: OrderedDict[int, float] = OrderedDict()

    @property
    def bounded(self) -> bool:
        """Whether `check_usage` has a limit to check."""
        return bool(self._limits.queued or self._limits.stored)

    @property
    def rated(self) -> bool:
        """Whether there is a limit on submissions per second."""
        return bool(self._limits.rate)

    def check_usage(self, queued: int, stored: int, jobs: int) -> None:
        """Refuse further jobs of an owner who has too much already.

        Args:
            queued: how many of their jobs are queued.
            stored: how many bytes are stored for them.
            jobs: how many jobs are being submitted.

        Raises:
            OwnerLimit: a limit is reached.
        """
        limits = self._limits
        if limits.queued and queued + jobs > limits.queued:
            waiting = "1 of your jobs is" if queued == 1 else f"{queued} of your jobs are"
            raise OwnerLimit(f"{waiting} waiting; the limit is {limits.queued}", _UNTIL_RUN)
        if limits.stored and stored >= limits.stored:
            kept = f"{stored} bytes of your requests and results are stored"
            raise OwnerLimit(f"{kept}; the limit is {limits.stored}", _UNTIL_GONE)

    def check_rate(self, account: int, jobs: int) -> None:
        """Refuse jobs of an owner who submits too many per second; short bursts may come at once.

        Raises:
            OwnerLimit: the rate is exceeded.
        """
        if not self._limits.rate:
            return
        self._used[account] = self._used_after(self._used.get(account), self._steady(), jobs)
        self._used.move_to_end(account)
        while len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)

    def check_rate_of_all(self, tx: Transaction, account: int, jobs: int) -> None:
        """Refuse as `check_rate` does, counting the submissions at all nodes.

        They go by the clock of their database, which may be put back. What is further ahead of it
        than submissions can be counts as now, so that nobody is refused for as long.

        Raises:
            OwnerLimit: the rate is exceeded.
        """
        if not self._limits.rate:
            return
        used = rates.used_until(tx, account)
        furthest = tx.now / SECOND + 1 + MOST_AT_ONCE / self._limits.rate
        if used is not None and used > furthest:
            used = None
        rates.use(tx, account, self._used_after(used, tx.now, jobs))

    def _used_after(self, used: float | None, clock: int, jobs: int) -> float:
        """Return until when an owner's allowance is used up, after some more jobs.

        Args:
            used: until when it was used up, in seconds of the same clock; None if it was not.
            clock: the time, in microseconds.

        Raises:
            OwnerLimit: the rate is exceeded.
        """
        rate, now = self._limits.rate, clock / SECOND
        cost = jobs / rate
        after = max(now, used or now) + cost
        wait = after - now - max(1.0, cost)
        if wait > 0:
            raise TooFast(rate, math.ceil(wait))
        return after
