"""Round robin: owners whose jobs wait for the same target take turns within a priority.

The queue is in the store. What is kept here for each account is only a bound: none of its waiting
jobs for the target has a lower priority. The store is asked before anything is claimed, and
corrects the bound. Without it, each claim would have to look at the first job of every account.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from jobstore.model.frozen import frozen
from jobstore.model.job import Claim

# Below the priority of any job, and below any account.
UNKNOWN: Final = -(2**63)

# Tells how many jobs more of an account may run.
Room: TypeAlias = Callable[[int], int]


@dataclass(slots=True)
class Turns:
    """The accounts whose jobs wait for a target.

    Args:
        waiting: by account, a lower bound of the priorities of its jobs.
        last: the account that had the last turn.
        complete: whether no other account has waiting jobs.
    """

    waiting: dict[int, int] = field(default_factory=dict)
    last: int = UNKNOWN
    complete: bool = False

    def copy(self) -> "Turns":
        """Return a copy for one claim, which may run in another thread."""
        return Turns(dict(self.waiting), self.last, self.complete)

    def came(self, account: int, priority: int) -> None:
        """Note a waiting job of an account."""
        self.waiting[account] = min(priority, self.waiting.get(account, priority))

    def next(self, but: Collection[int]) -> int | None:
        """Return whose turn it is: of those with the lowest priority, the next after the last.

        Args:
            but: accounts that may not run more jobs.
        """
        able = [
            (priority, account <= self.last, account)
            for account, priority in self.waiting.items()
            if account not in but
        ]
        return min(able)[2] if able else None


@frozen
class Claimed:
    """The outcome of claiming jobs.

    Args:
        claims: the claimed jobs.
        more: whether more jobs may be waiting.
        found: new bounds by account; None if no job of the account waits.
        complete: whether all accounts were looked at.
    """

    claims: list[Claim]
    more: bool
    found: Mapping[int, int | None] = field(default_factory=dict)
    complete: bool = False

    def tell(self, turns: Turns) -> None:
        """Update the bounds by what was found; jobs that came earlier have been seen already."""
        for account, bound in self.found.items():
            if bound is None:
                turns.waiting.pop(account, None)
            else:
                turns.waiting[account] = bound
        if not self.more:
            turns.waiting.clear()
        turns.complete |= self.complete
        if self.claims:
            turns.last = self.claims[-1].account
