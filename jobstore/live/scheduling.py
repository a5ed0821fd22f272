"""Schedules in the store: each due fire time becomes a job, exactly once.

Fire times are computed in the writer's thread and not on the event loop: a schedule that is years
behind may take 20 ms. If the next time cannot be computed, because the time zone has disappeared
from the machine or a row was edited by hand, the definition runs at its last computed time and is
then paused; others are not affected.
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

from jobstore.live.admission import Admission
from jobstore.model.clock import SECOND, Alarm, Clock, iso
from jobstore.model.definition import Definition
from jobstore.model.errors import NotAccepting, NoTarget, OwnerLimit, StoreError
from jobstore.model.frozen import frozen
from jobstore.model.job import Dialect, Trigger
from jobstore.model.message import Request
from jobstore.model.schedule import Decision, decide
from jobstore.store import events, schedules, submitting
from jobstore.store.facts import Blocked, Ended, Fires
from jobstore.store.reading import Reader
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

# Finds the name of the target that owns a method and a path, or raises NoTarget.
FindTarget: TypeAlias = Callable[[str, str], str]

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Fired:
    """What was done about one definition that was due.

    Args:
        definition: the definition as it was before.
        decision: what was decided.
        jobs: the ids of the submitted runs.
        target: the name of their target, or None if no target owns their path.
        busy: the oldest run that had not ended, or None.
        refused: why no run was submitted, if its owner had reached a limit.
    """

    definition: Definition
    decision: Decision
    jobs: Sequence[int] = ()
    target: str | None = None
    busy: int | None = None
    refused: str | None = None


@frozen
class _Order:
    """What a step needs to know.

    Args:
        target_of: returns the name of the target for a request.
        since: since when the server has watched for fire times.
        place: where the last step stopped.
    """

    target_of: FindTarget
    since: int
    place: schedules.Place


class Schedules:
    """Create jobs for schedules that are due, and know when the next one is.

    Args:
        admission: decides whether a run is refused.
        revision: returns how often a process has changed a schedule.
        secret: the lower-case names of headers to forget when a job ends.
    """

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        *,
        admission: Admission,
        revision: Callable[[], int],
        secret: frozenset[str],
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._admission = admission
        self._revision = revision
        self._secret = secret
        self._clock = clock
        self._alarm = Alarm(clock)
        self._noticed = revision()
        self._busy: set[int] = set()
        self._doubtful = True  # nobody knows what has happened to the clock before this start

    # --- when -----------------------------------------------------------------------------------

    async def due(self, looked_at: int, seconds: float | None = None) -> None:
        """Wait until it is time to look at the schedules again.

        Args:
            looked_at: when the last look began; what was due then has been handled.
            seconds: how long to wait at most, or None.
        """
        row = await self._reader.row(schedules.NEXT_FIRING, now=looked_at)
        self._alarm.set(row and row[0])
        if seconds is not None:
            self._alarm.set(self._clock() + int(seconds * SECOND))
        await self._alarm.wait()

    def fires(self, fact: Fires) -> None:
        """Note when a definition fires next."""
        self._alarm.set(fact.at)

    def blocked(self, fact: Blocked) -> None:
        """Note that a definition waits for the end of a job."""
        self._busy.add(fact.job_id)

    def ended(self, fact: Ended) -> None:
        """Note the end of a job that a definition may have waited for."""
        if fact.job_id in self._busy:
            self._busy.discard(fact.job_id)
            self._alarm.set(0)

    def notice(self) -> None:
        """Check whether another process has changed a schedule."""
        if (revision := self._revision()) != self._noticed:
            self._noticed = revision
            self._alarm.set(0)

    def clock_was_set(self) -> None:
        """Note that stored fire times may be wrong."""
        self._doubtful = True
        self._alarm.set(0)

    async def reconsider(self) -> list[schedules.Moved]:
        """Correct stored fire times, if the clock may have been set.

        Returns:
            the definitions whose fire time has changed.

        Raises:
            StoreError: it could not be written; the next call tries again.
        """
        moved: list[schedules.Moved] = []
        if not self._doubtful:
            return moved
        self._doubtful = False
        try:
            after: int | None = 0
            while after is not None:
                some, after = await self._writer.run(
                    partial(schedules.reconsider, after=after), off_loop=True
                )
                moved += some
        except StoreError:
            self._doubtful = True
            raise
        return moved

    # --- what -----------------------------------------------------------------------------------

    async def fire(self, target_of: FindTarget, since: int, place: schedules.Place) -> list[Fired]:
        """Handle some of what is due: submit runs and remove their fire times in one transaction.

        Args:
            target_of: returns the name of the target for a request.
            since: since when the server has watched for fire times.
            place: where the last step stopped.

        Returns:
            what was done, in order; empty if nothing is left.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down; what is due stays due.
            StoreError: it could not be written; likewise.
        """
        order = _Order(target_of, since, place)
        return await self._writer.run(lambda tx: self._fire(tx, order), off_loop=True)

    def _fire(self, tx: Transaction, order: _Order) -> list[Fired]:
        due, room = schedules.due(tx, order.place), self._admission.room(tx)
        if due and room < 1:
            raise NotAccepting("the queue is full, or the server is shutting down")
        fired: list[Fired] = []
        left = min(room, schedules.AT_ONCE)
        for definition in due:
            if left < 1:
                break
            fired.append(self._fire_one(tx, definition, order, left))
            left -= len(fired[-1].jobs)
        return fired

    def _fire_one(
        self, tx: Transaction, definition: Definition, order: _Order, limit: int
    ) -> Fired:
        due, schedule = definition.fires_at, definition.draft.schedule
        assert due is not None
        assert schedule is not None
        busy, busy_since = schedules.oldest_unended(tx, definition.id)
        decision = decide(
            schedule, due, tx.now, since=order.since, busy_since=busy_since, limit=limit
        )
        if decision.waits and busy is not None:
            tx.tell(Blocked(busy))
        if decision.waits or not schedules.move_on(tx, definition.id, due, decision.next_at):
            return Fired(definition=definition, decision=decision, busy=busy)
        for at in decision.skipped:
            assert busy is not None
            detail = f"the run that was due at {iso(at)} was skipped"
            events.note(tx, busy, "overlapped", detail)
        fired = self._submitted(tx, definition, decision, order, busy)
        if decision.problem is not None:
            tx.execute(schedules.PAUSE, definition=definition.id)
            for job_id in fired.jobs[-1:]:
                events.note(tx, job_id, "paused", f"no further run: {decision.problem}")
        return fired

    def _submitted(
        self,
        tx: Transaction,
        definition: Definition,
        decision: Decision,
        order: _Order,
        busy: int | None,
    ) -> Fired:
        try:
            self._admission.check_usage(tx, definition.account, len(decision.runs))
        except OwnerLimit as error:
            return Fired(definition=definition, decision=decision, busy=busy, refused=str(error))
        target = _target(order.target_of, definition.draft.request)
        jobs = [] if target is None else self._run(tx, definition, decision.runs, target)
        return Fired(definition=definition, decision=decision, jobs=jobs, target=target, busy=busy)

    def _run(
        self, tx: Transaction, definition: Definition, times: Sequence[int], target: str
    ) -> list[int]:
        owner, account = definition.owner, definition.account
        run = definition.run(target, Dialect.NATIVE, owner, Trigger.SCHEDULE, account)
        body = run.request.body
        assert isinstance(body, bytes)
        jobs = []
        for at in times:
            job_id = submitting.submit(tx, run, body, self._secret, None).job_id
            if tx.now - at >= SECOND:
                events.note(tx, job_id, "late", f"it was due at {iso(at)}")
            jobs.append(job_id)
        return jobs


def _target(target_of: FindTarget, request: Request) -> str | None:
    try:
        return target_of(request.method, request.path)
    except NoTarget:
        return None
