"""Jobs that may end at any moment: clients that ask for their results should wait, not poll."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from itertools import takewhile
from time import monotonic
from typing import Final

from jobstore.store.facts import Queued, Started, Waiting

# How long after its submission or its start a job counts as one of them. A client who asks in
# vain asks again, which costs more than most jobs do: measured, 64 connections that poll on a busy
# machine send 3.1 requests for each job with 0.03 s, 2.4 with 0.06 s, 2.1 with this.
PATIENCE_SECONDS: Final = 0.1
# Those whose moment is over within the same one of these are woken together.
_TICK: Final = 0.005


class Upcoming:
    """Jobs that arrived or started a moment ago, and those who wait for their results.

    There are never more of them than can arrive within that moment.
    """

    def __init__(self) -> None:
        self._since: dict[int, float] = {}  # in the order of these times
        self._waiting: defaultdict[int, list[Callable[[], object]]] = defaultdict(list)
        self._timed = False  # whether somebody looks when the moment of the first is over

    def came(self, fact: Queued | Waiting) -> None:
        """Note that a job was submitted."""
        self._began(fact.job_id)

    def started(self, fact: Started) -> None:
        """Note that a job has started."""
        self._began(fact.claim.job_id)

    def _began(self, job_id: int) -> None:
        self._since.pop(job_id, None)
        self._since[job_id] = monotonic()
        if not self._timed:
            self._look_after(PATIENCE_SECONDS)

    def ending(self, job_id: int) -> None:
        """Note that the end of a job is on its way to the disk, or not to be waited for."""
        self._since.pop(job_id, None)
        for call in self._waiting.pop(job_id, ()):
            call()

    async def ended(self, job_id: int) -> None:
        """Wait until a job's end is being written, if that may happen in a moment."""
        if job_id in self._since:
            ended = asyncio.Event()
            self.when_ended(job_id, ended.set)
            await ended.wait()

    def when_ended(self, job_id: int, call: Callable[[], object]) -> None:
        """Call a function when `ended` would return, possibly at once; in this context."""
        if job_id in self._since:
            self._waiting[job_id].append(partial(copy_context().run, call))
        else:
            call()

    def _look_after(self, seconds: float) -> None:
        self._timed = True
        asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        """Forget the jobs that began too long ago, and wake who waits for them."""
        self._timed = False
        before = monotonic() - PATIENCE_SECONDS
        for job_id, _ in [*takewhile(lambda job: job[1] < before, self._since.items())]:
            self.ending(job_id)
        if self._since and not self._timed:
            first = next(iter(self._since.values()))
            self._look_after(max(first - before, _TICK))
