"""What is counted of the jobs, so that nobody has to go through them: said once, written once.

Three tables keep numbers: `counter` has how many jobs and results are in each state,
`account_usage` how many jobs of each account are queued and how many bytes are kept of its bodies,
and `day` what was done on each day in UTC, which outlives the jobs.

**Who counts.** Whoever puts jobs in, moves them on or deletes them tells the tally of the
transaction right after the statement that does it. Where a job stood before is known from the guard
of that statement, which names one state; from what the statement returns; or, where several states
are possible and that is rare, from a look before it. Triggers did this, and took a third of the
time that SQLite spent on a job.

**When it is written.** Once for all operations of a transaction, in that transaction, before its
commit: rows and numbers are in the file together or not at all. Each transaction has a tally of its
own, so that what is undone was never counted. Whoever reads these tables in a transaction adds what
its tally has.

**What it cannot see.** A foreign program that adds, deletes or changes rows of the table `job`
leaves the numbers as they were, which triggers would have kept right. The jobs are not hurt by
that, but the bounds and figures that are made of the numbers are wrong from then on. `jobstore
check` says which; it cannot say so of days, since these outlive what they have counted.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from sqlalchemy import bindparam, func, insert, update

from jobstore.model.clock import SECOND
from jobstore.model.job import succeeded
from jobstore.model.lifecycle import Result, State
from jobstore.store import schema
from jobstore.store.expressions import Statement

_counter, _usage, _day = schema.COUNTER.c, schema.ACCOUNT_USAGE.c, schema.DAY.c
_DAY: Final = 24 * 3600 * SECOND
_USED: Final = ("queued", "stored")
_ON_DAYS: Final = tuple(column.name for column in schema.DAY.columns if column.name != "day")
COUNT: Final = Statement(
    update(schema.COUNTER)
    .where(_counter.machine == bindparam("of_machine"), _counter.state == bindparam("of_state"))
    .values(count=_counter.count + bindparam("more"))
)
USE: Final = Statement(
    update(schema.ACCOUNT_USAGE)
    .where(_usage.account == bindparam("of"))
    .values({name: _usage[name] + bindparam(f"more_{name}") for name in _USED})
)
USE_FIRST: Final = Statement(
    insert(schema.ACCOUNT_USAGE).values(
        {"account": bindparam("of")} | {name: bindparam(f"more_{name}") for name in _USED}
    )
)
DO_ON_DAY: Final = Statement(
    update(schema.DAY)
    .where(_day.day == bindparam("of"))
    .values(
        {name: _day[name] + bindparam(f"more_{name}") for name in _ON_DAYS}
        | {"longest_us": func.max(_day.longest_us, bindparam("more_longest_us"))}
    )
)
DO_FIRST_ON_DAY: Final = Statement(
    insert(schema.DAY).values(
        {"day": bindparam("of")} | {name: bindparam(f"more_{name}") for name in _ON_DAYS}
    )
)
# By the names of the columns, which are those of the states as well.
_Numbers: TypeAlias = defaultdict[str, int]


def _numbers() -> _Numbers:
    return defaultdict(int)


class Tally:
    """What one transaction has changed of the numbers that the store keeps."""

    __slots__ = ("_accounts", "_days", "_results", "_states")

    def __init__(self) -> None:
        self._states: _Numbers = defaultdict(int)
        self._results: _Numbers = defaultdict(int)
        self._accounts: defaultdict[int, _Numbers] = defaultdict(_numbers)
        self._days: defaultdict[int, _Numbers] = defaultdict(_numbers)

    # --- what is told -----------------------------------------------------------------------------

    def came(self, account: int, state: str, result: str, stored: int, at: int | None) -> None:
        """Count a job that was put in.

        Args:
            stored: how many bytes are kept of its bodies.
            at: when it was submitted, or None if that day has counted it before.
        """
        self._states[state] += 1
        self._results[result] += 1
        if state == State.QUEUED:
            self._accounts[account]["queued"] += 1
        if stored:
            self._accounts[account]["stored"] += stored
        if at is not None:
            self._days[at // _DAY]["submitted"] += 1

    def moved(self, account: int, before: State, after: State) -> None:
        """Count a job that has not ended in another state."""
        self._states[before] -= 1
        self._states[after] += 1
        self._accounts[account]["queued"] += (after is State.QUEUED) - (before is State.QUEUED)

    def ended(
        self, row: Sequence[Any], before: State, after: State, status: int | None, at: int
    ) -> None:
        """Count a job whose work has ended: its result is held now if it was none.

        Args:
            row: what the statement has returned, see `guards.ended_by`.
        """
        _, account, result, started_at = row
        self._states[before] -= 1
        self._states[after] += 1
        if before is State.QUEUED:
            self._accounts[account]["queued"] -= 1
        if result == Result.HELD:
            self._results[Result.NONE] -= 1
            self._results[Result.HELD] += 1
        self.worked(after, status, started_at, at)

    def worked(self, state: str, status: int | None, started_at: int | None, at: int) -> None:
        """Count the end of a job on its day; how long it took, unless it was cancelled."""
        day = self._days[at // _DAY]
        day[state] += 1
        if state == State.CANCELLED:
            return
        if state == State.FAILED or not succeeded(status or 0):
            day["errors"] += 1
        if started_at is not None and started_at < at:
            took = at - started_at
            day["run_us"] += took
            day["longest_us"] = max(took, day["longest_us"])

    def passed(self, before: str, after: Result, jobs: int = 1) -> None:
        """Count results that have become something else, while their jobs stay where they are."""
        self._results[before] -= jobs
        self._results[after] += jobs

    def stored(self, account: int, size: int) -> None:
        """Count bytes of bodies that are kept, or no longer if it is negative."""
        self._accounts[account]["stored"] += size

    def gone(self, account: int, state: str, result: str, stored: int) -> None:
        """Count a job that was deleted, all that is known of it; what it did stays on its days."""
        self._states[state] -= 1
        self._results[result] -= 1
        self._accounts[account]["stored"] -= stored
        if state == State.QUEUED:
            self._accounts[account]["queued"] -= 1

    # --- what is asked ----------------------------------------------------------------------------

    @property
    def queued(self) -> int:
        """How many more jobs are queued than the file says."""
        return self._states[State.QUEUED]

    def used(self, account: int) -> tuple[int, int]:
        """Tell how many more jobs of an account wait than the file says, and bytes are kept."""
        more = self._accounts[account]
        return more["queued"], more["stored"]

    # --- what is written --------------------------------------------------------------------------

    def write(self, connection: sqlite3.Connection) -> None:
        """Add everything to what the tables have, once, as the last thing in the transaction."""
        for machine, numbers in (("job", self._states), ("result", self._results)):
            for state, more in numbers.items():
                if more:
                    values = {"of_machine": machine, "of_state": state, "more": more}
                    connection.execute(COUNT.sql, COUNT.bound(values))
        for account, used in self._accounts.items():
            if any(used.values()):
                _add(connection, (USE, USE_FIRST), account, _USED, used)
        for day, done in self._days.items():
            _add(connection, (DO_ON_DAY, DO_FIRST_ON_DAY), day, _ON_DAYS, done)


def _add(
    connection: sqlite3.Connection,
    statements: Sequence[Statement],
    of: int,
    names: Sequence[str],
    numbers: _Numbers,
) -> None:
    """Add numbers to those of a row, or make the row if there is none."""
    values: dict[str, int] = {f"more_{name}": numbers[name] for name in names} | {"of": of}
    for statement in statements:
        if connection.execute(statement.sql, statement.bound(values)).rowcount:
            return
