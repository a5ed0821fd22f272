"""The store of a running server: everything that a job goes through, durably."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from jobstore.live.dispatch import Dispatcher
from jobstore.live.owners import OwnerLimits, Owners
from jobstore.live.results import Results, checked
from jobstore.live.scheduling import Schedules
from jobstore.live.timekeeping import Timekeeping
from jobstore.live.upcoming import Upcoming
from jobstore.live.upkeep import Upkeep
from jobstore.live.watchers import Watch, Watchers
from jobstore.model import idempotency
from jobstore.model.clock import SECOND, Alarm, Clock, ClockWatch
from jobstore.model.errors import (
    BeingDelivered,
    BodyTooLarge,
    JobNotFound,
    QueueFull,
    ShuttingDown,
    StoreError,
    StoreLost,
    StoreUnavailable,
    StoreUnsure,
    TooDeep,
)
from jobstore.model.handle import JobHandle, depth_here
from jobstore.model.job import Cancellation, Claim, Failure, Job, Order, Report, Submission
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import Response, body_size, chunks
from jobstore.model.retry import Ended
from jobstore.model.rotation import Claimed, Room, Turns
from jobstore.store import keys, transitions
from jobstore.store import statements as sql
from jobstore.store.accounts import Accounts, Roll
from jobstore.store.bodies import Bodies, Content
from jobstore.store.definitions import Definitions
from jobstore.store.history import History
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.glance import Glance
from jobstore.store.sqlite.writer import Operation, Transaction, Writer
from jobstore.store.steps import STEP, Steps
from jobstore.store.transitions import Aftermath, Capture, Wanted

# How long it may take until a job is noticed that another process put in.
NOTICE_SECONDS: Final = 0.5
# Never stored in clear beyond need, whatever a configuration adds to them.
SECRET_HEADERS: Final = frozenset({"authorization", "cookie", "proxy-authorization"})

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a store takes in.

    Args:
        queue: how many jobs may be queued.
        body: the largest request body, in bytes.
        inline: the largest body, in bytes, that stands in its message's own row.
        size: the bound on the file's size in bytes, or 0 for none.
        secret: lower-case names of request headers to forget when a job ends.
        owner: what one owner may have.
        depth: how many jobs may make one another, one after the other.
    """

    queue: int = 100_000
    body: int = 2**30
    inline: int = 256 * 1024
    size: int = 0
    secret: frozenset[str] = SECRET_HEADERS
    owner: OwnerLimits = field(default_factory=OwnerLimits)
    depth: int = 8


class Store:
    """Jobs in a file; each method returns when what it did is on the disk.

    Where a method takes a scope, that is whose jobs whoever asks may see, or None for all.

    Args:
        writer: the one writer.
        reader: a connection for reading.
        glance: for quick looks.
        limits: what it takes in.
        history: the same store, for people.
        steps: how long work is done.
        boot: the number of this start of the server; 0 where no server runs.
        queued: how many jobs wait already.
        clock: what time it is.
        watch: notices when the clock is set.

    Attributes:
        accounts: who may ask.
        definitions: the requests that are kept to be run again.
        schedules: when those run by themselves.
        results: what readers ask for.
        timekeeping: what is done when the clock is set.
        upkeep: what the server does by itself.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        writer: Writer,
        reader: Connection,
        glance: Glance,
        limits: Limits,
        history: History,
        *,
        steps: Steps,
        boot: int,
        queued: int,
        clock: Clock,
        watch: ClockWatch,
    ) -> None:
        self.accounts = Accounts(glance, writer)
        self.history = history
        self._writer = writer
        self._glance = glance
        self._limits = limits
        self._boot = boot
        self._accepting = True
        self._bodies = Bodies(writer, reader, limits.inline)
        self._owners = Owners(limits.owner, clock)
        self._dispatcher = Dispatcher(writer, self._claim, queued, limits.owner.running)
        self.schedules = Schedules(
            writer,
            reader,
            self._dispatcher,
            room=self._room,
            check=self._check_usage,
            revision=lambda: glance.revision("schedules"),
            secret=limits.secret,
            clock=clock,
        )
        self.definitions = Definitions(writer, reader, limits.secret, self.schedules.scheduled)
        self._watchers = Watchers()
        self._upcoming = Upcoming()
        self.results = Results(
            writer,
            history.searcher,
            glance,
            self._bodies,
            watchers=self._watchers,
            upcoming=self._upcoming,
            steps=steps,
        )
        self.upkeep = Upkeep(
            writer, reader, self._bodies, self._dispatcher, self._watchers, steps, boot, clock
        )
        self._reporting: set[JobHandle] = set()
        self._clock = clock
        self._due = Alarm(clock)
        self.timekeeping = Timekeeping(writer, watch, self._due, self.schedules)
        self._noticed = glance.revision("queue")
        self._roll: Roll | None = None

    # --- submit and run -------------------------------------------------------------------------

    async def work(self, capacities: Mapping[str, int]) -> AsyncIterator[Order]:
        """Start handing out work, and give it as it comes.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
        """
        async for order in self._dispatcher.orders(capacities):
            if isinstance(order, Claim):
                self._upcoming.began(order.job_id)
            self._watchers.tell(order.job_id)
            yield order

    def slots(self) -> dict[str, tuple[int, int]]:
        """Tell how many jobs of each target run, and how many may, by the target's name."""
        return self._dispatcher.slots()

    def refuse(self) -> None:
        """Take no new jobs and start none any more."""
        self._accepting = False
        self._dispatcher.pause()

    def trouble(self) -> str | None:
        """Tell in a clause why no job can be taken in just now; None if it can."""
        if not self._accepting:
            return "the server is shutting down"
        error = self._writer.look()
        return None if error is None else error.problem

    def dismiss(self) -> None:
        """Let nobody wait any more for what becomes of a job."""
        self._watchers.dismiss()

    async def idle(self) -> None:
        """Wait until no job runs and none is about to."""
        await self._dispatcher.idle()

    async def noticed(self) -> None:
        """Wait until another process has put jobs in, and see to it that they run."""
        # Nobody can tell this process; a row that is read now and then has to.
        while (revision := self._glance.revision("queue")) == self._noticed:
            self._writer.look()
            self.schedules.notice()
            self._notice_accounts()
            await asyncio.sleep(NOTICE_SECONDS)
        self._noticed = revision
        await self._writer.run(transitions.count_queued, self._dispatcher.recounted)

    def _notice_accounts(self) -> None:
        """Wake all who wait for something if accounts have changed: they may be let in no more."""
        roll = self.accounts.roll()
        if self._roll is not None and roll is not self._roll:
            self._watchers.tell_all()
        self._roll = roll

    async def come_due(self) -> None:
        """Let jobs run whose time has come, until cancelled."""
        await self.timekeeping.begin()
        while True:
            self.timekeeping.check()
            targets = await self._writer.run(lambda tx: transitions.due(tx, STEP))
            for target in dict.fromkeys(targets):
                self._dispatcher.some_enqueued(target)
            if not targets:
                self._due.set(await self._writer.run(transitions.next_due))
                await self._due.wait()

    async def submit(self, submission: Submission) -> int:
        """Take a job in.

        Args:
            submission: what to run; its request's body is read here.

        Returns:
            the job's id, once the job is on the disk; if the same request came before under the
            same key, that is the job that it became then.

        Raises:
            NotAccepting: the queue is full, or the server drains.
            OwnerLimit: its owner has submitted as much as one may.
            TooDeep: it comes from a job, which comes from a job, and so on too often.
            BodyTooLarge: the request's body exceeds the limit.
            TagTaken: an unended job of its owner has its tag.
            KeyReused: its key came before, with another request.
            StoreError: it could not be written.
        """
        self._check_accepting()
        self._check_owner(submission.account)
        body, limit = submission.request.body, self._limits.body
        summed = None if submission.key is None else idempotency.digest()
        if self._bodies.is_small(body) and len(body) <= limit:
            if summed:
                summed.update(body)
            return await self._post(submission, body, summed)
        async with self._bodies.received(chunks(body), "request", limit, summed) as content:
            self._check_accepting()
            return await self._post(submission, content, summed)

    async def submit_chain(self, submissions: Sequence[Submission]) -> list[int]:
        """Take jobs in of which each waits for the success of the one before it.

        Args:
            submissions: what to run, in this order; their requests' bodies are small ones.

        Returns:
            the jobs' ids, once all of them are on the disk.

        Raises:
            NotAccepting: the queue is full, or the server drains.
            OwnerLimit: their owner has submitted as much as one may.
            TooDeep: they come from a job, which comes from a job, and so on too often.
            BodyTooLarge: the body of one of the requests exceeds the limit.
            StoreError: they could not be written.
        """
        self._check_accepting(len(submissions))
        self._check_owner(submissions[0].account, len(submissions))
        if any((body_size(one.request.body) or 0) > self._limits.body for one in submissions):
            raise BodyTooLarge(self._limits.body)
        self._dispatcher.lined_up(len(submissions))
        depth = depth_here()

        def submit(tx: Transaction) -> list[int]:
            ids: list[int] = []
            self._check_usage(tx, submissions[0].account, len(submissions))
            for submission in submissions:
                body = submission.request.body
                assert isinstance(body, bytes)
                follower = replace(submission, follows=ids[-1] if ids else None)
                ids.append(self._put(tx, follower, body, None, depth))
            return ids

        return await self._writer.post(
            submit,
            lambda _: self._dispatcher.some_enqueued(submissions[0].target),
            lambda _: self._dispatcher.dequeued(len(submissions)),
        )

    def running_depth(self, job_id: int) -> int | None:
        """Tell how many jobs made one another before one that runs; None if it does not run."""
        row = self._glance.row(sql.RUNNING_DEPTH, job_id=job_id)
        return None if row is None else int(row[0])

    def _check_accepting(self, jobs: int = 1) -> None:
        if not self._accepting:
            raise ShuttingDown
        if self._dispatcher.queued + jobs > self._limits.queue:
            raise QueueFull(self._limits.queue)

    def _check_owner(self, account: int, jobs: int = 1) -> None:
        if depth_here() > self._limits.depth:
            raise TooDeep(self._limits.depth)
        if self._boot:  # whoever has a command has the file
            self._owners.check_rate(account, jobs)

    def _check_usage(self, tx: Transaction, account: int, jobs: int = 1) -> None:
        if self._boot and self._owners.bounded:
            self._owners.check_usage(*transitions.usage(tx, account), jobs)

    def _room(self) -> int:
        return self._limits.queue - self._dispatcher.queued if self._accepting else 0

    def _post(
        self,
        submission: Submission,
        content: Content,
        summed: idempotency.Digest | None,
    ) -> asyncio.Future[int]:
        target = submission.target
        keyed = _keyed(submission, summed)
        if submission.timed:
            self.timekeeping.check()
        account, depth = submission.account, depth_here()
        has_slot = self._dispatcher.admit(target, account, waits=submission.waits)
        boot = self._boot if has_slot else None

        known: int | None = None

        def then(job_id: int) -> None:
            if known is not None:
                self._dispatcher.turned_away(target, account, had_slot=has_slot)
            elif has_slot:
                self._run(submission, content, job_id, depth)
            else:
                self._lined_up(submission, job_id)

        def submit(tx: Transaction) -> int:
            nonlocal known
            known = keys.known(tx, submission, keyed) if keyed else None
            if known is not None:
                return known
            self._check_usage(tx, account)
            if submission.tag is not None:
                transitions.check_tag(tx, submission)
            job_id = self._put(tx, submission, content, boot, depth)
            if keyed:
                keys.keep(tx, submission, keyed, job_id)
            return job_id

        return self._writer.post(
            submit,
            then,
            lambda _: self._dispatcher.turned_away(target, account, had_slot=has_slot),
        )

    def post(self, submission: Submission) -> asyncio.Future[int]:
        """Take a job in as `submit` does, but let no task wait for that.

        Args:
            submission: what to run, without a key; its request's body is a small one.

        Returns:
            a future of the job's id, which is there only after the commit.

        Raises:
            JobstoreError: as `submit`, unless it fails only in the transaction.
        """
        self._check_accepting()
        self._check_owner(submission.account)
        body = submission.request.body
        assert isinstance(body, bytes)
        return self._post(submission, body, None)

    def is_small(self, size: int) -> bool:
        """Tell whether the body of a request is taken in as it is."""
        return size <= min(self._limits.inline, self._limits.body)

    def _lined_up(self, submission: Submission, job_id: int) -> None:
        self._upcoming.began(job_id)
        if submission.timed:
            self._due.set(_begins(submission, self._clock()))
        elif not submission.waits:
            self._dispatcher.enqueued(submission.target, submission.account, submission.priority)

    def _put(
        self,
        tx: Transaction,
        submission: Submission,
        content: Content,
        boot: int | None,
        depth: int,
    ) -> int:
        if not self._boot:
            tx.execute(sql.REVISE)  # so that a running server notices
        return transitions.submit(tx, submission, content, self._limits.secret, boot, depth)

    def _run(self, submission: Submission, content: Content, job_id: int, depth: int) -> None:
        request = submission.request
        if not isinstance(request.body, bytes):
            request = replace(request, body=self._bodies.body(content))
        claim = Claim(
            job_id=job_id,
            attempt=1,
            target=submission.target,
            request=request,
            owner=submission.owner,
            account=submission.account,
            depth=depth,
            timeout=submission.timeout,
            replay=submission.replay,
            retries=submission.retries,
            secrets=any(name.lower() in self._limits.secret for name, _ in request.headers),
        )
        self._dispatcher.order(claim)

    def _claim(
        self, tx: Transaction, target: str, limit: int, turns: Turns, room: Room | None
    ) -> Claimed:
        wanted = Wanted(target, self._boot, limit, self._bodies.body)
        return transitions.claim(tx, wanted, turns, room)

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

    async def retry(self, claim: Claim, seconds: float, ended: Ended) -> bool:
        """Queue a job again whose attempt has failed for a passing reason.

        Args:
            claim: the attempt.
            seconds: how long to wait before the next one.
            ended: how it has ended.

        Returns:
            whether it was queued; if not, it has to be ended after all.
        """

        def operation(tx: Transaction) -> int | None:
            again_at = tx.now + int(seconds * SECOND)
            return transitions.retry(tx, claim, self._boot, again_at, ended)

        self.timekeeping.check()
        try:
            again_at = await self._writer.insist(operation)
        except StoreError:
            self._dispatcher.release(claim.target, claim.account)
            raise
        if again_at is None:
            return False
        self._dispatcher.lined_up(1)
        self._dispatcher.release(claim.target, claim.account)
        self._due.set(again_at)
        self._watchers.tell(claim.job_id)
        return True

    def abandon(self, claim: Claim) -> None:
        """Give up on a job that cannot be ended in the store; the next start recovers it."""
        self._dispatcher.release(claim.target, claim.account)

    async def _end(self, claim: Claim, operation: Operation[Aftermath]) -> None:
        posted = self._writer.post(operation, lambda done: self._ended(claim.job_id, done))
        self._upcoming.ending(claim.job_id)  # so that whoever fetches the result shares the commit
        self._dispatcher.release(
            claim.target, claim.account
        )  # so that the next claim shares the commit
        try:
            await posted
        except StoreLost:
            raise
        except (StoreUnavailable, StoreUnsure):
            self._ended(claim.job_id, await self._writer.insist(operation))

    def _ended(self, job_id: int, aftermath: Aftermath) -> None:
        self._dispatcher.followed(aftermath)
        self._watchers.tell(job_id, *aftermath.cancelled)
        self.schedules.ended(job_id, *aftermath.cancelled)

    # --- what a handler reports -----------------------------------------------------------------

    def reported(self, handle: JobHandle) -> None:
        """Write down what a handler has reported; many reports may share one writing."""
        if handle not in self._reporting:
            self._reporting.add(handle)
            self._writer.send(lambda tx: self._report(tx, handle), self._told(handle.id))

    def _report(self, tx: Transaction, handle: JobHandle) -> None:
        self._reporting.discard(handle)
        transitions.report(tx, handle.snapshot(), self._boot)

    def warned(self, report: Report) -> None:
        """Write down a handler's warning."""
        self._writer.send(
            lambda tx: transitions.report(tx, report, self._boot), self._told(report.job_id)
        )

    def _told(self, job_id: int | None) -> Callable[[object], None]:
        return lambda _: self._watchers.tell(job_id or 0)

    async def report(self, report: Report, scope: int | None = None) -> bool:
        """Write down what is reported of a running job from outside this process.

        Returns:
            whether somebody asked for the job's cancellation.

        Raises:
            JobNotFound: this attempt at the job does not run, or not any more.
        """
        checked(report.job_id)
        return await self._writer.run(
            lambda tx: transitions.report(tx, report, self._boot, scope),
            self._told(report.job_id),
        )

    # --- what clients do ------------------------------------------------------------------------

    def watching(self, job_id: int) -> Watch:
        """Give what is told whenever the job has changed, until its context is left."""
        return self._watchers.watching(job_id)

    def watched(self, job_id: int) -> int:
        """Tell how many wait for what becomes of a job."""
        return self._watchers.count(job_id)

    def ended(
        self,
        job_id: int,
        seconds: float,
        scope: int | None = None,
        again: Callable[[], int | None] | None = None,
    ) -> Awaitable[Job]:
        """Wait until a job has ended and no reader is being given its result.

        It does not wait for longer than so many seconds.

        Args:
            job_id: the job.
            seconds: how many.
            scope: whose it has to be, or None for anybody's.
            again: gives the scope anew after each wait, or raises if who asks may not any more.

        Returns:
            the job as it stands then.

        Raises:
            JobNotFound: nobody may ask for it, or not any more.
        """
        return self._until_ended(
            job_id, seconds, scope, again, self.results.peek, self.results.on_its_way
        )

    async def once_free(
        self,
        job_id: int,
        seconds: float,
        scope: int | None,
        take: Callable[[], Awaitable[T]],
        again: Callable[[], int | None],
    ) -> T:
        """Take a result when the job has ended and no other reader has it, or when time is over.

        Args:
            job_id: the job.
            seconds: for how long to wait at most.
            scope: whose it has to be, or None for anybody's.
            take: takes it, unless another reader is faster.
            again: gives the scope anew after each wait, or raises if who asks may not any more.

        Raises:
            BeingDelivered: another reader still has it.
            JobNotFound: nobody may ask for it, or not any more.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while True:
            if seconds > 0:
                await self.ended(job_id, end - loop.time(), scope, again)
            try:
                return await take()
            except BeingDelivered:
                if loop.time() >= end or self._watchers.dismissed:
                    raise

    def settled(
        self,
        job_id: int,
        seconds: float,
        scope: int | None = None,
        again: Callable[[], int | None] | None = None,
    ) -> Awaitable[Job]:
        """Wait as `ended` does, whoever may still ask for the result.

        Raises:
            JobNotFound: there is no such job in the history.
        """
        return self._until_ended(job_id, seconds, scope, again, self.history.job, lambda _: False)

    async def _until_ended(  # noqa: PLR0913, PLR0917 - it has two callers
        self,
        job_id: int,
        seconds: float,
        scope: int | None,
        again: Callable[[], int | None] | None,
        look: Callable[[int, int | None], Awaitable[Job]],
        busy: Callable[[int], bool],
    ) -> Job:
        if seconds <= 0:
            return await look(job_id, scope)
        with self._watchers.watching(job_id, seconds) as watch:
            while True:
                job = await look(job_id, scope)
                if watch.over or (job.state in ENDED and not busy(job_id)):
                    return job
                del job  # many may wait
                await watch.change()
                if again is not None:
                    scope = again()

    async def cancel(self, job_id: int, scope: int | None = None, by: str = "") -> State:
        """Cancel a queued job, stop a running one, leave an ended one alone.

        Args:
            job_id: the job.
            scope: whose it has to be, or None for anybody's.
            by: the name of who asks for it, or "" if that is not known.

        Returns:
            the state that it was found in.

        Raises:
            JobNotFound: nobody may ask for this job any more.
        """
        checked(job_id)
        try:
            found, _ = await self._writer.run(
                lambda tx: transitions.cancel(tx, job_id, scope, by),
                lambda done: self._cancelled(job_id, *done),
            )
        except JobNotFound:
            found = (await self.results.peek(job_id, scope)).state  # its result may be on its way
        return found

    def _cancelled(self, job_id: int, found: State, aftermath: Aftermath) -> None:
        self._ended(job_id, aftermath)
        if found is State.QUEUED:
            self._dispatcher.dequeued()
        elif found is State.RUNNING:
            self._dispatcher.order(Cancellation(job_id))


def _begins(submission: Submission, now: int) -> int | None:
    """Tell when a job may run that was put in just now."""
    return submission.not_before if submission.delay is None else now + submission.delay


def _keyed(submission: Submission, summed: idempotency.Digest | None) -> idempotency.Keyed | None:
    if submission.key is None or summed is None:
        return None
    return idempotency.Keyed(submission.key, idempotency.fingerprint(submission.request, summed))
