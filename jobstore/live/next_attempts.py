"""Whether a job is queued again after an attempt, and when its next one may begin."""

import logging
from dataclasses import replace
from enum import Enum, auto

from jobstore.live import CapturedResponse, Store
from jobstore.live.holding import Holds
from jobstore.live.outcomes import Failed, Outcome, Stopped, as_attempt, said_of
from jobstore.model.clock import Clock
from jobstore.model.job import Claim
from jobstore.model.retry import (
    AttemptEnded,
    is_passing,
    may_repeat,
    told_of_wait,
    wait_before_next,
)
from jobstore.targets.router import TargetRoute

log = logging.getLogger(__name__)


class Requeued(Enum):
    """Whether a job is queued again after an attempt."""

    NO = auto()
    TRIED = auto()  # this was an attempt
    HELD = auto()  # this was none: the request was never sent


class NextAttempts:
    """Queue jobs again whose attempts failed for a temporary reason.

    Args:
        store: where they are queued.
        holds: holds the jobs of targets that cannot be reached.
    """

    def __init__(self, store: Store, holds: Holds, clock: Clock) -> None:
        self._store = store
        self._holds = holds
        self._clock = clock
        self._meters = store.meters

    async def queued(self, claim: Claim, route: TargetRoute | None, outcome: Outcome) -> Requeued:
        """Queue a job again if this attempt failed for a temporary reason."""
        if route is None or isinstance(outcome, Stopped):
            return Requeued.NO
        if isinstance(outcome, Failed) and outcome.lasting:
            return Requeued.NO
        answered = outcome.status if isinstance(outcome, CapturedResponse) else None
        if not is_passing(route.retry, answered):  # as nearly always
            return Requeued.NO
        repeatable = may_repeat(claim.request.method, claim.policy.replay or route.replay)
        if (
            isinstance(outcome, Failed)
            and outcome.unreached
            and (repeatable or not outcome.sent)
            and self._holds.begin(route, outcome.detail)
        ):
            ended = AttemptEnded(failure=outcome.failure, detail=outcome.detail)
            held = await self._store.attempts.hold(claim, route.name, ended, sent=outcome.sent)
            if not held:
                return Requeued.NO
            return Requeued.TRIED if outcome.sent else Requeued.HELD
        tried = repeatable and await self._retried(claim, route, outcome)
        return Requeued.TRIED if tried else Requeued.NO

    async def _retried(
        self, claim: Claim, route: TargetRoute, outcome: CapturedResponse | Failed
    ) -> bool:
        """Queue a job again if its retries are not used up."""
        ended = as_attempt(outcome)
        now = self._clock()
        seconds = wait_before_next(route.retry, claim, ended, now)
        if seconds is None:
            return False
        detail = f"{ended.detail}; {told_of_wait(seconds, ended, now)}"
        about = said_of("retry", claim, ended.status)
        log.info("job %d: %s", claim.job_id, detail, extra=about)
        again = await self._store.attempts.retry(claim, seconds, replace(ended, detail=detail))
        if again and self._meters is not None:
            self._meters.retried(claim.target)
        return again
