"""Fetch once: a held result goes to exactly one reader, or back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jobstore.errors import DeliveryRefused, JobNotFound
from jobstore.job import Job
from jobstore.lifecycle import Result
from jobstore.message import Response
from jobstore.store import result_transitions, transitions
from jobstore.store.bodies import Bodies, Spooled, StoredBody
from jobstore.store.transitions import Kept
from jobstore.store.writer import Transaction, Writer


@dataclass(frozen=True, slots=True)
class Delivery:
    """A result on its way to its reader.

    Args:
        job: the job, as it ended.
        response: the target's answer; None if the job failed or was cancelled.
    """

    job: Job
    response: Response | None


@dataclass(slots=True, eq=False)
class _Reader:
    """Who asks for a result.

    Args:
        gone: whether nobody waits for it any more.
    """

    gone: bool = False


class Deliveries:
    """Deliver results, each to one reader.

    A small result is marked as taken on disk before its first byte leaves. A large one is only
    reserved, in memory, while it is read, and marked on disk before its last chunk leaves: if the
    process dies half-way, it is still held.

    Args:
        writer: where results are marked.
        bodies: where large ones are read.
    """

    def __init__(self, writer: Writer, bodies: Bodies) -> None:
        self._writer = writer
        self._bodies = bodies
        self._reserved: dict[int, _Reader] = {}

    @property
    def reserved(self) -> list[int]:
        """The ids of results that are being read just now."""
        return list(self._reserved)

    @asynccontextmanager
    async def taken(self, job_id: int, scope: str | None = None) -> AsyncIterator[Delivery | None]:
        """Take a result; leaving the context by an exception gives it back.

        Args:
            job_id: the job.
            scope: whose it has to be, or None for anybody's.

        Returns:
            the result, or None if the job has not ended yet.

        Raises:
            JobNotFound: no such job, or its result went to somebody else.
        """
        reader = _Reader()
        try:
            kept = await self._taking(job_id, scope, reader)
            if kept is None:
                yield None
                return
            handover = _Handover(self._writer, job_id, taken=not isinstance(kept.content, Spooled))
            try:
                yield Delivery(kept.job, self._response(kept, handover))
                handover.check()
            except BaseException as error:
                await asyncio.shield(self._give_back(job_id, _cause(error)))
                raise
        finally:
            self._release(job_id, reader)

    async def _taking(self, job_id: int, scope: str | None, reader: _Reader) -> Kept | None:
        operation = self._writer.post(lambda tx: self._take(tx, job_id, scope, reader))
        try:
            return await asyncio.shield(operation)
        except asyncio.CancelledError:
            reader.gone = True
            operation.add_done_callback(lambda done: self._undo(job_id, reader, done))
            raise

    def _release(self, job_id: int, reader: _Reader) -> None:
        if self._reserved.get(job_id) is reader:
            del self._reserved[job_id]

    def _undo(self, job_id: int, reader: _Reader, done: "asyncio.Future[Kept | None]") -> None:
        """Give back what was taken for a reader who was gone before it was committed."""
        self._release(job_id, reader)
        if not done.cancelled() and not done.exception() and done.result() is not None:
            self._give_back(job_id, "the reader was gone")

    def _give_back(self, job_id: int, because: str) -> "asyncio.Future[None]":
        return self._writer.insist(lambda tx: result_transitions.give_back(tx, job_id, because))

    def _take(
        self, tx: Transaction, job_id: int, scope: str | None, reader: _Reader
    ) -> Kept | None:
        job = transitions.awaited(tx, job_id, scope)
        if job.result is Result.NONE or reader.gone:
            return None
        if self._reserved.get(job_id, reader) is not reader:
            raise JobNotFound(job_id)
        kept = transitions.kept(tx, job)
        if isinstance(kept.content, Spooled):
            self._reserved[job_id] = reader
        else:
            result_transitions.take(tx, job_id)
        return kept

    def _response(self, kept: Kept, handover: "_Handover") -> Response | None:
        if kept.content is None or kept.job.status is None:
            return None
        return Response(
            status=kept.job.status,
            reason=kept.reason,
            headers=kept.headers,
            body=kept.content
            if isinstance(kept.content, bytes)
            else _HandedOver(self._bodies.stored(kept.content), handover),
        )


class _Handover:
    """The moment from which a result can never be given to anybody else."""

    def __init__(self, writer: Writer, job_id: int, *, taken: bool) -> None:
        self._writer = writer
        self._job_id = job_id
        self.taken = taken

    async def take(self) -> None:
        self.taken = await self._writer.run(lambda tx: result_transitions.take(tx, self._job_id))
        self.check()

    def check(self) -> None:
        """Refuse to call a result delivered that was not, or not wholly, read."""
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
    name = type(error).__name__
    return f"{name}: {error}" if str(error) else name
