"""The store of a running server: everything that a job goes through, durably."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobstore.live.admission import Admission
from jobstore.live.attempts import Attempts
from jobstore.live.bulk import BulkOperations
from jobstore.live.census import Census
from jobstore.live.changes import ChangeFeed
from jobstore.live.delivery import Deliveries
from jobstore.live.dispatch import Dispatcher
from jobstore.live.fresh import FreshRequests
from jobstore.live.limits import Limits
from jobstore.live.meters import Meters
from jobstore.live.others import Alone, Others, Tell, tell_others
from jobstore.live.owners import Owners
from jobstore.live.pulse import Pulse
from jobstore.live.results import Results, checked
from jobstore.live.scheduling import Schedules
from jobstore.live.submissions import Submissions
from jobstore.live.subscribers import Subscribers
from jobstore.live.target_states import TargetStates
from jobstore.live.timekeeping import Timekeeping
from jobstore.live.upcoming import Upcoming
from jobstore.live.upkeep import Upkeep
from jobstore.live.waits import Waiters
from jobstore.live.watchers import Watchers
from jobstore.model.clock import Alarm, Clock, ClockWatch
from jobstore.model.errors import JobNotFound, StoreError
from jobstore.model.job import Order, Submission
from jobstore.model.lifecycle import State
from jobstore.model.rotation import Claimed, Room, Turns
from jobstore.store import claiming, ending
from jobstore.store.about import About
from jobstore.store.accounts import Accounts, AccountSnapshot
from jobstore.store.bodies import Bodies
from jobstore.store.counters import count_queued
from jobstore.store.definitions import Definitions
from jobstore.store.facts import (
    Answered,
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
from jobstore.store.jobs import LARGEST_ID
from jobstore.store.keeping import Keeping
from jobstore.store.own_boot import OwnBoot
from jobstore.store.reading import Points, Reader
from jobstore.store.sessions import Sessions
from jobstore.store.steps import STEP, Steps
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Turn, Writer

if TYPE_CHECKING:
    from jobstore.live.spans import Spans


class Store:
    """The jobs of a store; each method returns once its change is on the disk.

    Where a method takes a scope, it limits what the caller may see; None means everything.

    Args:
        history: reads the same store for people.
        file: maintains the file, if it is one.
        steps: how long each step may take.
        boot: this start of the server.
        queued: how many jobs are queued already.
        watch: notices when the clock is set.

    Attributes:
        accounts: who may ask.
        sessions: who came in by a password, and has not left yet.
        attempts: what runs, and how it ends.
        definitions: the requests that are kept to be run again.
        submissions: takes jobs in.
        schedules: when those run by themselves.
        results: what readers ask for.
        waits: those who wait for what becomes of a job.
        changes: tells whoever looks at many jobs what changes.
        census: current figures, the same for all who ask at about the same time.
        timekeeping: what is done when the clock is set.
        operations: what is done to many jobs at once.
        others: who else works on the same store.
        since: from when on somebody has watched for what is due, in microseconds since 1970.
        running: the jobs that run here.
        targets: how those stand that answer.
        upkeep: what the server does by itself.
        meters: what is counted; None if nobody wants to know.
        spans: makes spans of what happens; None if nobody wants to know.
        pulse: the signs of life of a running server.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        writer: Writer,
        reader: Reader,
        points: Points,
        limits: Limits,
        history: History,
        *,
        file: Keeping,
        steps: Steps,
        boot: OwnBoot,
        queued: int,
        clock: Clock,
        watch: ClockWatch,
    ) -> None:
        self.accounts = Accounts(points, writer)
        self.sessions = Sessions(points, writer, clock)
        self.history = history
        self.file = file
        self._writer = writer
        self._points = points
        self._boot = boot
        self._bodies = Bodies(writer, reader, limits.inline)
        self._requests = FreshRequests()
        self.dispatcher = Dispatcher(writer, self._claim, queued, boot, limits.owner.running)
        owners = Owners(limits.owner, watch.steady) if boot.number else None
        self._admission = Admission(
            self.dispatcher, owners, limits.queue, limits.depth, shared=boot.shared
        )
        self.schedules = Schedules(
            writer,
            reader,
            admission=self._admission,
            revision=lambda: points.revision("schedules"),
            secret=limits.secret,
            clock=clock,
        )
        self.definitions = Definitions(writer, reader, limits.secret)
        self._watchers = Watchers()
        self._upcoming = Upcoming()
        self._deliveries = deliveries = Deliveries(
            writer, self._bodies, self._upcoming, boot, self._watchers.tell
        )
        self.results = Results(
            writer,
            history.searcher,
            points,
            self._bodies,
            deliveries,
            upcoming=self._upcoming,
            steps=steps,
            boot=boot,
            clock=clock,
        )
        self.upkeep = Upkeep(writer, reader, self._bodies, steps, boot, clock)
        self.targets = TargetStates(writer, history, self.dispatcher, points, boot, clock)
        self._due = Alarm(clock)
        self.timekeeping = Timekeeping(writer, watch, self.schedules)
        self.submissions = Submissions(
            writer,
            self._bodies,
            self.dispatcher,
            self._admission,
            self.timekeeping,
            limits,
            boot,
        )
        self.attempts = Attempts(
            writer,
            self._bodies,
            self.dispatcher,
            self._upcoming,
            self.timekeeping,
            boot,
            limits.answer,
        )
        self.operations = BulkOperations(
            writer, history, steps, self.submissions, self.results, boot
        )
        self.waits = Waiters(self._watchers, self.results, history)
        self.changes = ChangeFeed(history.counters)
        self.census = Census(history, file, self.slots, clock)
        self.others: Others = Alone(points, boot)
        self.since = clock()
        self.running: Collection[int] = ()
        self.meters: Meters | None = None
        self.spans: Spans | None = None
        self.pulse = Pulse(writer)
        self._accounts_before: AccountSnapshot | None = None
        self._behind = False  # whether others have added jobs that could not be counted yet
        self._subscribers = self._hearing(deliveries)
        writer.committed = self._subscribers.committed

    def measure(self, meters: Meters) -> None:
        """Count what happens from now on."""
        self.meters = meters
        meters.subscribe(self._subscribers)
        self.pulse.beating = meters.fold
        self._writer.measured = meters.committed
        self.submissions.refused = meters.refuse

    def _hearing(self, deliveries: Deliveries) -> Subscribers:
        """Connect the subscribers."""
        dispatcher, upcoming, watchers = self.dispatcher, self._upcoming, self._watchers
        requests, fresh = self._requests, deliveries.fresh
        subscribers = Subscribers()
        subscribers.subscribe(Queued, dispatcher.queue, upcoming.came, requests.came)
        subscribers.subscribe(Waiting, upcoming.came)
        subscribers.subscribe(Ready, dispatcher.ready)
        subscribers.subscribe(Looked, dispatcher.looked, requests.looked)
        subscribers.subscribe(Started, dispatcher.started, upcoming.started, watchers.started)
        subscribers.subscribe(CancelAsked, dispatcher.cancel_asked, watchers.changed)
        subscribers.subscribe(Ended, watchers.changed, self.schedules.ended, requests.ended)
        subscribers.subscribe(Changed, watchers.changed, fresh.gone)
        subscribers.subscribe(Answered, fresh.came)
        subscribers.subscribe(Taken, deliveries.taken, fresh.gone)
        subscribers.subscribe(Due, lambda fact: self._due.set(fact.at))
        subscribers.subscribe(Fires, self.schedules.fires)
        subscribers.subscribe(Blocked, self.schedules.blocked)
        subscribers.settle(dispatcher.settle)
        subscribers.settle(self.file.written)
        subscribers.settle(self.changes.settle)
        return subscribers

    # --- submit and run -------------------------------------------------------------------------

    def work(
        self,
        capacities: Mapping[str, int],
        order: Callable[[Order], None],
        running: Collection[int] = (),
    ) -> None:
        """Start handing out work.

        Args:
            capacities: how many jobs of each target may run at once, by the target's name.
            order: called with each order, in the step of the loop in which it is committed.
            running: the jobs that run, kept up to date by its owner.
        """
        self.running = running
        sizes = {name: self.targets.concurrency(name, slots) for name, slots in capacities.items()}
        self.dispatcher.begin(sizes, order, self.targets.closed)

    def slots(self) -> dict[str, tuple[int, int]]:
        """Return for each target how many of its jobs run and how many may."""
        return self.dispatcher.slots()

    def refuse(self) -> None:
        """Accept and start no more jobs."""
        self._admission.open = False
        self.dispatcher.stop()

    @property
    def shared(self) -> bool:
        """Whether other nodes work on the same store."""
        return self._boot.shared

    @property
    def accepting(self) -> bool:
        """Whether jobs are accepted, unless something else prevents it."""
        return self._admission.open

    def look(self) -> StoreError | None:
        """Return why the store cannot be written, and start repairing it; None if it can."""
        return self._writer.look()

    def queue(self) -> tuple[int, int]:
        """Return how many jobs are queued, and how many may be."""
        return self.dispatcher.queued, self._admission.limit

    @property
    def writer_waiting(self) -> int:
        """How many operations wait for the next commit."""
        return self._writer.waiting

    @property
    def delivering(self) -> Collection[int]:
        """The jobs whose results are being delivered by this server."""
        return self._deliveries.readers.keys()

    def watched(self) -> Collection[int]:
        """Return the jobs that somebody waits for."""
        return self._watchers.jobs

    def wake(self, job_id: int) -> None:
        """Wake those who wait for a job."""
        self._watchers.tell(job_id)

    async def idle(self) -> None:
        """Wait until no job runs and none is about to."""
        await self.dispatcher.idle()

    async def noticed(self) -> None:
        """Wait until another process may have added jobs, and run them."""
        came = False
        while not came:
            self._writer.look()
            await self._refresh()
            came = await self.others.beat() or self._behind
        self._behind = True
        self.operations.wake()
        self.changes.note(more=not self._boot.shared)  # nodes tell one another
        await self._recount()
        self._behind = False

    def tell(self, tell: Tell) -> None:
        """Notify other nodes of what happens here."""
        self._subscribers.settle(lambda changes: tell_others(changes, tell))

    async def heard(self, about: About, ids: Sequence[int]) -> None:
        """Note what happened at another node."""
        match about:
            case About.CHANGED:
                for job_id in ids:
                    self._watchers.tell(job_id)
                self.changes.note(ids, more=False)
            case About.READY:
                self.changes.note(more=True)
                self.dispatcher.look_again()
            case About.CANCEL:
                for job_id in ids:
                    self.dispatcher.cancel(job_id)
            case About.ACCOUNTS | About.SCHEDULES | About.TARGETS:
                await self._refresh()

    async def _refresh(self) -> None:
        """Notice changes to accounts, schedules and targets."""
        await self._points.refresh()
        self.targets.notice()
        self.schedules.notice()
        self._notice_accounts()

    async def _recount(self) -> None:
        await self._writer.run(lambda tx: self.dispatcher.recount(tx, count_queued(tx)))
        self.dispatcher.look_again()

    def _notice_accounts(self) -> None:
        """Wake all waiters if accounts have changed: their access may be revoked."""
        snapshot = self.accounts.snapshot()
        if self._accounts_before is not None and snapshot is not self._accounts_before:
            self._watchers.tell_all()
            self.changes.note(more=True)
        self._accounts_before = snapshot

    async def come_due(self) -> None:
        """Run jobs whose time has come, until cancelled."""
        await self.timekeeping.begin()
        while True:
            self.timekeeping.check()
            if not await self._writer.run(self._come_due):
                self._due.set(await self._writer.run(claiming.next_due))
                await self._due.wait()

    def _come_due(self, tx: Transaction) -> int:
        return claiming.due(tx, STEP, self.targets.held)

    def submit(self, submission: Submission) -> Coroutine[Any, Any, int]:
        """Accept a job, as `Submissions.submit` describes."""
        return self.submissions.submit(submission)

    async def running_depth(self, job_id: int) -> int | None:
        """Return how many jobs led to a running job; None if it is not running."""
        if job_id > LARGEST_ID:  # a stranger may say any
            return None
        row = await self._points.row(claiming.RUNNING_DEPTH, job_id=job_id)
        return None if row is None else int(row[0])

    def _claim(
        self, tx: Transaction, target: str, limit: int, turns: Turns, room: Room | None
    ) -> Claimed:
        boot, body = self._boot.number, self._bodies.body
        wanted = claiming.Wanted(target, boot, limit, body, self._requests.get)
        return claiming.claim(tx, wanted, turns, room)

    # --- what clients do ------------------------------------------------------------------------

    async def cancel(self, job_id: int, scope: int | None = None, by: str = "") -> State:
        """Cancel a queued job, stop a running one, leave an ended one alone.

        Args:
            scope: whose it has to be, or None for anybody's.
            by: the name of the person who asks for it, or "" if unknown.

        Returns:
            the state that it was in.

        Raises:
            JobNotFound: the job can no longer be asked for.
        """
        checked(job_id)
        try:
            # After the ends and the takings of the same moment: it finds what these have left.
            return await self._writer.run(
                lambda tx: ending.cancel(tx, job_id, scope, by), abreast=Turn.CANCEL
            )
        except JobNotFound:
            return (await self.results.peek(job_id, scope)).state  # its result may be on its way
