"""Wait for a job to end, or for its result to become available to the next reader."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from jobstore.live.results import Results
from jobstore.live.watchers import Watch, Watchers
from jobstore.model.errors import BeingDelivered
from jobstore.model.job import Job
from jobstore.model.lifecycle import ENDED
from jobstore.store.history import History

T = TypeVar("T")


class Waiters:
    """Waiters for changes of a job.

    Args:
        watchers: wakes the waiters.
        results: results that can be fetched.
        history: all jobs.
    """

    def __init__(self, watchers: Watchers, results: Results, history: History) -> None:
        self._watchers = watchers
        self._results = results
        self._history = history

    def watching(self, job_id: int) -> Watch:
        """Return a watch of a job, which is notified of changes while its context lasts."""
        return self._watchers.watching(job_id)

    def followers(self) -> Mapping[str, int]:
        """Return how many clients wait for changes of jobs, by how they wait."""
        return dict(zip(("job", "long_poll"), self._watchers.followers(), strict=True))

    def watched(self, job_id: int) -> int:
        """Return how many wait for a job."""
        return self._watchers.count(job_id)

    def ended(
        self,
        job_id: int,
        seconds: float,
        scope: int | None = None,
        again: Callable[[], int | None] | None = None,
    ) -> Awaitable[Job]:
        """Wait until a job has ended and its result is not being delivered, or time is over.

        Args:
            seconds: how long to wait at most.
            scope: only if it belongs to this account; None for any.
            again: returns the scope again after each wait, or raises if access was revoked.

        Returns:
            the job as it is then.

        Raises:
            JobNotFound: the job does not exist, or can no longer be asked for.
        """
        return self._until_ended(
            job_id, seconds, scope, again, self._results.peek, self._results.on_its_way
        )

    async def once_free(
        self,
        job_id: int,
        seconds: float,
        scope: int | None,
        take: Callable[[], Awaitable[T]],
        again: Callable[[], int | None],
    ) -> T:
        """Take a result once the job has ended and no other reader has it, or time is over.

        Args:
            seconds: how long to wait at most.
            scope: only if it belongs to this account; None for any.
            take: takes it, unless another reader is faster.
            again: returns the scope again after each wait, or raises if access was revoked.

        Raises:
            BeingDelivered: another reader still has it.
            JobNotFound: the job does not exist, or can no longer be asked for.
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
        """Wait as `ended` does, even if the result is gone.

        Raises:
            JobNotFound: there is no such job in the history.
        """
        return self._until_ended(job_id, seconds, scope, again, self._history.job, _never)

    async def _until_ended(
        self,
        job_id: int,
        seconds: float,
        scope: int | None,
        again: Callable[[], int | None] | None,
        look: Callable[[int, int | None], Awaitable[Job]],
        busy: Callable[[int], Awaitable[bool]],
    ) -> Job:
        if seconds <= 0:
            return await look(job_id, scope)
        with self._watchers.watching(job_id, seconds) as watch:
            while True:
                job = await look(job_id, scope)
                if watch.over or (job.state in ENDED and not await busy(job_id)):
                    return job
                del job  # many may wait
                await watch.change()
                if again is not None:
                    scope = again()

    def dismiss(self) -> None:
        """Wake all waiters at shutdown."""
        self._watchers.dismiss()


async def _never(_: int) -> bool:
    """Report that no reader has the result."""
    return False
