"""The store of a running server: everything that a job goes through, durably."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from jobstore.live.delivery import Deliveries
from jobstore.live.dispatch import Dispatcher
from jobstore.live.owners import OwnerLimits, Owners
from jobstore.live.results import Results, checked
from jobstore.live.scheduling import Schedules
from jobstore.live.subscribers import Subscribers
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
    StoreLost,
    StoreUnavailable,
    StoreUnsure,
    TooDeep,
)
from jobstore.model.handle import JobHandle, depth_here
from jobstore.model.job import Claim, Failure, Job, Order, Report, Submission
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import Response, body_size, chunks
from jobstore.model.retry import AttemptEnded
from jobstore.model.rotation import Claimed, Room, Turns
from jobstore.store import claiming, ending, events, keys, revisions, submitting
from jobstore.store.accounts import Accounts, AccountSnapshot
from jobstore.store.bodies import Bodies, Content
from jobstore.store.definitions import Definitions
from jobstore.store.facts import (
    Blocked,
    CancelAsked,
    Changed,
    Due,
    Ended,
    Fires,
    Looked,
    Queued,
    Ready,
    Started,
    Taken,
    Waiting,
)
from jobstore.store.history import History
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.point_reader import PointReader
from jobstore.store.sqlite.writer import Writer
from jobstore.store.steps import STEP, Steps
from jobstore.store.transaction import Operation, Transaction

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
        points: for quick looks.
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
        points: PointReader,
        limits: Limits,
        history: History,
        *,
        steps: Steps,
        boot: int,
        queued: int,
        clock: Clock,
        watch: ClockWatch,
    ) -> None:
        self.accounts = Accounts(points, writer)
        self.history = history
        self._writer = writer
        self._points = points
        self._limits = limits
        self._boot = boot
        self._accepting = True
        self._bodies = Bodies(writer, reader, limits.inline)
        self._owners = Owners(limits.owner, clock)
        self._dispatcher = Dispatcher(writer, self._claim, queued, limits.owner.running)
        self.schedules = Schedules(
            writer,
            reader,
            room=self._room,
            check=self._check_usage,
            revision=lambda: points.revision("schedules"),
            secret=limits.secret,
            clock=clock,
        )
        self.definitions = Definitions(writer, reader, limits.secret)
        self._watchers = Watchers()
        self._upcoming = Upcoming()
        deliveries = Deliveries(writer, self._bodies, self._upcoming, self._watchers.tell)
        self.results = Results(
            writer,
            history.searcher,
            points,
            self._bodies,
            deliveries,
            upcoming=self._upcoming,
            steps=steps,
        )
        self.upkeep = Upkeep(writer, reader, self._bodies, steps, boot, clock)
        self._reporting: set[JobHandle] = set()
        self._due = Alarm(clock)
        self.timekeeping = Timekeeping(writer, watch, self.schedules)
        self._noticed = points.revision("queue")
        self._roll: AccountSnapshot | None = None
        writer.committed = self._subscribers(deliveries).committed

    def _subscribers(self, deliveries: Deliveries) -> Subscribers:
        """Say who hears of what."""
        dispatcher, upcoming, watchers = self._dispatcher, self._upcoming, self._watchers
        subscribers = Subscribers()
        subscribers.subscribe(Queued, dispatcher.queue, upcoming.came)
        subscribers.subscribe(Waiting, upcoming.came)
        subscribers.subscribe(Ready, dispatcher.ready)
        subscribers.subscribe(Looked, dispatcher.looked)
        subscribers.subscribe(Started, dispatcher.started, upcoming.started, watchers.started)
        subscribers.subscribe(CancelAsked, dispatcher.cancel_asked, watchers.changed)
        subscribers.subscribe(Ended, watchers.changed, self.schedules.ended)
        subscribers.subscribe(Changed, watchers.changed)
        subscribers.subscribe(Taken, deliveries.taken)
        subscribers.subscribe(Due, lambda fact: self._due.set(fact.at))
        subscribers.subscribe(Fires, self.schedules.fires)
        subscribers.subscribe(Blocked, self.schedules.blocked)
        subscribers.settle(dispatcher.settle)
        return subscribers

    # --- submit and run -------------------------------------------------------------------------

    def work(self, capacities: Mapping[str, int]) -> AsyncIterator[Order]:
        """Start handing out work, and give it as it comes.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
        """
        return self._dispatcher.orders(capacities)

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
        while (revision := self._points.revision("queue")) == self._noticed:
            self._writer.look()
            self.schedules.notice()
            self._notice_accounts()
            await asyncio.sleep(NOTICE_SECONDS)
        self._noticed = revision
        await self._writer.run(lambda tx: self._dispatcher.recount(tx, claiming.count_queued(tx)))

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
            if not await self._writer.run(lambda tx: claiming.due(tx, STEP)):
                self._due.set(await self._writer.run(claiming.next_due))
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
        depth = depth_here()

        def submit(tx: Transaction) -> list[int]:
            ids: list[int] = []
            self._check_room(tx, len(submissions))
            self._check_usage(tx, submissions[0].account, len(submissions))
            for submission in submissions:
                body = submission.request.body
                assert isinstance(body, bytes)
                follower = replace(submission, follows=ids[-1] if ids else None)
                ids.append(self._put(tx, follower, body, None, depth))
            return ids

        return await self._writer.run(submit)

    def running_depth(self, job_id: int) -> int | None:
        """Tell how many jobs made one another before one that runs; None if it does not run."""
        row = self._points.row(claiming.RUNNING_DEPTH, job_id=job_id)
        return None if row is None else int(row[0])

    def _check_accepting(self, jobs: int = 1) -> None:
        if not self._accepting:
            raise ShuttingDown
        if self._dispatcher.queued + jobs > self._limits.queue:
            raise QueueFull(self._limits.queue)

    def _check_room(self, tx: Transaction, jobs: int = 1) -> None:
        if self._dispatcher.waiting(tx) + jobs > self._limits.queue:
            raise QueueFull(self._limits.queue)

    def _check_owner(self, account: int, jobs: int = 1) -> None:
        if depth_here() > self._limits.depth:
            raise TooDeep(self._limits.depth)
        if self._boot:  # whoever has a command has the file
            self._owners.check_rate(account, jobs)

    def _check_usage(self, tx: Transaction, account: int, jobs: int = 1) -> None:
        if self._boot and self._owners.bounded:
            self._owners.check_usage(*submitting.usage(tx, account), jobs)

    def _room(self, tx: Transaction) -> int:
        return self._limits.queue - self._dispatcher.waiting(tx) if self._accepting else 0

    def _post(
        self,
        submission: Submission,
        content: Content,
        summed: idempotency.Digest | None,
    ) -> asyncio.Future[int]:
        keyed = _keyed(submission, summed)
        if submission.timed:
            self.timekeeping.check()
        target, account, depth = submission.target, submission.account, depth_here()

        def submit(tx: Transaction) -> int:
            known = keys.known(tx, submission, keyed) if keyed else None
            if known is not None:
                return known
            self._check_room(tx)
            self._check_usage(tx, account)
            if submission.tag is not None:
                submitting.check_tag(tx, submission)
            starts = not submission.waits and self._dispatcher.may_start(tx, target, account)
            job_id = self._put(tx, submission, content, self._boot if starts else None, depth)
            if keyed:
                keys.keep(tx, submission, keyed, job_id)
            if starts:
                self._dispatcher.start(tx, self._claim_at_once(submission, content, job_id, depth))
            return job_id

        return self._writer.post(submit)

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

    def _put(
        self,
        tx: Transaction,
        submission: Submission,
        content: Content,
        boot: int | None,
        depth: int,
    ) -> int:
        if not self._boot:
            tx.execute(revisions.REVISE)  # so that a running server notices
        return submitting.submit(tx, submission, content, self._limits.secret, boot, depth)

    def _claim_at_once(
        self, submission: Submission, content: Content, job_id: int, depth: int
    ) -> Claim:
        request = submission.request
        if not isinstance(request.body, bytes):
            request = replace(request, body=self._bodies.body(content))
        return Claim(
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

    def _claim(
        self, tx: Transaction, target: str, limit: int, turns: Turns, room: Room | None
    ) -> Claimed:
        wanted = claiming.Wanted(target, self._boot, limit, self._bodies.body)
        return claiming.claim(tx, wanted, turns, room)

    # --- the end of the work --------------------------------------------------------------------

    async def captured(self, response: Response, kept: AsyncExitStack) -> ending.CapturedResponse:
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
        return ending.CapturedResponse(response.status, response.reason, response.headers, content)

    async def finish(self, claim: Claim, capture: ending.CapturedResponse) -> None:
        """End a job with its target's answer."""
        await self._end(claim, lambda tx: ending.finish(tx, claim, self._boot, capture))

    async def fail(self, claim: Claim, failure: Failure, detail: str) -> None:
        """End a job without an answer."""
        await self._end(claim, lambda tx: ending.fail(tx, claim, self._boot, failure, detail))

    async def stopped(self, claim: Claim, detail: str) -> None:
        """End a job whose cancellation has taken effect."""
        await self._end(claim, lambda tx: ending.stopped(tx, claim, self._boot, detail))

    async def retry(self, claim: Claim, seconds: float, ended: AttemptEnded) -> bool:
        """Queue a job again whose attempt has failed for a passing reason.

        Args:
            claim: the attempt.
            seconds: how long to wait before the next one.
            ended: how it has ended.

        Returns:
            whether it was queued; if not, it has to be ended after all.
        """

        def retry(tx: Transaction) -> bool:
            again_at = tx.now + int(seconds * SECOND)
            queued = ending.retry(tx, claim, self._boot, again_at, ended)
            if queued:
                self._dispatcher.over(tx, claim)
            return queued

        self.timekeeping.check()
        return await self._writer.retry_until_stored(retry)

    def abandon(self, claim: Claim) -> None:
        """Give up on a job that cannot be ended in the store; the next start recovers it."""
        self._dispatcher.release(claim)

    async def _end(self, claim: Claim, operation: Operation[None]) -> None:
        def end(tx: Transaction) -> None:
            operation(tx)
            self._dispatcher.over(tx, claim)

        posted = self._writer.post(end)
        # Who fetches the result, and the job that gets the slot, share the commit.
        self._upcoming.ending(claim.job_id)
        self._dispatcher.ending(claim.target)
        try:
            await posted
        except StoreLost:
            raise
        except (StoreUnavailable, StoreUnsure):
            await self._writer.retry_until_stored(end)

    # --- what a handler reports -----------------------------------------------------------------

    def reported(self, handle: JobHandle) -> None:
        """Write down what a handler has reported; many reports may share one writing."""
        if handle not in self._reporting:
            self._reporting.add(handle)
            self._write_report(handle)

    def _write_report(self, handle: JobHandle) -> None:
        def report(tx: Transaction) -> Report:
            reported = handle.snapshot()
            events.report(tx, reported, self._boot)
            return reported

        def written(done: asyncio.Future[Report]) -> None:
            if done.exception() is None and done.result() != handle.snapshot():
                self._write_report(handle)  # it has gone on meanwhile
            else:
                self._reporting.discard(handle)

        self._writer.post(report).add_done_callback(written)

    def warned(self, report: Report) -> None:
        """Write down a handler's warning."""
        self._writer.send(lambda tx: events.report(tx, report, self._boot))

    async def report(self, report: Report, scope: int | None = None) -> bool:
        """Write down what is reported of a running job from outside this process.

        Returns:
            whether somebody asked for the job's cancellation.

        Raises:
            JobNotFound: this attempt at the job does not run, or not any more.
        """
        checked(report.job_id)
        return await self._writer.run(lambda tx: events.report(tx, report, self._boot, scope))

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
            return await self._writer.run(lambda tx: ending.cancel(tx, job_id, scope, by))
        except JobNotFound:
            return (await self.results.peek(job_id, scope)).state  # its result may be on its way


def _keyed(submission: Submission, summed: idempotency.Digest | None) -> idempotency.Keyed | None:
    if submission.key is None or summed is None:
        return None
    return idempotency.Keyed(submission.key, idempotency.fingerprint(submission.request, summed))
