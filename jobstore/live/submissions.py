"""Accept jobs: store the request, and queue the job or, if there is a free slot, start it.

The transaction that stores a job also decides whether it gets a slot, so most jobs are written
once, already running. A submission with a known idempotency key creates no second job.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from jobstore.live.admission import Admission
from jobstore.live.dispatch import Dispatcher
from jobstore.live.limits import Limits
from jobstore.live.timekeeping import Timekeeping
from jobstore.model import idempotency
from jobstore.model.errors import BodyTooLarge, JobstoreError, KeyReused, MemberRefused, TagTaken
from jobstore.model.handle import depth_here
from jobstore.model.job import Claim, Submission
from jobstore.model.message import Body, body_size, chunks
from jobstore.store import keys, revisions, submitting
from jobstore.store.bodies import Bodies, Content, Spooled
from jobstore.store.facts import Started
from jobstore.store.own_boot import OwnBoot
from jobstore.store.transaction import Operation, Outcome, Told, Transaction
from jobstore.store.writer import Turn, Writer

if TYPE_CHECKING:
    from jobstore.live.spans import Spans

# What else is written with a new job, whose id it gets: both are stored, or neither.
Also: TypeAlias = Callable[[Transaction, int], None]


class Submissions:
    """Accept jobs.

    Args:
        bodies: stores large requests.
        dispatcher: gives out slots.
        admission: decides whether a submission is refused.
        timekeeping: knows whether the clock was set.
        boot: this start of the server.

    Attributes:
        refused: called with the reason when a job is refused.
        spans: makes tracing spans; None if tracing is off.
    """

    def __init__(
        self,
        writer: Writer,
        bodies: Bodies,
        dispatcher: Dispatcher,
        admission: Admission,
        timekeeping: Timekeeping,
        limits: Limits,
        boot: OwnBoot,
    ) -> None:
        self._writer = writer
        self._bodies = bodies
        self._dispatcher = dispatcher
        self._admission = admission
        self._timekeeping = timekeeping
        self._limits = limits
        self._boot = boot
        self.refused: Callable[[Exception], None] = _unheard
        self.spans: Spans | None = None

    async def submit(self, submission: Submission, also: Also | None = None) -> int:
        """Accept a job.

        Args:
            submission: what to run; its request's body is read here.
            also: writes something with it, if it is a new job; None for nothing.

        Returns:
            the job's id, once the job is on the disk; if the same request came before with the
            same key, the id of the job that it became then.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: its owner has reached a limit.
            TooDeep: the chain of jobs that submit jobs is too long.
            BodyTooLarge: the request's body exceeds the limit.
            TagTaken: a job of the same owner that has not ended has its tag.
            KeyReused: its key was used before, for another request.
            StoreError: it could not be written.
        """
        if self.spans is not None:
            return await self._submit_traced(self.spans, submission, also)
        return await self._submit_counted(submission, also)

    async def _submit_traced(
        self, spans: "Spans", submission: Submission, also: Also | None
    ) -> int:
        """Make a span for a submission."""
        job_id: int | None = None
        failed: Exception | None = None
        submission, span = spans.send(submission)
        try:
            job_id = await self._submit_counted(submission, also)
        except Exception as error:
            failed = error
            raise
        else:
            return job_id
        finally:
            spans.sent(span, job_id, failed)

    async def _submit_counted(self, submission: Submission, also: Also | None) -> int:
        try:
            return await self._submit(submission, also)
        except JobstoreError as error:
            self.refused(error)
            raise

    async def _submit(self, submission: Submission, also: Also | None) -> int:
        self._admission.check(submission.account)
        body, limit = submission.request.body, self._limits.body
        summed = None if submission.key is None else idempotency.digest()
        if self._bodies.is_small(body) and len(body) <= limit:
            if summed:
                summed.update(body)
            operation = self._operation(submission, body, summed, also)
            turn = Turn.ALONE if also else self._turn(submission)
            return await self._writer.run(operation, abreast=turn)
        content = await self._bodies.received(chunks(body), "request", limit, summed)
        try:
            self._admission.check_open()
            return await self._writer.run(self._operation(submission, content, summed, also))
        finally:
            self._bodies.release(content)

    async def submit_chain(self, submissions: Sequence[Submission]) -> list[int]:
        """Accept jobs each of which waits for the success of the one before.

        Args:
            submissions: what to run, in this order; their requests' bodies are small.

        Returns:
            the jobs' ids, once all of them are on the disk.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: their owner has reached a limit.
            TooDeep: the chain of jobs that submit jobs is too long.
            BodyTooLarge: the body of one of the requests exceeds the limit.
            StoreError: they could not be written.
        """
        try:
            return await self._submit_chain(submissions)
        except JobstoreError as error:
            self.refused(error)
            raise

    async def _submit_chain(self, submissions: Sequence[Submission]) -> list[int]:
        account, jobs = submissions[0].account, len(submissions)
        self._admission.check(account, jobs)
        if any((body_size(one.request.body) or 0) > self._limits.body for one in submissions):
            raise BodyTooLarge(self._limits.body)
        depth = depth_here()

        def submit(tx: Transaction) -> list[int]:
            ids: list[int] = []
            self._admission.check_room(tx, account, jobs)
            for submission in submissions:
                body = submission.request.body
                assert isinstance(body, bytes)
                follower = replace(submission, follows=ids[-1] if ids else None)
                ids.append(self._put(tx, follower, body, None, depth).job_id)
            return ids

        return await self._writer.run(submit)

    async def submit_all(self, submissions: Sequence[Submission]) -> list[int]:
        """Accept jobs in one commit, all of them or none.

        Args:
            submissions: what to run; their requests' bodies are small, and all belong to one
                account.

        Returns:
            the jobs' ids, once all of them are on the disk; for a known key, the id of the job that
            has it.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: their owner has reached a limit.
            TooDeep: the chain of jobs that submit jobs is too long.
            MemberRefused: one of them cannot be accepted.
            StoreError: they could not be written.
        """
        try:
            return await self._submit_all(submissions)
        except JobstoreError as error:
            self.refused(error.error if isinstance(error, MemberRefused) else error)
            raise

    async def _submit_all(self, submissions: Sequence[Submission]) -> list[int]:
        account, depth = submissions[0].account, depth_here()
        self._admission.check(account, len(submissions))
        if any(submission.timed for submission in submissions):
            self._timekeeping.check()
        keyed = [self._checked(index, each) for index, each in enumerate(submissions)]

        def submit(tx: Transaction) -> list[int]:
            self._admission.check_room(tx, account, len(submissions))
            ids = []
            for index, (submission, key) in enumerate(zip(submissions, keyed, strict=True)):
                try:
                    ids.append(self._put_one(tx, submission, key, depth))
                except (KeyReused, TagTaken) as error:
                    raise MemberRefused(index, error) from None
            return ids

        return await self._writer.run(submit, off_loop=True)

    def _checked(self, index: int, submission: Submission) -> idempotency.Keyed | None:
        """Return the key of one of several submissions, if it has one.

        Raises:
            MemberRefused: its body is too large.
        """
        body = submission.request.body
        assert isinstance(body, bytes)
        if len(body) > self._limits.body:
            raise MemberRefused(index, BodyTooLarge(self._limits.body))
        if submission.key is None:
            return None
        summed = idempotency.digest()
        summed.update(body)
        return _keyed(submission, summed)

    def _put_one(
        self, tx: Transaction, submission: Submission, key: idempotency.Keyed | None, depth: int
    ) -> int:
        """Insert one of several jobs, or find the job that has its key."""
        known = keys.known(tx, submission, key) if key else None
        if known is not None:
            return known
        if submission.tag_may_be_taken:
            submitting.check_tag(tx, submission)
        body = submission.request.body
        assert isinstance(body, bytes)
        job_id = self._put(tx, submission, body, None, depth).job_id
        if key:
            keys.keep(tx, submission, key, job_id)
        return job_id

    def put_again(self, tx: Transaction, submission: Submission, content: Content) -> int:
        """Queue a job in a transaction that makes many, and return its id.

        Raises:
            NotAccepting: the queue is full, or the server is shutting down.
            OwnerLimit: its owner has reached a limit.
        """
        self._admission.check_open()
        self._admission.check_room(tx, submission.account)
        return self._put(tx, submission, content, None, 0).job_id

    async def copied(self, body: Body) -> Content:
        """Copy a large body for a job that is submitted afterwards."""
        return await self._bodies.received(chunks(body), "request", self._limits.body)

    def release(self, content: object) -> None:
        """Release a copied body, if no job has adopted it."""
        if isinstance(content, Spooled):
            self._bodies.release(content)

    def queue(self, submission: Submission, told: Told) -> None:
        """Accept a job as `submit` does, without a task that waits.

        Args:
            submission: what to run, without a key; its request's body is small.
            told: called with the job's id, once the job is on the disk.

        Raises:
            JobstoreError: as `submit`, for what is found before the transaction; if the transaction
                fails, ``told`` has to call `refused`.
        """
        try:
            self._admission.check(submission.account)
        except JobstoreError as error:
            self.refused(error)
            raise
        if self.spans is not None:
            submission, told = _traced(self.spans, submission, told)
        body = submission.request.body
        assert isinstance(body, bytes)
        operation = self._operation(submission, body, None)
        self._writer.queue(operation, told, abreast=self._turn(submission))

    def is_small(self, size: int) -> bool:
        """Return whether a request's body is small enough to be stored in its row."""
        return size <= min(self._limits.inline, self._limits.body)

    def _turn(self, submission: Submission) -> Turn:
        """Return the turn of a submission: alone if it reads what another one may change."""
        looks = submission.key is not None or submission.tag_may_be_taken or self._admission.bounded
        return Turn.ALONE if looks or submission.waits else Turn.CHANGE

    def _operation(
        self,
        submission: Submission,
        content: Content,
        summed: idempotency.Digest | None,
        also: Also | None = None,
    ) -> Operation[int]:
        """Return the operation that inserts a job."""
        keyed = _keyed(submission, summed)
        if submission.timed:
            self._timekeeping.check()
        target, account, depth = submission.target, submission.account, depth_here()

        def submit(tx: Transaction) -> int:
            known = keys.known(tx, submission, keyed) if keyed else None
            if known is not None:
                return known
            self._admission.check_room(tx, account)
            if submission.tag_may_be_taken:
                submitting.check_tag(tx, submission)
            starts = not submission.waits and self._dispatcher.may_start(tx, target, account)
            if starts:
                self._dispatcher.take(tx, target, account)
            put = self._put(tx, submission, content, self._boot.number if starts else None, depth)
            if keyed:
                keys.keep(tx, submission, keyed, put.job_id)
            if also is not None:
                also(tx, put.job_id)
            if starts:
                tx.tell(Started(self._claim_at_once(submission, content, put, depth)))
            return put.job_id

        return submit

    def _put(
        self,
        tx: Transaction,
        submission: Submission,
        content: Content,
        boot: int | None,
        depth: int,
    ) -> submitting.Submitted:
        if not self._boot.number:
            tx.execute(revisions.REVISE)  # so that a running server notices
        return submitting.submit(tx, submission, content, self._limits.secret, boot, depth)

    def _claim_at_once(
        self, submission: Submission, content: Content, put: submitting.Submitted, depth: int
    ) -> Claim:
        request = submission.request
        if not isinstance(request.body, bytes):
            request = replace(request, body=self._bodies.body(content))
        return Claim(
            job_id=put.job_id,
            attempt=1,
            boot=self._boot.number,
            target=submission.target,
            request=request,
            owner=submission.owner,
            account=submission.account,
            depth=depth,
            policy=submission.policy,
            secrets=put.secrets,
            source=submission.source,
            waited=0,
        )


def _traced(spans: "Spans", submission: Submission, told: Told) -> tuple[Submission, Told]:
    """Make a span for a submission that no task waits for."""
    submission, span = spans.send(submission)

    def ended(outcome: Outcome) -> None:
        spans.sent(span, outcome.value, outcome.error)
        told(outcome)

    return submission, ended


def _unheard(_: Exception) -> None:
    """Ignore a refusal: nothing is counted."""


def _keyed(submission: Submission, summed: idempotency.Digest | None) -> idempotency.Keyed | None:
    if submission.key is None or summed is None:
        return None
    return idempotency.Keyed(submission.key, idempotency.fingerprint(submission.request, summed))
