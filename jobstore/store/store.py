"""The store of a running server: everything that a job goes through, durably."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from typing import Any, Final

from jobstore.errors import JobNotFound, QueueFull, ShuttingDown, StoreBusy, StoreFull
from jobstore.handle import JobHandle
from jobstore.job import Cancellation, Claim, Failure, Job, Order, Report, Submission
from jobstore.lifecycle import State
from jobstore.message import Body, Response, chunks
from jobstore.store import statements as sql
from jobstore.store import transitions
from jobstore.store.bodies import Bodies, Content
from jobstore.store.delivery import Deliveries, Delivery
from jobstore.store.dispatch import Dispatcher
from jobstore.store.sqlite import Connection, Statement, checkpoint
from jobstore.store.transitions import LARGEST_ID, Capture
from jobstore.store.writer import Operation, Transaction, Writer

# How many rows one step of long work may touch, so that it stalls nobody.
STEP: Final = 500
# Never stored in clear beyond need, whatever a configuration adds to them.
SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a store takes in.

    Args:
        queue: how many jobs may be queued.
        body: the largest request body, in bytes.
        inline: the largest body, in bytes, that stands in its message's own row.
        size: the bound on the file's size in bytes, or 0 for none.
        secret: lower-case names of request headers to forget when a job ends.
    """

    queue: int = 100_000
    body: int = 2**30
    inline: int = 256 * 1024
    size: int = 0
    secret: frozenset[str] = SECRET_HEADERS


@dataclass(frozen=True, slots=True)
class Boot:
    """One start of a server; times in microseconds since 1970."""

    pid: int
    started_at: int
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class Orphan:
    """A claim that an earlier start of a server left behind."""

    job_id: int
    boot: int
    method: str
    path: str
    attempt: int
    cancel_asked_at: int | None


class Store:
    """Jobs in a file; each method returns when what it did is on the disk.

    Args:
        writer: the one writer.
        reader: a connection for reading.
        limits: what it takes in.
        boot: the number of this start of the server; 0 where no server runs.
        queued: how many jobs wait already.
    """

    def __init__(
        self, writer: Writer, reader: Connection, limits: Limits, boot: int, queued: int
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._limits = limits
        self._boot = boot
        self._accepting = True
        self._bodies = Bodies(writer, reader, limits.inline)
        self._deliveries = Deliveries(writer, self._bodies)
        self._dispatcher = Dispatcher(writer, self._claiming, queued)
        self._reporting: set[JobHandle] = set()

    # --- submit and run -------------------------------------------------------------------------

    def work(self, capacities: Mapping[str, int]) -> AsyncIterator[Order]:
        """Start handing out work, and give it as it comes.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
        """
        return self._dispatcher.orders(capacities)

    def refuse(self) -> None:
        """Take no new jobs and start none any more."""
        self._accepting = False
        self._dispatcher.pause()

    async def idle(self) -> None:
        """Wait until no job runs and none is about to."""
        await self._dispatcher.idle()

    async def submit(self, submission: Submission) -> int:
        """Take a job in.

        Args:
            submission: what to run; its request's body is read here.

        Returns:
            the job's id, once the job is on the disk.

        Raises:
            NotAccepting: the queue is full, or the server drains.
            BodyTooLarge: the request's body exceeds the limit.
            StoreError: it could not be written.
        """
        self._check_accepting()
        body, limit = submission.request.body, self._limits.body
        if self._bodies.is_small(body) and len(body) <= limit:
            return await self._submit(submission, body)
        async with self._bodies.received(chunks(body), "request", limit) as content:
            self._check_accepting()
            return await self._submit(submission, content)

    def _check_accepting(self) -> None:
        if not self._accepting:
            raise ShuttingDown
        if self._dispatcher.queued >= self._limits.queue:
            raise QueueFull(self._limits.queue)

    async def _submit(self, submission: Submission, content: Content) -> int:
        target = submission.target
        has_slot = self._dispatcher.admit(target)
        boot = self._boot if has_slot else None

        def then(job_id: int) -> None:
            if has_slot:
                self._run(submission, content, job_id)
            else:
                self._dispatcher.enqueued(target)

        return await self._writer.post(
            lambda tx: transitions.submit(tx, submission, content, self._limits.secret, boot),
            then,
            lambda _: self._dispatcher.turned_away(target, had_slot=has_slot),
        )

    def _run(self, submission: Submission, content: Content, job_id: int) -> None:
        request = replace(submission.request, body=self._body(content))
        claim = Claim(job_id=job_id, attempt=1, target=submission.target, request=request)
        self._dispatcher.order(claim)

    def _claiming(self, target: str, limit: int) -> Operation[list[Claim]]:
        def claim(tx: Transaction) -> list[Claim]:
            return [
                replace(claim, request=replace(claim.request, body=self._body(content)))
                for claim, content in transitions.claim(tx, target, self._boot, limit)
            ]

        return claim

    def _body(self, content: Content) -> Body:
        return content if isinstance(content, bytes) else self._bodies.stored(content)

    # --- the end of the work --------------------------------------------------------------------

    async def captured(self, response: Response, kept: AsyncExitStack) -> Capture:
        """Read a target's answer to its end.

        Args:
            response: the answer.
            kept: holds a large body; if no job has adopted it when this is left, it goes away.

        Raises:
            TargetFailed: the answer broke off.
        """
        body = response.body
        if self._bodies.is_small(body):
            content: Content = body
        else:
            content = await kept.enter_async_context(
                self._bodies.received(chunks(body), "response")
            )
        return Capture(response.status, response.reason, response.headers, content)

    async def finish(self, claim: Claim, capture: Capture) -> None:
        """End a job with its target's answer."""
        await self._end(claim, lambda tx: transitions.finish(tx, claim, self._boot, capture))

    async def fail(self, claim: Claim, failure: Failure, detail: str) -> None:
        """End a job without an answer."""
        await self._end(claim, lambda tx: transitions.fail(tx, claim, self._boot, failure, detail))

    async def stopped(self, claim: Claim, detail: str) -> None:
        """End a job whose cancellation has taken effect."""
        await self._end(claim, lambda tx: transitions.stopped(tx, claim, self._boot, detail))

    def abandon(self, claim: Claim) -> None:
        """Give up on a job that cannot be ended in the store; the next start recovers it."""
        self._dispatcher.release(claim.target)

    async def _end(self, claim: Claim, operation: Operation[bool]) -> None:
        posted = self._writer.post(operation)
        self._dispatcher.release(claim.target)  # so that the next claim shares the commit
        try:
            await posted
        except (StoreFull, StoreBusy):
            await self._writer.insist(operation)

    # --- what a handler reports -----------------------------------------------------------------

    def reported(self, handle: JobHandle) -> None:
        """Write down what a handler has reported; many reports may share one writing."""
        if handle not in self._reporting:
            self._reporting.add(handle)
            self._writer.send(lambda tx: self._report(tx, handle))

    def _report(self, tx: Transaction, handle: JobHandle) -> None:
        self._reporting.discard(handle)
        transitions.report(tx, handle.snapshot(), self._boot)

    def warned(self, report: Report) -> None:
        """Write down a handler's warning."""
        self._writer.send(lambda tx: transitions.report(tx, report, self._boot))

    async def report(self, report: Report) -> bool:
        """Write down what is reported of a running job from outside this process.

        Returns:
            whether somebody asked for the job's cancellation.

        Raises:
            JobNotFound: this attempt at the job does not run, or not any more.
        """
        _checked(report.job_id)
        return await self._writer.run(lambda tx: transitions.report(tx, report, self._boot))

    # --- what clients do ------------------------------------------------------------------------

    async def peek(self, job_id: int) -> Job:
        """Look at a job whose result may still be asked for.

        Raises:
            JobNotFound: there is none.
        """
        row = await self._row(sql.GET_JOB, job_id=_checked(job_id))
        return transitions.if_awaited(job_id, row)

    async def pending(self, count: int) -> list[int]:
        """List the first jobs that have not ended, by id."""
        return await self._ids(sql.PENDING_IDS, count)

    async def held(self, count: int) -> list[int]:
        """List the first jobs whose result can be fetched, by id."""
        return await self._ids(sql.HELD_IDS, count)

    def take(self, job_id: int) -> AbstractAsyncContextManager[Delivery | None]:
        """Take a result; leaving the context by an exception gives it back.

        The context is None if the job has not ended yet.

        Raises:
            JobNotFound: no such job, or its result is gone.
        """
        return self._deliveries.taken(_checked(job_id))

    async def cancel(self, job_id: int) -> None:
        """Cancel a queued job, stop a running one, leave an ended one alone.

        Raises:
            JobNotFound: nobody may ask for this job any more.
        """
        _checked(job_id)
        await self._writer.run(
            lambda tx: transitions.cancel(tx, job_id), lambda found: self._cancelled(job_id, found)
        )

    def _cancelled(self, job_id: int, found: State) -> None:
        if found is State.QUEUED:
            self._dispatcher.dequeued()
        elif found is State.RUNNING:
            self._dispatcher.order(Cancellation(job_id))

    async def delete(self, job_id: int) -> None:
        """Delete a result; the work goes on if it has not ended.

        Raises:
            JobNotFound: nobody may ask for this job any more.
        """
        _checked(job_id)
        await self._writer.run(lambda tx: self._delete(tx, job_id))

    def _delete(self, tx: Transaction, job_id: int) -> None:
        if job_id in self._deliveries.reserved:  # it goes to its reader
            raise JobNotFound(job_id)
        transitions.delete(tx, job_id)

    async def delete_all(self) -> int:
        """Delete every result there is; return how many."""
        row = await self._row(sql.LAST_ID)
        last = row[0]
        return sum(
            [
                await self._in_steps(
                    lambda tx, step=step: transitions.delete_step(  # type: ignore[misc]
                        tx, step, last, self._deliveries.reserved, STEP
                    )
                )
                for step in sql.DELETE_STEPS
            ]
        )

    async def expire(self, before: int) -> int:
        """Expire the results that were finished before a time; return how many.

        Args:
            before: microseconds since 1970.
        """
        return await self._in_steps(
            lambda tx: transitions.expire_step(tx, before, self._deliveries.reserved, STEP)
        )

    async def restore(self, job_id: int) -> None:
        """Hold a fetched result again, for another reader.

        Raises:
            JobNotFound: there is no such job.
            ResultNotRestorable: it was not fetched, or its payload is no longer kept.
        """
        _checked(job_id)
        await self._writer.run(lambda tx: transitions.restore(tx, job_id))

    # --- what the server does by itself ---------------------------------------------------------

    async def orphans(self) -> list[Orphan]:
        """List some of the claims that earlier starts of a server left behind."""
        rows = await self._rows(sql.ORPHANS, boot=self._boot, limit=STEP)
        return [Orphan(*row) for row in rows]

    async def boot_of(self, orphan: Orphan) -> Boot:
        """Tell which start of the server made a claim."""
        return Boot(*await self._row(sql.GET_BOOT, boot=orphan.boot))

    async def recover(self, ids: Sequence[int], detail: str) -> None:
        """Queue orphaned jobs again."""
        await self._writer.run(
            lambda tx: transitions.recover(tx, ids, detail), self._dispatcher.requeued
        )

    async def fail_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs that must not run again."""
        await self._writer.run(lambda tx: transitions.fail_orphans(tx, ids, detail))

    async def cancel_orphans(self, ids: Sequence[int], detail: str) -> None:
        """End orphaned jobs whose cancellation was asked for."""
        await self._writer.run(lambda tx: transitions.cancel_orphans(tx, ids, detail))

    async def queued_targets(self) -> list[str]:
        """Name the targets that jobs are queued for."""
        targets: list[str] = []
        while name := (await self._row(sql.NEXT_QUEUED_TARGET, after="".join(targets[-1:])))[0]:
            targets.append(name)
        return targets

    async def reroute(self, old: str, new: str) -> int:
        """Queue the jobs of a target that is gone for another one; return how many."""
        rerouted = await self._in_steps(
            lambda tx: tx.execute(sql.REROUTE, old=old, new=new, limit=STEP).rowcount
        )
        self._dispatcher.enqueued(new)
        return rerouted

    async def purge(self, before: int) -> int:
        """Drop payloads that nobody could ask for since before a time; return how many."""
        return await self._in_steps(lambda tx: transitions.purge_step(tx, before, STEP))

    async def forget(self, before: int) -> int:
        """Remove jobs from the history that ended before a time; return how many.

        Ids are in order of submission, so the search ends at the first job submitted too late.
        """
        forgotten = after = 0
        while rows := await self._rows(sql.BY_AGE, after=after, limit=STEP):
            after = rows[-1][0]
            ids = [row[0] for row in rows if row[2] is not None and row[2] < before]
            if ids:
                forgotten += await self._writer.run(lambda tx, ids=ids: transitions.forget(tx, ids))  # type: ignore[misc]
            if rows[-1][1] >= before:
                break
        return forgotten

    async def sweep(self) -> int:
        """Delete the bodies that belong to no job; return how many rows went away."""
        return await self._until_none(self._bodies.sweep)

    async def checkpoint(self) -> None:
        """Move the WAL into the file and cut it to nothing, if nothing else is to do."""
        if self._writer.idle:
            await self._writer.call(checkpoint)

    async def counters(self) -> dict[tuple[str, str], int]:
        """Tell how many jobs are in each state of each machine."""
        return {(machine, state): n for machine, state, n in await self._rows(sql.COUNTERS)}

    # --- helpers --------------------------------------------------------------------------------

    async def _in_steps(self, operation: Operation[int]) -> int:
        """Repeat a bounded step until it finds nothing to do; return how much it did in all."""
        return await self._until_none(lambda: self._writer.run(operation))

    async def _until_none(self, step: Callable[[], Awaitable[int]]) -> int:
        total = 0
        while done := await step():
            total += done
        return total

    async def _ids(self, statement: Statement, limit: int) -> list[int]:
        limit = min(limit, LARGEST_ID)
        return [job_id for (job_id,) in await self._rows(statement, limit=limit)]

    async def _row(self, statement: Statement, **values: object) -> Any:
        return next(iter(await self._rows(statement, **values)), None)

    async def _rows(self, statement: Statement, **values: object) -> list[Any]:
        return list(await self._reader.execute_fetchall(statement.sql, values))


def _checked(job_id: int) -> int:
    """Turn away ids that no job can have, before they reach the database."""
    if not 0 < job_id <= LARGEST_ID:
        raise JobNotFound(job_id)
    return job_id
