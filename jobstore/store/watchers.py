"""Who wants to be told when a job changes."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class Watchers:
    """Tell those who wait that something has happened to their job, and nobody else."""

    def __init__(self) -> None:
        self._of: defaultdict[int, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watching(self, job_id: int) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the job has changed, until the context is left."""
        event = asyncio.Event()
        self._of[job_id].add(event)
        try:
            yield event
        finally:
            self._of[job_id].discard(event)
            if not self._of[job_id]:
                del self._of[job_id]

    def tell(self, *job_ids: int) -> None:
        """Say that jobs have changed, once that is on the disk."""
        if self._of:
            self._tell(job_ids)

    def _tell(self, job_ids: Iterable[int]) -> None:
        for job_id in job_ids:
            for event in self._of.get(job_id, ()):
                event.set()
