"""Whose turn it is: owners whose jobs wait for the same target take turns within a priority.

The queue is in the store. What is kept here for each account is only a bound: none of its waiting
jobs for the target has a lower priority. The store is asked before anything is claimed, and
corrects the bound. Without it, each claim would have to look at the first job of every account.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

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
        complete: whether no other account has jobs that wait.
    """

    waiting: dict[int, int] = field(default_factory=dict)
    last: int = UNKNOWN
    complete: bool = False

    def copy(self) -> "Turns":
        """Give a copy for one claim, which another thread may make."""
        return Turns(dict(self.waiting), self.last, self.complete)

    def came(self, account: int, priority: int) -> None:
        """Note that a job of an account waits."""
        self.waiting[account] = min(priority, self.waiting.get(account, priority))

    def next(self, but: Collection[int]) -> int | None:
        """Tell whose turn it is: of those with the lowest priority, the next after the last.

        Args:
            but: the accounts of which no further job may run.
        """
        able = [
            (priority, account <= self.last, account)
            for account, priority in self.waiting.items()
            if account not in but
        ]
        return min(able)[2] if able else None


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a claim came to.

    Args:
        claims: what was claimed.
        more: whether jobs may wait still.
        found: what was found about accounts: the new bound, or None if no job of it waits.
        complete: whether the file was asked for all accounts.
    """

    claims: list[Claim]
    more: bool
    found: Mapping[int, int | None] = field(default_factory=dict)
    complete: bool = False

    def tell(self, turns: Turns) -> None:
        """Note what was found; what came earlier was seen when it was."""
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
