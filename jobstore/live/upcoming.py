"""Which jobs may end any moment: clients that ask for their results should wait, not poll."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from typing import Final

from jobstore.live.ticks import Ticks
from jobstore.store.facts import Queued, Started, Waiting

# How long after its submission or its start a job counts as one of them. A client who asks in
# vain asks again, which costs more than most jobs do: measured, 64 connections that poll on a busy
# machine send 3.1 requests for each job with 0.03 s, 2.4 with 0.06 s, 2.1 with this.
PATIENCE_SECONDS: Final = 0.1
# Whose patience ends within the same one of these is woken by the same timer.
_TICK: Final = 0.005


class Upcoming:
    """Jobs that arrived or started a moment ago, and those who wait for their results.

    There are never more of them than can come within that moment.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # in the order of these times
        self._waiting: defaultdict[int, list[Callable[[], None]]] = defaultdict(list)
        self._patience = Ticks(_TICK, self._end)

    def came(self, fact: Queued | Waiting) -> None:
        """Note that a job has come."""
        self._began(fact.job_id)

    def started(self, fact: Started) -> None:
        """Note that the work of a job has begun."""
        self._began(fact.claim.job_id)

    def _began(self, job_id: int) -> None:
        now = monotonic()
        self._since.pop(job_id, None)
        self._since[job_id] = now
        self._forget(now - PATIENCE_SECONDS)

    def ending(self, job_id: int) -> None:
        """Note that the end of a job is on its way to the disk."""
        self._since.pop(job_id, None)
        for call in self._waiting.pop(job_id, ()):
            call()

    async def ended(self, job_id: int) -> None:
        """Wait until the end of a job is on its way to the disk, if that may be in a moment."""
        if job_id in self._since:
            ended = asyncio.Event()
            self.when_ended(job_id, ended.set)
            await ended.wait()

    def when_ended(self, job_id: int, call: Callable[[], None]) -> None:
        """Call something when `ended` would return, which may be at once."""
        since = self._since.get(job_id)
        if since is None:
            call()
            return
        self._waiting[job_id].append(call)
        left = since + PATIENCE_SECONDS - monotonic()
        self._patience.after(left).add(job_id)

    def _end(self, job_id: int) -> None:
        """Wake waiters of jobs that started too long ago."""
        for call in self._waiting.pop(job_id, ()):
            call()

    def _forget(self, before: float) -> None:
        old = []
        for job_id, since in self._since.items():
            if since >= before:
                break
            old.append(job_id)
        for job_id in old:
            del self._since[job_id]
