"""Run scheduled definitions, once for each fire time."""

import logging
from collections.abc import Iterator
from typing import Final

from jobstore.live import Store
from jobstore.live.scheduling import Fired
from jobstore.model import clock
from jobstore.model.clock import Clock, iso
from jobstore.model.errors import NotAccepting, StoreError, StoreLost
from jobstore.model.message import loggable
from jobstore.store.schedules import BEGINNING
from jobstore.targets.router import Router

# How long to wait before trying again what could not be submitted.
RETRY_SECONDS: Final = 1.0
# A run that has not ended may end without a word: at the latest then it is looked for.
LOOK_SECONDS: Final = 60.0

log = logging.getLogger(__name__)


class Scheduler:
    """Submit the runs of a store's definitions when they are due.

    What was due before it was created counts as missed: the server was down.

    Args:
        store: has the definitions, and receives their runs.
    """

    def __init__(self, store: Store, router: Router, clock: Clock = clock.now) -> None:
        self._store = store
        self._router = router
        self._clock = clock
        self._since = min(clock(), store.since)

    async def run(self) -> None:
        """Submit runs when they are due, until cancelled."""
        failing = False
        while True:
            looked_at = self._clock()
            try:
                await self.run_once()
            except StoreLost:
                raise
            except (NotAccepting, StoreError) as error:
                if not failing:  # and every second from now on
                    log.warning("will try again: %s", error, extra={"action": "fire"})
                failing = True
            else:
                failing = False
            seconds = RETRY_SECONDS if failing else LOOK_SECONDS
            await self._store.schedules.due(looked_at, seconds)

    async def run_once(self) -> int:
        """Submit the runs that are due now; return how many.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down; what is due stays due.
            StoreError: the store cannot be written; likewise.
        """
        await self._reconsider()
        # If the clock was put back, what is due by it now has not been missed.
        self._since = min(self._since, self._clock())
        runs, more = 0, True
        while more:
            more, place = False, BEGINNING
            while fired := await self._store.schedules.fire(self.target_of, self._since, place):
                last = fired[-1].definition
                place = last.fires_at or 0, last.id
                runs += sum(len(each.jobs) for each in fired)
                more |= max(self._told(each) for each in fired)
        return runs

    async def _reconsider(self) -> None:
        for moved in await self._store.schedules.reconsider():
            definition, before = moved.definition, moved.definition.fires_at
            assert before is not None
            log.warning(
                "definition %d (%s): now fires at %s instead of %s, since the clock was set",
                definition.id,
                definition.draft.name,
                iso(moved.fires_at),
                iso(before),
                extra={"action": "fire", "definition": definition.id},
            )

    def target_of(self, method: str, path: str) -> str:
        """Return the name of the target that answers a request.

        Raises:
            NoTarget: none does.
        """
        return self._router.owner(method, path).name

    def _told(self, fired: Fired) -> bool:
        """Log what is unusual; return whether there is more to do at once."""
        if self._store.meters is not None:
            decision, runs = fired.decision, len(fired.jobs)
            skipped = len(decision.skipped) + len(decision.runs) - runs
            self._store.meters.fired(runs, skipped, missed=decision.missed is not None)
        for problem in _problems(fired):
            definition = fired.definition
            log.warning(
                "definition %d (%s): %s",
                definition.id,
                loggable(definition.draft.name),
                loggable(problem),
                extra={"action": "fire", "definition": definition.id},
            )
        next_at = fired.decision.next_at
        return not fired.decision.waits and next_at is not None and next_at <= self._clock()


def _problems(fired: Fired) -> Iterator[str]:
    decision = fired.decision
    if decision.missed is not None:
        yield f"missed fire times, the first of them {iso(decision.missed)}"
    for at in decision.skipped:
        yield f"the run of {iso(at)} is skipped, since job {fired.busy} has not ended"
    if decision.problem is not None:
        yield f"is paused: {decision.problem}"
    if fired.refused is not None:
        yield f"its run is skipped: {fired.refused}"
    elif decision.runs and fired.target is None:
        yield f"no target is configured for {fired.definition.draft.request.path}"
