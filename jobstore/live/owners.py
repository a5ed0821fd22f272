"""What one owner may have, so that nobody takes all there is."""

import math
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import OwnerLimit

# Of how many owners the latest submissions are remembered at most.
_REMEMBERED: Final = 10_000
# How long whoever has too much is asked to wait: until jobs have run, and until results have gone.
_UNTIL_RUN: Final = 5
_UNTIL_GONE: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerLimits:
    """What one owner may have; 0 is no bound.

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
    """Refuse what is more than one owner may have.

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
            raise OwnerLimit(f"{queued} of your jobs wait, of at most {limits.queued}", _UNTIL_RUN)
        if limits.stored and stored >= limits.stored:
            kept = f"{stored} bytes of your requests and results are kept"
            raise OwnerLimit(f"{kept}, of at most {limits.stored}", _UNTIL_GONE)

    def check_rate(self, account: int, jobs: int) -> None:
        """Refuse jobs of an owner who submits too many a second, though those may come at once.

        Raises:
            OwnerLimit: they do.
        """
        rate = self._limits.rate
        if not rate:
            return
        now = self._clock() / SECOND
        used = max(now, self._used.get(account, now)) + jobs / rate
        wait = used - now - max(1.0, jobs / rate)
        if wait > 0:
            bound = f"expected at most {rate:g} jobs a second"
            raise OwnerLimit(bound, math.ceil(wait))
        self._used[account] = used
        self._used.move_to_end(account)
        while len(self._used) > _REMEMBERED:
            self._used.popitem(last=False)
