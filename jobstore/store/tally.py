"""Counters of jobs, so that nobody has to count rows: reported once, written once.

Three tables keep numbers: `counter` has how many jobs and results are in each state,
`account_usage` how many jobs of each account are queued and how many bytes of bodies are stored,
and `day` what happened on each day in UTC, which outlives the jobs.

**Who counts.** Code that inserts, changes or deletes jobs reports it to the tally of the
transaction right after the statement. The earlier state of a job is known from the guard of that
statement, if it names one state; from what the statement returns; or, in rare cases where several
states are possible, from a read before it. Triggers did this before, and took a third of the time
that SQLite spent on a job.

**When it is written.** Once for all operations of a transaction, in that transaction, before its
commit: rows and counters are stored together or not at all. Each transaction has a tally of its
own, so whatever is rolled back was never counted. A reader of these tables inside a transaction
adds what its tally has.

**What it cannot see.** If another program inserts, deletes or changes rows of the table `job`, the
counters do not follow, as triggers would have. The jobs are not harmed, but limits and figures
based on the counters are wrong from then on. `jobstore check` finds such differences, except for
days, which outlive what they counted.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from jobstore.model.clock import SECOND
from jobstore.model.lifecycle import Result, State

_DAY: Final = 24 * 3600 * SECOND
# No word is that of a state and of a result.
WORDS: Final[tuple[str, ...]] = (*State, *Result)
USED: Final = ("queued", "stored")
ON_DAY: Final = ("submitted", "done", "failed", "cancelled", "errors", "run_us", "longest_us")
# Named here, since looking one up in its class takes longer than counting a job in it.
_STATES: Final = frozenset(State)
_QUEUED, _CANCELLED = State.QUEUED, State.CANCELLED
_NONE, _HELD = Result.NONE, Result.HELD


def _unused() -> dict[str, int]:
    return dict.fromkeys(USED, 0)


def _idle() -> dict[str, int]:
    return dict.fromkeys(ON_DAY, 0)


class Tally:
    """The changes of one transaction to the store's counters."""

    __slots__ = ("_accounts", "_counts", "_days")

    def __init__(self) -> None:
        self._counts = dict.fromkeys(WORDS, 0)
        self._accounts: defaultdict[int, dict[str, int]] = defaultdict(_unused)
        self._days: defaultdict[int, dict[str, int]] = defaultdict(_idle)

    # --- what is told -----------------------------------------------------------------------------

    def came(self, account: int, state: str, result: str, stored: int, at: int | None) -> None:
        """Count an inserted job.

        Args:
            stored: how many bytes of its bodies are stored.
            at: when it was submitted, or None if its day has counted it already.
        """
        self._counts[state] += 1
        self._counts[result] += 1
        if state == _QUEUED:
            self._accounts[account]["queued"] += 1
        if stored:
            self._accounts[account]["stored"] += stored
        if at is not None:
            self._days[at // _DAY]["submitted"] += 1

    def moved(self, account: int, before: State, after: State) -> None:
        """Count a job that has not ended in another state."""
        self._counts[before] -= 1
        self._counts[after] += 1
        self._accounts[account]["queued"] += (after is _QUEUED) - (before is _QUEUED)

    def ended(
        self,
        row: Sequence[Any],
        before: State,
        after: State,
        at: int,
        *,
        error: bool,
        size: int = 0,
    ) -> None:
        """Count a job whose work has ended: its result is held now if it was none.

        Args:
            row: what the statement returned, see `guards.ended_by`.
            error: whether it failed, or was answered with an error.
            size: how many bytes of an answer are stored if the result is held.
        """
        _, account, result, started_at, *_ = row
        counts = self._counts
        counts[before] -= 1
        counts[after] += 1
        if before is _QUEUED:
            self._accounts[account]["queued"] -= 1
        if result == _HELD:
            counts[_NONE] -= 1
            counts[_HELD] += 1
            if size:
                self._accounts[account]["stored"] += size
        self.worked(after, started_at, at, error=error)

    def worked(self, state: str, started_at: int | None, at: int, *, error: bool) -> None:
        """Count the end of a job on its day; how long it took, unless it was cancelled."""
        day = self._days[at // _DAY]
        day[state] += 1
        if error:
            day["errors"] += 1
        if state != _CANCELLED and started_at is not None and started_at < at:
            took = at - started_at
            day["run_us"] += took
            day["longest_us"] = max(took, day["longest_us"])

    def passed(self, before: str, after: Result, jobs: int = 1) -> None:
        """Count results whose state has changed, while the states of their jobs have not."""
        self._counts[before] -= jobs
        self._counts[after] += jobs

    def stored(self, account: int, size: int) -> None:
        """Count bytes of bodies that are stored, or deleted if negative."""
        self._accounts[account]["stored"] += size

    def gone(self, account: int, state: str, result: str, stored: int) -> None:
        """Count a removed job; its days keep what they counted of it."""
        self._counts[state] -= 1
        self._counts[result] -= 1
        self._accounts[account]["stored"] -= stored
        if state == _QUEUED:
            self._accounts[account]["queued"] -= 1

    # --- what is asked ----------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many more jobs are queued than the stored counter says."""
        return self._counts[_QUEUED]

    def used(self, account: int) -> tuple[int, int]:
        """Return how many more queued jobs and stored bytes an account has than counted."""
        more = self._accounts[account]
        return more["queued"], more["stored"]

    # --- what is written --------------------------------------------------------------------------

    @property
    def counts(self) -> Mapping[str, int]:
        """The changes of the numbers of jobs and results in each state."""
        return self._counts if any(self._counts.values()) else {}

    @property
    def states(self) -> frozenset[str]:
        """The words among them that are states of jobs, and not of results."""
        return _STATES

    @property
    def usage(self) -> list[tuple[int, Mapping[str, int]]]:
        """The changes of queued jobs and stored bytes, by account."""
        return [(account, used) for account, used in self._accounts.items() if any(used.values())]

    @property
    def days(self) -> list[tuple[int, Mapping[str, int]]]:
        """The changes of figures about days, by the number of days since 1970."""
        return [*self._days.items()]
