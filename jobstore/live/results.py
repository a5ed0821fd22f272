"""Results: how readers fetch, delete and restore them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from functools import partial

from jobstore.live.delivery import Deliveries, Delivery, Taking, may_come_back
from jobstore.live.upcoming import Upcoming
from jobstore.model.account import Identity
from jobstore.model.clock import Clock
from jobstore.model.errors import BeingDelivered, JobNotFound
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import AWAITED, Result
from jobstore.model.message import Body
from jobstore.store import deleting, elsewhere, jobs, results, submitting
from jobstore.store.bodies import Bodies
from jobstore.store.codec import encode_ids, writable
from jobstore.store.expressions import Statement
from jobstore.store.jobs import Outline
from jobstore.store.own_boot import OwnBoot
from jobstore.store.reading import Points, Reader
from jobstore.store.steps import Steps
from jobstore.store.transaction import Told, Transaction
from jobstore.store.writer import Writer


@frozen
class Reading:
    """A job and the body of its response, for reading without taking it.

    Args:
        body: the body of the target's answer, or None.
    """

    job: Outline
    body: Body | None


class Results:
    """Results for readers; each method returns once its change is on the disk.

    Where a method takes a scope, it limits what the caller may see; None means everything.

    Args:
        lister: a connection for reading lists.
        bodies: the large bodies.
        deliveries: which results are being delivered.
        upcoming: which results may arrive in a moment.
        steps: how long each step may take.
        boot: this start of the server.
    """

    def __init__(  # noqa: PLR0913 - it is put together in one place
        self,
        writer: Writer,
        lister: Reader,
        points: Points,
        bodies: Bodies,
        deliveries: Deliveries,
        *,
        upcoming: Upcoming,
        steps: Steps,
        boot: OwnBoot,
        clock: Clock,
    ) -> None:
        self._writer = writer
        self._lister = lister
        self._points = points
        self._bodies = bodies
        self._upcoming = upcoming
        self._deliveries = deliveries
        self._steps = steps
        self._boot = boot
        self._clock = clock

    async def peek(self, job_id: int, scope: int | None = None) -> Job:
        """Look at a job whose result is available; one in delivery counts as held.

        Raises:
            JobNotFound: it does not exist.
        """
        seen: Job | None = None
        while True:
            row = await self._points.row(jobs.GET_JOB, job_id=checked(job_id))
            job = jobs.if_visible(job_id, row, scope)
            if job.result in AWAITED:
                return job
            if job == seen or not may_come_back(job):
                raise JobNotFound(job_id)
            if await self._may_be_on_its_way(job_id):
                return replace(job, result=Result.HELD)
            seen = job  # it may have come back since

    async def on_its_way(self, job_id: int) -> bool:
        """Return whether a job's result is being delivered."""
        if job_id in self._deliveries.readers or not self._boot.shared:
            return job_id in self._deliveries.readers
        asked = {"job_id": job_id, "now": self._clock(), "own_boot": self._boot.number}
        return await self._points.row(elsewhere.ON_ITS_WAY, **asked) is not None

    async def _may_be_on_its_way(self, job_id: int) -> bool:
        """Return whether a result is being delivered, or was taken for somebody a moment ago."""
        return job_id in self._deliveries.asked or await self.on_its_way(job_id)

    async def read(self, job_id: int, scope: int | None = None) -> Reading:
        """Look at a job and its result without taking it.

        Raises:
            BeingDelivered: the result is on its way to a reader, and can no longer be looked at.
            JobNotFound: it does not exist.
        """
        await self._upcoming.ended(checked(job_id))
        try:
            return await self._writer.run(lambda tx: self._read(tx, job_id, scope))
        except JobNotFound:
            await self.peek(job_id, scope)
            raise BeingDelivered(job_id) from None

    def look(self, job_id: int, scope: int | None, told: Told) -> None:
        """Look at a job as `read` does, without a task that waits.

        Args:
            told: hears the `Reading`; JobNotFound also where the result is on its way to a reader.

        Raises:
            JobNotFound: no job can have this id.
        """
        checked(job_id)
        read = partial(self._read, job_id=job_id, scope=scope)
        self._upcoming.when_ended(job_id, lambda: self._writer.queue(read, told))

    def _read(self, tx: Transaction, job_id: int, scope: int | None) -> Reading:
        outline = jobs.outline(tx, job_id, scope)
        content = outline.content
        return Reading(outline, None if content is None else self._bodies.body(content))

    async def tagged(self, tag: str, asker: Identity) -> int:
        """Find the newest job with a tag; the caller's own jobs come first.

        Raises:
            JobNotFound: there is none, or its result can no longer be fetched.
        """
        owner, account = writable(asker.name), asker.account
        row = await self._points.row(submitting.OWN_TAGGED, tag=tag, owner=owner, account=account)
        if row is None and asker.scope is None:
            row = await self._points.row(submitting.ANY_TAGGED, tag=tag)
        if row is None or not (row[1] in AWAITED or await self._is_awaited(row[0])):
            raise JobNotFound(tag)
        job_id: int = row[0]
        return job_id

    async def _is_awaited(self, job_id: int) -> bool:
        """Return whether a job's result is available, or is being delivered."""
        with suppress(JobNotFound):
            await self.peek(job_id)
            return True
        return False

    async def pending(self, count: int, scope: int | None = None) -> list[int]:
        """List the first jobs that have not ended, by id."""
        return await self._ids(jobs.PENDING_IDS, count, scope)

    async def held(self, count: int, scope: int | None = None) -> list[int]:
        """List the first jobs whose result can be fetched, by id."""
        return await self._ids(jobs.HELD_IDS, count, scope)

    async def _ids(self, statement: Statement, limit: int, scope: int | None) -> list[int]:
        rows = await self._lister.rows(statement, limit=min(limit, jobs.LARGEST_ID), scope=scope)
        return [job_id for (job_id,) in rows]

    def take(
        self, job_id: int, scope: int | None = None
    ) -> AbstractAsyncContextManager[Delivery | None]:
        """Take a result; if the context is left by an exception, the result is held again.

        The context's value is None if the job has not ended yet.

        Raises:
            BeingDelivered: the result is on its way to another reader.
            JobNotFound: no such job, or its result is gone.
        """
        return self._deliveries.taking(checked(job_id), scope)

    def taking(self, job_id: int, scope: int | None = None) -> Taking:
        """Take a result as `take` does, but by `Taking.begin`, without a task."""
        return self._deliveries.taking(checked(job_id), scope)

    async def delete(self, job_id: int, scope: int | None = None) -> None:
        """Delete a result; the work goes on if it has not ended.

        Raises:
            BeingDelivered: the result is on its way to a reader.
            JobNotFound: the job can no longer be asked for.
        """
        await self._delete_if_free(job_id, scope, deleting.delete)

    async def discard(self, job_id: int, scope: int | None = None) -> None:
        """Delete what is left of a job, even if its result was fetched.

        Raises:
            BeingDelivered: the result is on its way to a reader.
            JobNotFound: there is no such job in the history.
        """
        await self._delete_if_free(job_id, scope, deleting.discard)

    async def _delete_if_free(
        self, job_id: int, scope: int | None, step: Callable[[Transaction, int, int | None], None]
    ) -> None:
        """Delete something of a job, unless its result is being delivered."""
        checked(job_id)

        def delete(tx: Transaction) -> None:
            self._require_free(tx, job_id, scope)
            step(tx, job_id, scope)

        await self._writer.run(delete)

    async def withdraw(self, job_id: int, scope: int | None, because: str) -> None:
        """Delete a result as `discard` does, but let `restore` undo it until it is purged.

        Args:
            because: the note for the job's history.

        Raises:
            BeingDelivered: the result is on its way to a reader.
            JobNotFound: there is no such job in the history.
        """
        checked(job_id)
        await self._writer.run(lambda tx: self.withdraw_in(tx, job_id, scope, because))

    def withdraw_in(self, tx: Transaction, job_id: int, scope: int | None, because: str) -> None:
        """Delete a result in a transaction, but let `restore` undo it until it is purged.

        Raises:
            BeingDelivered: the result is on its way to a reader.
            JobNotFound: there is no such job in the history.
        """
        self._require_free(tx, job_id, scope)
        deleting.withdraw(tx, job_id, scope, because)

    def _require_free(self, tx: Transaction, job_id: int, scope: int | None) -> None:
        if (
            self._deliveries.reader(tx, job_id) or elsewhere.on_its_way(tx, job_id)
        ) and may_come_back(jobs.visible(tx, job_id, scope)):
            raise BeingDelivered(job_id)

    async def delete_all(self, scope: int | None = None) -> int:
        """Delete every result there is; return how many."""
        (last,) = await self._lister.row(jobs.LAST_ID)
        return sum([await self._delete_all(each, last, scope) for each in AWAITED])

    async def _delete_all(self, awaited: Result, last: int, scope: int | None) -> int:
        deleted = after = 0

        def step(tx: Transaction, limit: int) -> list[int]:
            busy = encode_ids(self._deliveries.reserved(tx))
            return deleting.delete_step(
                tx, awaited, after=after, last=last, busy=busy, scope=scope, limit=limit
            )

        async for ids in self._steps.each(step):
            deleted, after = deleted + len(ids), max(ids)
        return deleted

    async def expire(
        self, before: int, scope: int | None = None, *, spare_restored: bool = False
    ) -> int:
        """Expire results of jobs that ended before a time; return how many.

        Args:
            before: microseconds since 1970.
            scope: only those of this account; None for all.
            spare_restored: whether a result that was restored since that time is spared.
        """
        expired, since = 0, -jobs.LARGEST_ID
        restored_since = before if spare_restored else jobs.LARGEST_ID

        def step(tx: Transaction, limit: int) -> list[tuple[int, int]]:
            busy = encode_ids(self._deliveries.reserved(tx))
            return deleting.expire_step(
                tx,
                since=since,
                before=before,
                restored_since=restored_since,
                busy=busy,
                scope=scope,
                limit=limit,
            )

        async for found in self._steps.each(step):
            expired, since = expired + len(found), max(finished for _, finished in found)
        return expired

    async def restore(self, job_id: int) -> None:
        """Hold a fetched result again, for another reader.

        Raises:
            JobNotFound: there is no such job.
            ResultNotRestorable: it was not fetched, or its payload is no longer kept.
        """
        checked(job_id)
        await self._writer.run(lambda tx: results.restore(tx, job_id))


def checked(job_id: int) -> int:
    """Refuse ids that no job can have, before they reach the database."""
    if not 0 < job_id <= jobs.LARGEST_ID:
        raise JobNotFound(job_id)
    return job_id
