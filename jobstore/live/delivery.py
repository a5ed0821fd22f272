"""Fetch once: a held result goes to exactly one reader, or is held again.

**In delivery.** A result is in delivery from the moment a reader takes it until the reader has all
of it, or until the store says that it is held again. Meanwhile, whatever the store says, no other
reader is told that it is gone: they are told to ask again, because the delivery may fail.
`Deliveries.readers` lists these results. An entry is added when the transaction of `Taking` is
committed, and removed when the delivery is complete or the give-back is on the disk.

**Small and large results.** A small result is marked as taken on the disk before its first byte is
sent. A large one is only reserved in memory while it is read, and is marked on the disk before its
last chunk is sent. Either way, a reader who has the whole result is the only one to get it.

**When a reader goes away,** its result is given back, and that is retried until it is stored. This
covers the time from the commit on: a reader who left before it heard of the commit is noticed when
it is told. Whether the last bytes arrived is decided by the connection; if it broke in the middle
of the response, they did not. What the operating system has taken counts as arrived, and may be
hundreds of KiB that nobody has read. If it takes no more for ten minutes, the connection is broken.

**After a crash.** A small result that was marked as taken stays taken, even if its reader did not
get it; `jobstore restore` makes it available again. A large one that was not read to its end is
held. No result is ever given to two readers.

**Who may call.** Any task may take a result. Of several, the first one whose transaction is
executed gets it, and the others get `BeingDelivered`. Deleting and expiring skip results that are
in delivery.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Final, NoReturn, TypeAlias

from jobstore.live.fresh import FreshAnswers
from jobstore.live.upcoming import Upcoming
from jobstore.model.errors import BeingDelivered, DeliveryRefused, JobNotFound
from jobstore.model.job import Job
from jobstore.model.lifecycle import Result
from jobstore.model.message import Response
from jobstore.store import elsewhere, jobs, results
from jobstore.store.bodies import Bodies, Spooled, StoredBody
from jobstore.store.facts import Answered, Taken
from jobstore.store.jobs import Kept
from jobstore.store.own_boot import OwnBoot
from jobstore.store.transaction import Outcome, Transaction
from jobstore.store.writer import Turn, Writer

# Is told of a result that was taken, that there is none yet (None), or what is wrong.
Handed: TypeAlias = "Callable[[Taking, Delivery | None, Exception | None], None]"

# What the file says of a result that is on its way.
_MAY_COME_BACK: Final = frozenset({Result.HELD, Result.TAKEN})


def may_come_back(job: Job) -> bool:
    """Return whether the result of a job is kept still, if it is on its way to a reader."""
    return job.result in _MAY_COME_BACK


class Delivery:
    """A result on its way to its reader.

    Args:
        job_id: whose it is.
        response: the target's answer; None if the job failed or was cancelled.
        kept: the job then.
    """

    __slots__ = ("_kept", "job_id", "response")

    def __init__(self, job_id: int, response: Response | None, kept: Kept | None = None) -> None:
        self.job_id = job_id
        self.response = response
        self._kept = kept

    @property
    def job(self) -> Job:
        """The job, if there is no answer of its target."""
        assert self._kept is not None
        return self._kept.job


class Deliveries:
    """Deliver results, each to one reader.

    A small result is marked as taken on disk before its first byte leaves. A large one is only
    reserved, in memory, while it is read, and marked on disk before its last chunk leaves: if the
    process dies half-way, it is still held.

    Args:
        writer: where results are marked.
        bodies: where large ones are read.
        upcoming: which results may be there in a moment.
        boot: this start of the server.
        over: told of each job whose result is not on its way any more.

    Attributes:
        readers: who is given which job's result at the moment, until it is delivered or held again.
        fresh: the answers that came last.
        asked: by job, how many readers ask for its result at the moment. The file may say that it
            is taken before it is known here to whom.
    """

    def __init__(
        self,
        writer: Writer,
        bodies: Bodies,
        upcoming: Upcoming,
        boot: OwnBoot,
        over: Callable[[int], None],
    ) -> None:
        self.writer = writer
        self.boot = boot
        self.bodies = bodies
        self.upcoming = upcoming
        self.over = over
        self.readers: dict[int, Taking] = {}
        self.fresh = FreshAnswers()
        self.asked: dict[int, int] = {}

    def reader(self, tx: Transaction, job_id: int) -> object | None:
        """Return the reader who is given a job's result, as far as a transaction has come."""
        return tx.changes.readers.get(job_id) or self.readers.get(job_id)

    def reserved(self, tx: Transaction) -> list[int]:
        """List the jobs whose results are on their way, as far as a transaction has come."""
        return [*self.readers, *tx.changes.readers]

    def taken(self, fact: Taken) -> None:
        """Note that a result is on its way."""
        reader = fact.reader
        assert isinstance(reader, Taking)
        self.readers[fact.job_id] = reader

    def taking(self, job_id: int, scope: int | None = None) -> "Taking":
        """Take a result while the context lasts; leaving it by an exception gives it back.

        Args:
            scope: the account whose it has to be, or None for anybody's.
        """
        return Taking(self, job_id, scope)


class Taking:
    """One reader's way to a result.

    Args:
        deliveries: where all readers are.
        scope: the account whose it has to be, or None for anybody's.
    """

    __slots__ = ("_boot", "_deliveries", "_gone", "_handover", "_job_id", "_scope")

    def __init__(self, deliveries: Deliveries, job_id: int, scope: int | None) -> None:
        self._deliveries = deliveries
        self._job_id = job_id
        self._scope = scope
        self._boot = deliveries.boot.number
        self._handover: _Handover | None = None
        self._gone: Callable[[], bool]

    async def __aenter__(self) -> Delivery | None:
        """Take the result.

        Returns:
            the result, or None if the job has not ended yet.

        Raises:
            BeingDelivered: the result is on its way to somebody else.
            JobNotFound: no such job, or its result is gone.
        """
        came: asyncio.Future[Delivery | None] = asyncio.get_running_loop().create_future()

        def told(_: Taking, delivery: Delivery | None, error: Exception | None) -> None:
            if came.cancelled():
                if delivery is not None:  # since the commit
                    self._give_back("the reader was gone")
            elif error is None:
                came.set_result(delivery)
            else:
                came.set_exception(error)

        self.begin(came.cancelled, told)
        try:
            return await came
        except asyncio.CancelledError:
            if not (came.cancelled() or came.exception()) and came.result() is not None:
                self._give_back("the reader was gone")  # in the very moment
            raise

    def begin(self, gone: Callable[[], bool], told: Handed) -> None:
        """Take the result, but let no task wait for that.

        Args:
            gone: whether the reader is gone.
            told: called with this, and with what `__aenter__` returns or raises. Where it is called
                with a delivery, `over` has to be called.
        """
        self._gone = gone
        asked, job_id = self._deliveries.asked, self._job_id

        def taken(outcome: Outcome) -> None:
            others = asked.pop(job_id) - 1
            if others:
                asked[job_id] = others
            found = outcome.value
            told(self, None if found is None else self._delivery(found), outcome.error)

        def queue() -> None:
            asked[job_id] = asked.get(job_id, 0) + 1
            # After the ends: it must find all of what they have written, or nothing.
            self._deliveries.writer.queue(self._take, taken, abreast=Turn.TAKE)

        self._deliveries.upcoming.when_ended(job_id, queue)

    def _delivery(self, found: Kept | Answered) -> Delivery:
        content, status = found.content, found.status
        at_once = not isinstance(content, Spooled)
        handover = _Handover(self._deliveries.writer, self._job_id, taken=at_once)
        self._handover = handover
        if content is None or status is None:
            assert isinstance(found, Kept)
            return Delivery(self._job_id, None, found)
        stored = self._deliveries.bodies.stored
        body = content if isinstance(content, bytes) else _HandedOver(stored(content), handover)
        response = Response(status=status, reason=found.reason, headers=found.headers, body=body)
        return Delivery(self._job_id, response)

    @property
    def is_large(self) -> bool:
        """Whether the result is only reserved, since it is too large to be taken at once."""
        return self._handover is not None and not self._handover.taken

    def over(self, error: Exception | None = None) -> None:
        """End what `begin` began: the result was handed over, or is held again.

        A large one that nobody has begun to read is as free as before.

        Args:
            error: why it could not be handed over, or None.
        """
        if error is not None:
            self._give_back(_cause(error))
            return
        self._release()
        if self.is_large and self._deliveries.boot.shared:  # the reader may never come back for it
            job_id, boot = self._job_id, self._boot
            self._deliveries.writer.queue(lambda tx: elsewhere.unreserve(tx, job_id, boot))

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hold the result again unless it was handed over.

        Raises:
            DeliveryRefused: it was not read to its end.
        """
        if self._handover is None:
            return
        try:
            if error is None and not self._handover.taken:
                error = DeliveryRefused(self._job_id)
                raise error
        finally:
            if error is None:
                self._release()
            else:
                await asyncio.shield(self._give_back(_cause(error)))

    def _give_back(self, because: str) -> "asyncio.Future[None]":
        """Hold the result again; it counts as being delivered until that is on the disk."""
        job_id, boot = self._job_id, self._boot
        given = self._deliveries.writer.post_until_stored(
            lambda tx: results.give_back(tx, job_id, boot, because)
        )
        given.add_done_callback(lambda _: self._release())
        return given

    def _release(self) -> None:
        if self._deliveries.readers.get(self._job_id) is self:
            del self._deliveries.readers[self._job_id]
            self._deliveries.over(self._job_id)

    def _take(self, tx: Transaction) -> Kept | Answered | None:
        job_id = self._job_id
        if self._deliveries.reader(tx, job_id) is not None:
            self._refuse(tx)
        answer = self._taken_fresh(tx)
        if answer is not None:
            return answer
        kept = self._kept(tx)
        if not kept.ended or self._gone():
            return None
        if self._deliveries.reader(tx, job_id) is not None:  # another one has looked as well
            self._refuse(tx)
        self._reserve(tx)
        if not isinstance(kept.content, Spooled):
            taken = results.take(tx, job_id)
        else:
            taken = not tx.shared or elsewhere.reserve(tx, job_id)
        if not taken:  # another node was faster since
            raise BeingDelivered(job_id)
        return kept

    def _kept(self, tx: Transaction) -> Kept:
        try:
            return jobs.kept(tx, self._job_id, self._scope)
        except JobNotFound:
            if elsewhere.on_its_way(tx, self._job_id):
                jobs.visible(tx, self._job_id, self._scope)
                raise BeingDelivered(self._job_id) from None
            if not tx.shared:
                raise
        return jobs.kept(tx, self._job_id, self._scope)  # it may have come back since

    def _taken_fresh(self, tx: Transaction) -> Answered | None:
        """Take an answer from memory; None if it is not there, or cannot be taken from there."""
        job_id = self._job_id
        answer = tx.changes.answers.get(job_id) or self._deliveries.fresh.get(job_id)
        if answer is None or self._scope not in {None, answer.account} or self._gone():
            return None
        if not results.take(tx, job_id):
            if self._deliveries.reader(tx, job_id) is not None:  # another one was faster
                self._refuse(tx)
            return None
        self._reserve(tx)
        return answer

    def _reserve(self, tx: Transaction) -> None:
        tx.changes.readers[self._job_id] = self
        tx.tell(Taken(self._job_id, self))

    def _refuse(self, tx: Transaction) -> NoReturn:
        """Refuse: the result is not available while another reader has it."""
        job = jobs.visible(tx, self._job_id, self._scope)
        if may_come_back(job):
            raise BeingDelivered(job.id)
        raise JobNotFound(job.id)  # another process has deleted it, or let it expire


class _Handover:
    """The moment from which a result can never be given to anybody else."""

    def __init__(self, writer: Writer, job_id: int, *, taken: bool) -> None:
        self._writer = writer
        self._job_id = job_id
        self.taken = taken

    async def take(self) -> None:
        self.taken = await self._writer.run(lambda tx: results.take(tx, self._job_id))
        if not self.taken:
            raise DeliveryRefused(self._job_id)


class _HandedOver:
    """A large body that is marked as taken before its last chunk is given out."""

    def __init__(self, body: StoredBody, handover: _Handover) -> None:
        self._body = body
        self._handover = handover

    @property
    def size(self) -> int:
        return self._body.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self.size
        async for chunk in self._body:
            left -= len(chunk)
            if not left:
                await self._handover.take()
            yield chunk


def _cause(error: BaseException) -> str:
    """Return why a delivery broke off, in words for the history."""
    if isinstance(error, asyncio.CancelledError | ConnectionError):
        return "the reader's connection broke"
    return str(error) or type(error).__name__
