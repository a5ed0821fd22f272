"""Attempts at jobs: what their handlers report, and how each of them ends.

An attempt holds a slot from the transaction that starts it to the one that ends it. It is fenced
by its claim: each statement names the boot and the number of the attempt, so late reports of an
earlier attempt change nothing. The end of an attempt is retried until it is stored. If the store
is lost, the attempt is abandoned, and the next start recovers the job.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import TypeAlias, TypeVar

from jobstore.live.dispatch import Dispatcher
from jobstore.live.results import checked
from jobstore.live.timekeeping import Timekeeping
from jobstore.live.upcoming import Upcoming
from jobstore.model.clock import SECOND
from jobstore.model.errors import (
    AnswerTooLarge,
    BodyTooLarge,
    JobNotFound,
    StoreLost,
    StoreUnavailable,
    StoreUnsure,
)
from jobstore.model.handle import JobHandle
from jobstore.model.job import Claim, Failure, Report
from jobstore.model.message import Body, Response, body_size, chunks
from jobstore.model.retry import AttemptEnded
from jobstore.store import ending, events, holding
from jobstore.store.bodies import Bodies, Content
from jobstore.store.own_boot import OwnBoot
from jobstore.store.transaction import Operation, Outcome, Transaction
from jobstore.store.writer import RETRY_SECONDS, Turn, Writer

# Hears that the end of an attempt is stored, or what has kept it from that for good.
Over: TypeAlias = Callable[[Exception | None], None]
T = TypeVar("T")


class Attempts:
    """The running attempts.

    Args:
        bodies: stores large answers.
        dispatcher: owns the slots that they hold.
        upcoming: knows who waits for their ends.
        timekeeping: knows whether the clock was set.
        limit: the largest body of an answer, in bytes.

    Attributes:
        abandoned: the jobs whose ends could not be written.
    """

    def __init__(
        self,
        writer: Writer,
        bodies: Bodies,
        dispatcher: Dispatcher,
        upcoming: Upcoming,
        timekeeping: Timekeeping,
        boot: OwnBoot,
        limit: int,
    ) -> None:
        self._writer = writer
        self._bodies = bodies
        self._limit = limit
        self._dispatcher = dispatcher
        self._upcoming = upcoming
        self._timekeeping = timekeeping
        self._boot = boot
        self._loop = asyncio.get_running_loop()
        self._reporting: set[JobHandle] = set()
        # By job and attempt, the warnings that could not be written: its end writes them.
        self._unwritten: dict[tuple[int, int], list[Report]] = {}
        self.abandoned: set[int] = set()

    async def captured(self, response: Response) -> ending.CapturedResponse:
        """Read a target's answer to its end; `release` it when the attempt is over.

        Raises:
            AnswerTooLarge: it is larger than the limit.
            TargetFailed: the answer broke off.
        """
        body = response.body
        if (body_size(body) or 0) > self._limit:
            raise AnswerTooLarge(self._limit)
        if self._bodies.is_small(body):
            content: Content = body
        else:
            content = await self._large(body)
        return ending.CapturedResponse(response.status, response.reason, response.headers, content)

    async def _large(self, body: Body) -> Content:
        try:
            return await self._bodies.received(chunks(body), "response", self._limit)
        except BodyTooLarge as error:
            raise AnswerTooLarge(error.limit) from None

    def release(self, capture: ending.CapturedResponse) -> None:
        """Release the body of a response, unless its job has adopted it."""
        self._bodies.release(capture.content)

    def finish(self, claim: Claim, capture: ending.CapturedResponse, over: Over) -> None:
        """End a job with its target's answer."""
        self._end(claim, lambda tx: ending.finish(tx, claim, capture), over)

    def fail(self, claim: Claim, failure: Failure, detail: str, over: Over) -> None:
        """End a job without an answer."""
        self._end(claim, lambda tx: ending.fail(tx, claim, failure, detail), over)

    def stopped(self, claim: Claim, detail: str, over: Over) -> None:
        """End a job whose cancellation has taken effect."""
        self._end(claim, lambda tx: ending.stopped(tx, claim, detail), over)

    async def retry(self, claim: Claim, seconds: float, ended: AttemptEnded) -> bool:
        """Queue a job again whose attempt has failed for a temporary reason.

        Args:
            seconds: how long to wait before the next one.
            ended: how the attempt ended.

        Returns:
            whether it was queued; if not, the job has to be ended instead.
        """

        def retry(tx: Transaction) -> bool:
            again_at = tx.now + int(seconds * SECOND)
            self._make_up(tx, claim)
            queued = ending.retry(tx, claim, again_at, ended)
            if queued:
                self._dispatcher.over(tx, claim)
            return queued

        self._timekeeping.check()
        queued = await self._writer.post_until_stored(retry)
        self._drop_unwritten(claim)
        return queued

    async def hold(self, claim: Claim, target: str, ended: AttemptEnded, *, sent: bool) -> bool:
        """Queue a job again whose target could not be reached.

        Args:
            target: the target's name.
            ended: why it could not be reached.
            sent: whether the request may have been sent anyway.

        Returns:
            whether it was queued; if not, the job has to be ended instead.
        """

        def hold(tx: Transaction) -> bool:
            queued = holding.hold(tx, claim, target, ended, sent=sent)
            if queued:
                self._dispatcher.over(tx, claim)
            return queued

        return await self._writer.post_until_stored(hold)

    def abandon(self, claim: Claim) -> None:
        """Abandon a job whose end cannot be stored; the next start recovers it."""
        self.abandoned.add(claim.job_id)
        self._drop_unwritten(claim)
        self._dispatcher.release(claim)

    def _end(self, claim: Claim, operation: Operation[None], over: Over) -> None:
        reporting = self._reporting_of(claim) if self._reporting else None

        def end(tx: Transaction) -> None:
            if reporting is not None:  # what it said last may be on its way yet
                with suppress(JobNotFound):
                    events.report(tx, reporting.snapshot(), self._boot.number)
            self._make_up(tx, claim)
            operation(tx)
            self._dispatcher.over(tx, claim)

        def told(outcome: Outcome) -> None:
            self._drop_unwritten(claim)
            over(outcome.error)

        turn = Turn.CHANGE if reporting is None else Turn.ALONE
        self._writer.queue_until_stored(end, told, abreast=turn)
        # Who fetches the result, and the job that gets the slot, share the commit.
        self._upcoming.ending(claim.job_id)
        self._dispatcher.ending(claim.target)

    def _make_up(self, tx: Transaction, claim: Claim) -> None:
        """Store the warnings of an attempt that could not be written when they came."""
        if self._unwritten:  # as hardly ever
            for warning in self._unwritten.get((claim.job_id, claim.attempt), ()):
                with suppress(JobNotFound):
                    events.report(tx, warning, self._boot.number)

    def _drop_unwritten(self, claim: Claim) -> None:
        if self._unwritten:
            self._unwritten.pop((claim.job_id, claim.attempt), None)

    def _reporting_of(self, claim: Claim) -> JobHandle | None:
        """Return the handle of an attempt whose last report is being written."""
        attempt = (claim.job_id, claim.attempt)
        return next((one for one in self._reporting if (one.id, one.attempt) == attempt), None)

    # --- what a handler reports -----------------------------------------------------------------

    def reported(self, handle: JobHandle) -> None:
        """Store what a handler reported; many reports may share one write.

        It may be called from a thread of the handler.
        """
        if self._is_elsewhere(self.reported, handle):
            return
        if handle not in self._reporting:
            self._reporting.add(handle)
            self._write_report(handle)

    def _write_report(self, handle: JobHandle) -> None:
        def report(tx: Transaction) -> Report:
            reported = handle.snapshot()
            events.report(tx, reported, self._boot.number)
            return reported

        def written(outcome: Outcome) -> None:
            if _may_be_written_later(outcome.error):
                self._loop.call_later(RETRY_SECONDS, self._write_report, handle)
            elif outcome.error is None and outcome.value != handle.snapshot():
                self._write_report(handle)  # it has gone on meanwhile
            else:
                self._reporting.discard(handle)

        self._writer.queue(report, written)

    def warned(self, report: Report) -> None:
        """Store a handler's warning."""
        if self._is_elsewhere(self.warned, report):
            return

        def written(outcome: Outcome) -> None:
            if _may_be_written_later(outcome.error):
                attempt = (report.job_id, report.attempt)
                self._unwritten.setdefault(attempt, []).append(report)

        self._writer.queue(lambda tx: events.report(tx, report, self._boot.number), written)

    def _is_elsewhere(self, call: Callable[[T], None], argument: T) -> bool:
        """Return whether this is not the loop's thread; if so, have the call made on the loop.

        What a thread reports before it ends arrives before its handler continues.
        """
        try:
            if asyncio.get_running_loop() is self._loop:
                return False
        except RuntimeError:  # a thread without a loop of its own
            pass
        with suppress(RuntimeError):  # all is over already
            self._loop.call_soon_threadsafe(call, argument)
        return True

    async def report(self, report: Report, scope: int | None = None) -> bool:
        """Store a report on a running job from outside this process.

        Returns:
            whether the job's cancellation was requested.

        Raises:
            JobNotFound: this attempt at the job is not running.
        """
        checked(report.job_id)
        return await self._writer.run(
            lambda tx: events.report(tx, report, self._boot.number, scope)
        )


def _may_be_written_later(error: Exception | None) -> bool:
    """Return whether the store could not be written, which may be over in a moment."""
    return isinstance(error, StoreUnavailable | StoreUnsure) and not isinstance(error, StoreLost)
