"""Operations on many jobs: created at once, and carried out in steps, so that nobody is delayed."""

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from jobstore.live.again import Again, TargetOf
from jobstore.live.results import Results
from jobstore.live.submissions import Submissions
from jobstore.model.bulk import BulkAction, BulkOperation, BulkOrder, BulkState
from jobstore.model.errors import (
    BeingDelivered,
    BodyGone,
    BodyTooLarge,
    JobNotFound,
    OperationChanged,
    OperationNotFound,
    ResultNotRestorable,
)
from jobstore.model.lifecycle import ENDED
from jobstore.store import bulk, bulk_steps, ending, events, jobs, results, revisions
from jobstore.store.bodies import Content
from jobstore.store.bulk import Matched
from jobstore.store.bulk_steps import Act, Stepped
from jobstore.store.history import History
from jobstore.store.own_boot import OwnBoot
from jobstore.store.search import Search
from jobstore.store.steps import IsOver, Steps
from jobstore.store.transaction import Transaction
from jobstore.store.writer import Writer

# How long to wait before trying again what could not go on.
_WAIT_SECONDS: Final = 1.0


class BulkOperations:
    """Change many jobs.

    Args:
        writer: stores them.
        steps: how long each step may take.
        boot: this start of the server.
    """

    def __init__(
        self,
        writer: Writer,
        history: History,
        steps: Steps,
        submissions: Submissions,
        results: Results,
        boot: OwnBoot,
    ) -> None:
        self._writer = writer
        self._history = history
        self._steps = steps
        self._submissions = submissions
        self._results = results
        self._boot = boot
        self._woken = asyncio.Event()
        self._copied: dict[int, dict[int, Content | str]] = {}

    # --- making one, and looking at it ----------------------------------------------------------

    async def match(
        self, action: BulkAction, search: Search, last: int = jobs.LARGEST_ID
    ) -> Matched:
        """Find the jobs that an action can be applied to, each as it is when it is looked at.

        Args:
            last: the highest id to look at.
        """
        values = search.values
        statement = bulk.matching(action, frozenset(values))
        if search.names:
            return bulk.matched(await self._history.whole(statement, last, **values))
        return bulk.matched(await self._history.all(statement, up_to=last, **values))

    async def possible(self, job_id: int) -> frozenset[BulkAction]:
        """Return which actions are possible for a job in its present state."""
        rows = await self._history.rows(bulk.POSSIBLE, job_id=job_id)
        return frozenset(
            action for row in rows for action, can in zip(BulkAction, row, strict=True) if can
        )

    def deleted_by(self, operation: BulkOperation, scope: int | None = None) -> Search:
        """Return the search that finds the jobs that an operation deleted."""
        return Search(deleted_because=events.by_operation(operation.id), account=scope)

    def cancelled_by(self, operation: BulkOperation, scope: int | None = None) -> Search:
        """Return what finds the jobs that an operation has cancelled."""
        return Search(cancelled_in=operation.id, account=scope)

    async def make(self, order: BulkOrder, matched: Matched, expect: int | None = None) -> int:
        """Create an operation, and return its id once it is on the disk; then it is carried out.

        Args:
            matched: the jobs to change.
            expect: how many these have to be, or None for any number.

        Raises:
            OperationChanged: there are more or fewer.
            StoreError: it could not be written.
        """
        if expect not in {None, matched.count}:
            raise OperationChanged(expect or 0, matched.count)
        operation_id = await self._writer.run(partial(self._make, order, matched), off_loop=True)
        self.wake()
        return operation_id

    def _make(self, order: BulkOrder, matched: Matched, tx: Transaction) -> int:
        if not self._boot.number:
            tx.execute(revisions.REVISE)  # so that a running server notices
        return bulk.make(tx, order, matched)

    async def get(self, operation_id: int, scope: int | None = None) -> BulkOperation:
        """Return an operation.

        Raises:
            OperationNotFound: there is none with this id, or it belongs to another account.
        """
        found = []
        if 0 < operation_id <= jobs.LARGEST_ID:
            found = await self._history.rows(bulk.GET, operation=operation_id, scope=scope)
        if not found:
            raise OperationNotFound(operation_id)
        return bulk.decoded(found[0])

    async def page(
        self, limit: int, before: int = jobs.LARGEST_ID, scope: int | None = None
    ) -> list[BulkOperation]:
        """List operations, the newest first.

        Args:
            before: list only operations with a smaller id.
        """
        rows = await self._history.rows(bulk.PAGE, before=before, scope=scope, limit=limit)
        return [bulk.decoded(row) for row in rows]

    async def stop(self, operation_id: int, scope: int | None = None, by: str = "") -> None:
        """Stop an operation, unless it has ended.

        Raises:
            OperationNotFound: there is none with this id, or it belongs to another account.
        """
        if not 0 < operation_id <= jobs.LARGEST_ID:
            raise OperationNotFound(operation_id)
        await self._writer.run(lambda tx: bulk.stop(tx, operation_id, scope, by))

    # --- doing it -------------------------------------------------------------------------------

    def wake(self) -> None:
        """Look for operations now: another process may have created one."""
        self._woken.set()

    async def run(self, target_of: TargetOf) -> None:
        """Carry out operations, until cancelled.

        Args:
            target_of: returns the name of the target for a request.
        """
        while True:
            self._woken.clear()
            unfinished = await self._unfinished()
            self._drop_copies(unfinished)
            if await self.run_once(unfinished, target_of):
                continue
            try:
                async with asyncio.timeout(_WAIT_SECONDS if unfinished else None):
                    await self._woken.wait()
            except TimeoutError:
                continue

    async def run_once(self, operations: Sequence[int], target_of: TargetOf) -> int:
        """Do a step of each operation; return how many jobs were processed."""
        return sum([await self._advance(each, target_of) for each in operations])

    async def finish(self, operation_id: int, target_of: TargetOf) -> None:
        """Carry out an operation as far as possible, if no server is running."""
        while await self.run_once([operation_id], target_of):
            pass

    async def _unfinished(self) -> list[int]:
        return [row[0] for row in await self._history.rows(bulk.UNFINISHED, **self._own)]

    @property
    def _own(self) -> dict[str, int]:
        return {"own_boot": self._boot.number} if self._boot.shared else {}

    async def _advance(self, operation_id: int, target_of: TargetOf) -> int:
        copied = self._copied.pop(operation_id, {})
        acting = partial(self._act, target_of, copied)

        def step(tx: Transaction, is_over: IsOver) -> Stepped | None:
            return bulk_steps.step(tx, operation_id, is_over, acting)

        stepped = None
        try:
            stepped = await self._steps.within(step)
        finally:
            if stepped is not None and stepped.waits is not None:
                self._copied[operation_id] = copied  # or it would be copied again at each try
            else:
                self._release(copied)
        if stepped is None:
            return 0
        if stepped.large is not None:
            self._copied[operation_id] = {stepped.large: await self._copy(stepped.large)}
        return stepped.passed + (stepped.large is not None)

    def _drop_copies(self, unfinished: Sequence[int]) -> None:
        """Release what was copied for operations that were stopped while they waited."""
        for operation_id in self._copied.keys() - {*unfinished}:
            self._release(self._copied.pop(operation_id))

    def _release(self, copied: Mapping[int, Content | str]) -> None:
        for content in copied.values():
            self._submissions.release(content)

    async def _copy(self, job_id: int) -> Content | str:
        """Copy the body of a request for the next step, or return why not."""
        try:
            request = await self._history.request(await self._history.job(job_id))
            if request is not None:
                return await self._submissions.copied(request.body)
        except (BodyGone, JobNotFound):
            pass
        except BodyTooLarge as error:
            return str(error)
        return "its request is no longer kept"

    def _act(
        self, target_of: TargetOf, copied: Mapping[int, Content | str], operation: BulkOperation
    ) -> Act:
        """Return the function that applies an operation to one job."""
        order = operation.order
        because = events.by_operation(operation.id)
        match order.action:
            case BulkAction.CANCEL:
                return lambda tx, job_id: _cancel(tx, job_id, order)
            case BulkAction.RETRY:
                return Again(self._submissions, target_of, operation, copied).act
            case BulkAction.DELETE:
                return lambda tx, job_id: self._delete(tx, job_id, order.scope, because)
            case BulkAction.RESTORE:
                return lambda tx, job_id: _restore(tx, job_id, order.scope, because)

    def _delete(self, tx: Transaction, job_id: int, scope: int | None, because: str) -> str | None:
        try:
            self._results.withdraw_in(tx, job_id, scope, because)
        except BeingDelivered:
            return "its result is on its way to a reader"
        except JobNotFound:
            return bulk.NO_SUCH_JOB
        return None


def is_over(operation: BulkOperation) -> bool:
    """Return whether an operation has ended."""
    return operation.state is not BulkState.RUNNING


def _cancel(tx: Transaction, job_id: int, order: BulkOrder) -> str | None:
    try:
        found = ending.cancel(tx, job_id, order.scope, order.owner)
    except JobNotFound:
        return _why_not_cancelled(tx, job_id, order.scope)
    return f"has already ended: it is {found}" if found in ENDED else None


def _why_not_cancelled(tx: Transaction, job_id: int, scope: int | None) -> str:
    try:
        job = jobs.visible(tx, job_id, scope)
    except JobNotFound:
        return bulk.NO_SUCH_JOB
    if job.state in ENDED:
        return f"has already ended: it is {job.state}"
    return "cannot be stopped: its result was discarded"


def _restore(tx: Transaction, job_id: int, scope: int | None, because: str) -> str | None:
    try:
        results.require_own(tx, job_id, scope)
        results.restore(tx, job_id, because)
    except JobNotFound:
        return bulk.NO_SUCH_JOB
    except ResultNotRestorable as error:
        return error.reason
    return None
