"""Limits of single owners, so that nobody uses up everything."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import OwnerLimit, TooFast
from jobstore.store import rates
from jobstore.store.transaction import Transaction

# Of how many owners the latest submissions are remembered at most.
_REMEMBERED: Final = 10_000
# How long whoever has too much is asked to wait: until jobs have run, and until results have gone.
_UNTIL_RUN: Final = 5
_UNTIL_GONE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLimits:
    """The limits of one owner; 0 is no limit.

    Args:
        queued: how many jobs may wait, for whatever.
        running: how many may run at once, over all targets.
        stored: how many bytes of requests and responses may be kept before no more are taken.
        rate: how many jobs a second may be submitted in the long run.
    """

    queued: int = 0
    running: int = 0
    stored: int = 0
    rate: float = 0.0


class Owners:
    """Refuse what exceeds the limits of one owner.

    Args:
        limits: how much that is.
    """

    def __init__(self, limits: OwnerLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        # By account, until when its submissions have used up what it may submit.
        self._used: OrderedDict[int, float] = OrderedDict()

    @property
    def bounded(self) -> bool:
        """Whether there is a bound that `check_usage` knows."""
        return bool(self._limits.queued or self._limits.stored)

    @property
    def rated(self) -> bool:
        """Whether there is a bound on what is submitted in a second."""
        return bool(self._limits.rate)

    def check_usage(self, queued: int, stored: int, jobs: int) -> None:
        """Refuse further jobs of an owner who has too much already.

        Args:
            queued: how many of their jobs wait.
            stored: how many bytes are kept for them.
            jobs: how many jobs are to come.

        Raises:
            OwnerLimit: they have.
        """
        limits = self._limits
        if limits.queued and queued + jobs > limits.queued:
            raise OwnerLimit(
                f"{queued} of your jobs are waiting; the limit is {limits.queued}", _UNTIL_RUN
            )
        if limits.stored and stored >= limits.stored:
            kept = f"{stored} bytes of your requests and results are stored"
            raise OwnerLimit(f"{kept}; the limit is {limits.stored}", _UNTIL_GONE)

    def check_rate(self, account: int, jobs: int) -> None:
        """Refuse jobs of an owner who submits too many a second, though those may come at once.

        Raises:
            OwnerLimit: they do.
        """
        if not self._limits.rate:
            return
        self._used[account] = self._used_after(self._used.get(account), self._clock(), jobs)
        self._used.move_to_end(account)
        while len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)

    def check_rate_of_all(self, tx: Transaction, account: int, jobs: int) -> None:
        """Refuse as `check_rate` does, by what was submitted at all nodes.

        Raises:
            OwnerLimit: it was too much.
        """
        if self._limits.rate:
            used = self._used_after(rates.used_until(tx, account), tx.now, jobs)
            rates.use(tx, account, used)

    def _used_after(self, used: float | None, clock: int, jobs: int) -> float:
        """Tell until when an owner has used up what they may submit, after some more jobs.

        Args:
            used: until when they had, in seconds since 1970; None if they had not.
            clock: microseconds since 1970.

        Raises:
            OwnerLimit: that is too many.
        """
        rate, now = self._limits.rate, clock / SECOND
        cost = jobs / rate
        after = max(now, used or now) + cost
        wait = after - now - max(1.0, cost)
        if wait > 0:
            raise TooFast(rate, math.ceil(wait))
        return after
