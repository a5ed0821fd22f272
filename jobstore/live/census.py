"""Current figures for monitoring, which may be a moment old.

Nothing here goes through the writer or counts rows of ended jobs: totals are read from the table of
counters, and the index of waiting jobs is walked up to a limit. Callers within the same moment get
the same figures. A query that takes too long is stopped, and the last figures are used.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, Final, Generic, TypeVar

from jobstore import __version__
from jobstore.model.clock import SECOND, Clock
from jobstore.model.errors import JobstoreError
from jobstore.model.frozen import frozen
from jobstore.store import waiting
from jobstore.store.budget import TimeIsUp
from jobstore.store.codec import encode_ids
from jobstore.store.expressions import Statement
from jobstore.store.history import History
from jobstore.store.keeping import Keeping, Sizes
from jobstore.store.sqlite import engine as sqlite

# How old figures may be, in seconds.
COUNTERS_FOR: Final = 1.0
OTHERS_FOR: Final = 5.0
# How many of the jobs that wait for a target are counted at most.
MOST: Final = 100_000
# How long a question may take, in seconds.
PATIENCE: Final = 1.0

T = TypeVar("T")
log = logging.getLogger(__name__)


def about() -> Mapping[str, str]:
    """Return the versions of jobstore, the store's schema, and SQLite."""
    return {
        "version": __version__,
        "schema": str(sqlite.SCHEMA_VERSION),
        "sqlite": sqlite.LIBRARY_VERSION,
    }


@frozen
class Queue:
    """What waits for a target.

    Args:
        jobs: how many jobs.
        oldest: how many seconds the first of them has been ready to run.
    """

    jobs: int = 0
    oldest: float = 0.0


@frozen
class CurrentFigures:
    """The current figures.

    Args:
        counters: how many jobs and results are in each state, by machine and state.
        queues: the queue of each target, by its name.
        overdue: how many seconds the most overdue definition has been due.
        sizes: how much room the store takes.
    """

    counters: Mapping[tuple[str, str], int] = field(default_factory=dict)
    queues: Mapping[str, Queue] = field(default_factory=dict)
    overdue: float = 0.0
    sizes: Sizes | None = None


class _Kept(Generic[T]):
    """The last figures, for a while.

    Args:
        find: finds it.
        lasting: how long it is told again, in seconds.
        value: what is told if nothing was ever found.
    """

    def __init__(self, find: Callable[[], Awaitable[T]], lasting: float, value: T) -> None:
        self._find = find
        self._lasting = lasting
        self._value = value
        self._until = float("-inf")
        self._finding: asyncio.Task[None] | None = None

    async def get(self) -> T:
        """Return it; callers at the same time get the same answer."""
        if asyncio.get_running_loop().time() >= self._until:
            if self._finding is None:
                self._finding = asyncio.create_task(self._look())
            await asyncio.wait({self._finding}, timeout=PATIENCE)
        return self._value

    async def _look(self) -> None:
        try:
            self._value = await self._find()
            self._until = asyncio.get_running_loop().time() + self._lasting
        except (JobstoreError, TimeIsUp, OSError):  # the store is in trouble, which readyz says
            pass
        except Exception:
            log.exception("cannot count the jobs for the metrics", extra={"action": "count"})
        finally:
            self._finding = None


class Census:
    """Collect the current figures, once for all who ask: a store has one census.

    Args:
        targets: names those that jobs may wait for here.
    """

    def __init__(
        self, history: History, file: Keeping, targets: Callable[[], Iterable[str]], clock: Clock
    ) -> None:
        self._searcher = history.searcher
        self._targets = targets
        self._clock = clock
        self._counters = _Kept[Mapping[tuple[str, str], int]](history.counters, COUNTERS_FOR, {})
        self._queues = _Kept[Mapping[str, Queue]](self._waiting, OTHERS_FOR, {})
        self._overdue = _Kept(self._late, OTHERS_FOR, 0.0)
        self._sizes = _Kept[Sizes | None](file.sizes, OTHERS_FOR, None)

    async def counters(self) -> Mapping[tuple[str, str], int]:
        """Return how many jobs and results are in each state, by machine and state."""
        return await self._counters.get()

    async def queues(self) -> Mapping[str, Queue]:
        """Return what waits, by the name of its target."""
        return await self._queues.get()

    async def sizes(self) -> Sizes | None:
        """Return how much room the store takes; None if that was never found out."""
        return await self._sizes.get()

    async def figures(self) -> CurrentFigures:
        """Return the current figures."""
        counters, queues, overdue, sizes = await asyncio.gather(
            self.counters(), self.queues(), self._overdue.get(), self.sizes()
        )
        return CurrentFigures(counters, queues, overdue, sizes)

    async def _waiting(self) -> Mapping[str, Queue]:
        found = {
            target: (await self._asked(waiting.OF_TARGET, claimed_target=target, limit=MOST))[0]
            for target in self._targets()
        }
        firsts = [first for _, first in found.values() if first is not None]
        since = dict(await self._asked(waiting.SINCE, ids=encode_ids(firsts))) if firsts else {}
        now = self._clock()
        return {
            target: Queue(jobs, max(0, now - since.get(target, now)) / SECOND)
            for target, (jobs, _) in found.items()
        }

    async def _late(self) -> float:
        now = self._clock()
        rows = await self._asked(waiting.OVERDUE, now=now)
        return (now - rows[0][0]) / SECOND if rows else 0.0

    async def _asked(self, statement: Statement, **values: object) -> list[Any]:
        return await self._searcher.within(PATIENCE, statement, **values)
