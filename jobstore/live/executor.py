"""Run jobs: claim by claim, each ending in exactly one way."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from time import monotonic
from typing import Final

from jobstore.live import CapturedResponse, Over, Store
from jobstore.live.holding import Holds, Sleep
from jobstore.live.next_attempts import NextAttempts, Requeued
from jobstore.live.outcomes import (
    Failed,
    Outcome,
    Stopped,
    counted,
    expired,
    said_of,
    unanswered,
)
from jobstore.live.recovering import Recovering
from jobstore.live.ticks import Ticks
from jobstore.model import clock
from jobstore.model.clock import Clock
from jobstore.model.errors import (
    JobstoreError,
    NoTarget,
    PathLeaves,
    StoreError,
    StoreLost,
)
from jobstore.model.handle import AttemptHandle
from jobstore.model.job import Abandonment, Cancellation, Claim, Failure, Order, Replay
from jobstore.targets.router import Router, TargetRoute

# The shortest time that an attempt may take too long, in seconds, and what part of its time.
_TICK: Final = 0.01
_LATE: Final = 1 / 64
# How long to wait before asking again how the targets stand.
_AGAIN_SECONDS: Final = 1.0
_SERVER_ERROR: Final = 500  # the first of the status codes: RFC 9110 section 15.6
_UNREAD: Final = "the request could not be read, or the response not stored: see the server's log"

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Running:
    """One attempt at a job.

    Args:
        handle: the handler's view of the job.
        task: runs the attempt.
        stoppable: whether the target is working; before the task's first step it is not, and a
            cancelled task would just vanish.
        expired: whether its time limit has passed.
        capture: the target's answer.
    """

    handle: AttemptHandle
    task: asyncio.Task[None] = field(init=False)
    stoppable: bool = False
    expired: bool = False
    capture: CapturedResponse | None = None

    def cancel(self) -> None:
        again = self.handle.cancelled
        self.handle.cancel()
        if not again:
            self._stop()

    def expire(self) -> None:
        self.expired = True
        self._stop()

    def _stop(self) -> None:
        if self.stoppable:
            self.task.cancel()


class Executor:
    """Run the jobs of a store on their targets.

    Args:
        store: gives orders and receives outcomes.
        router: the targets.
        max_attempts: how many claims a job may have before it is set aside.
        steady: a monotonic clock.
        sleep: waits for a number of seconds.

    Attributes:
        begun: set once the targets are announced to the store, or that failed.
    """

    def __init__(
        self,
        store: Store,
        router: Router,
        max_attempts: int,
        clock: Clock = clock.now,
        *,
        steady: Clock = clock.steady,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = store
        self._loop = asyncio.get_running_loop()
        self._router = router
        self._recovering = Recovering(store, router, max_attempts)
        self.begun = asyncio.Event()
        self._running: dict[int, _Running] = {}
        self._limits = Ticks(_TICK, _Running.expire, part=_LATE)
        self._holds = Holds(store, clock, steady, sleep)
        self._next = NextAttempts(store, self._holds, clock)
        self._meters = store.meters

    async def run(self) -> None:
        """Follow the store's orders until cancelled."""
        capacities = {route.name: route.concurrency for route in self._router.routes}
        await self._store.others.serve({route.name: route.replay for route in self._router.routes})
        await self._serve(capacities)
        try:
            self._store.work(capacities, self._follow, self._running.keys())
            self.begun.set()
            await asyncio.Event().wait()  # for ever
        finally:
            await self._abandon()

    async def _serve(self, capacities: Mapping[str, int]) -> None:
        """Find out which targets are paused, before any job starts."""
        while True:
            try:
                self._store.targets.serve(capacities)
            except StoreLost:  # nothing will start
                return
            except StoreError as error:
                log.warning("will try again: %s", error, extra={"action": "serve"})
                self.begun.set()
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                return

    def _follow(self, order: Order) -> None:
        match order:
            case Claim():
                self._start(order)
            case Cancellation(job_id):
                if job_id in self._running:
                    self._running[job_id].cancel()
            case Abandonment():
                for running in self._running.values():
                    running.task.cancel()

    async def drain(self, seconds: float) -> None:
        """Wait for claimed jobs to finish, at most so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._store.idle()
        except TimeoutError:
            log.warning(
                "%d jobs are still running after %g s; the next start will recover them",
                len(self._running),
                seconds,
                extra={"action": "drain"},
            )

    async def _abandon(self) -> None:
        """Interrupt running attempts; the next start recovers their claims."""
        await self._holds.close()
        tasks = [running.task for running in self._running.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def recover(self) -> int:
        """Recover every job that an earlier start of the server left running; see `Recovering`."""
        return await self._recovering.recover()

    async def watch(self) -> None:
        """Run jobs that other processes submit, until cancelled."""
        while True:
            await self._store.noticed()
            await self.recover()

    # --- one attempt ----------------------------------------------------------------------------

    def _start(self, claim: Claim) -> None:
        running = _Running(
            AttemptHandle(
                claim.job_id,
                claim.attempt,
                self._store.attempts,
                claim.owner,
                account=claim.account,
                depth=claim.depth,
                source=claim.source,
            )
        )
        running.task = self._loop.create_task(self._run(claim, running))
        self._running[claim.job_id] = running

    async def _run(self, claim: Claim, running: _Running) -> None:
        """Make the attempt; it counts as running until its end is stored."""
        over = partial(self._over, claim, running)
        try:
            route = self._router.resolve(claim.request.method, claim.request.path)
            running.stoppable = True
            cancelled = running.handle.cancelled
            began = monotonic()
            attempt = self._attempt if self._store.spans is None else self._traced
            outcome = Stopped() if cancelled else await attempt(claim, route, running)
            running.stoppable = False
            seconds = monotonic() - began
            again = await self._next.queued(claim, route, outcome)
            if self._meters is not None and again is not Requeued.HELD:
                how, headers = counted(outcome), claim.request.headers
                self._meters.attempted(claim.target, how, seconds, headers)
            if again is Requeued.NO:
                if running.handle.cancelled and isinstance(outcome, Failed):
                    outcome = Stopped()  # since: that it was requested has been told
                self._end(claim, outcome, over)
            else:
                over(None)
        except StoreError as error:
            over(error)
        except BaseException:
            self._store.attempts.abandoned.add(claim.job_id)  # it may have been sent
            self._forget(claim, running)
            raise

    def _over(self, claim: Claim, running: _Running, error: Exception | None) -> None:
        if error is not None:
            # The job stays claimed; the next start finds it and recovers it.
            lost = isinstance(error, StoreLost)  # that has been said as an error already
            level = logging.WARNING if lost else logging.ERROR
            log.log(level, "job %d: %s", claim.job_id, error, extra=said_of("end", claim))
            self._store.attempts.abandon(claim)
        self._forget(claim, running)

    def _forget(self, claim: Claim, running: _Running) -> None:
        if running.capture is not None:
            self._store.attempts.release(running.capture)
        if self._running.get(claim.job_id) is running:  # and not the next attempt
            del self._running[claim.job_id]

    async def _traced(self, claim: Claim, route: TargetRoute | None, running: _Running) -> Outcome:
        """Make the attempt, with its tracing spans."""
        assert self._store.spans is not None
        with self._store.spans.attempt(claim) as traced:
            outcome = await self._attempt(traced.claim, route, running)
            match outcome:
                case CapturedResponse(status=status):
                    traced.answered(status)
                case Failed(failure=failure):
                    traced.failed(failure)
                case Stopped():
                    traced.failed("cancelled")
            return outcome

    async def _attempt(self, claim: Claim, route: TargetRoute | None, running: _Running) -> Outcome:
        """Ask the target and store its response."""
        if route is None or not route.keeps(claim.request.path):
            problem = PathLeaves() if route else NoTarget()
            return Failed(Failure.UNREACHABLE, str(problem))
        await self._store.others.trusted()
        running.handle.unrepeatable = (claim.policy.replay or route.replay) is Replay.NEVER
        seconds = claim.policy.timeout or route.timeout
        limited: set[_Running] = set() if seconds is None else self._limits.after(seconds)
        limited.add(running)
        try:
            async with route.target.send(claim.request, running.handle) as response:
                running.capture = await self._store.attempts.captured(response)
                return running.capture
        except asyncio.CancelledError:
            if not (running.handle.cancelled or running.expired):
                raise
            for _ in range(running.task.cancelling()):
                running.task.uncancel()
            return Stopped() if running.handle.cancelled else expired(running.handle, seconds)
        except StoreError as error:
            if self._store.shared or isinstance(error, StoreLost):
                raise  # whoever finds the claim recovers it
            log.warning("job %d: %s", claim.job_id, error, extra=said_of("attempt", claim))
            return Failed(Failure.BROKEN, _UNREAD)
        except JobstoreError as error:
            return unanswered(error)
        except Exception:
            log.exception("job %d", claim.job_id, extra=said_of("attempt", claim))
            return Failed(Failure.BROKEN, "the response could not be stored: see the server's log")
        finally:
            limited.discard(running)

    def _end(self, claim: Claim, outcome: Outcome, over: Over) -> None:
        match outcome:
            case CapturedResponse():
                if outcome.status >= _SERVER_ERROR:
                    words = "job %d: status %d from target %s"
                    said = (claim.job_id, outcome.status, claim.target)
                    log.warning(words, *said, extra=said_of("finish", claim, outcome.status))
                self._store.attempts.finish(claim, outcome, over)
            case Failed(failure, detail):
                words = "job %d failed: %s (target %s)"
                about = said_of("fail", claim, failure.status)
                log.warning(words, claim.job_id, detail, claim.target, extra=about)
                self._store.attempts.fail(claim, failure, detail, over)
            case Stopped():
                self._store.attempts.stopped(claim, "cancelled while it ran", over)
