"""Copies in memory of what was just written and will be read next.

A request is read when its job gets a slot, and a response when a reader takes it. Neither ever
changes, and both are in the store. Whether a job may run, and whether a result may be taken, is
decided in the store alone, by guarded statements. So a copy may be out of date, but never wrong: it
saves a read, and losing it costs nothing.
"""

from typing import Final

from jobstore.store.claiming import KnownRequest
from jobstore.store.facts import Answered, Changed, Ended, Looked, Queued, Taken

# How many bytes are kept at most of either kind, each with what it costs besides its body: answers
# of 1 KiB from the last half second or so of a server that does all it can. Measured, to take a
# result from the file costs 19 µs more.
_ROOM: Final = 4 * 1024 * 1024
_EACH: Final = 1024


class FreshAnswers:
    """The latest answers that nobody has taken yet; the oldest are dropped first.

    Args:
        room: how many bytes to keep at most.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._size = 0
        self._of: dict[int, Answered] = {}

    def get(self, job_id: int) -> Answered | None:
        """Return a job's answer, if it is in memory."""
        return self._of.get(job_id)

    def came(self, fact: Answered) -> None:
        """Keep an answer."""
        self._of[fact.job_id] = fact
        self._size += _EACH + len(fact.content)
        while self._size > self._room:
            self._forget(next(iter(self._of)))

    def gone(self, fact: Taken | Changed) -> None:
        """Forget an answer: it was taken, or its result was deleted or expired."""
        if fact.job_id in self._of:
            self._forget(fact.job_id)

    def _forget(self, job_id: int) -> None:
        self._size -= _EACH + len(self._of.pop(job_id).content)


class FreshRequests:
    """The requests of jobs that wait for a slot, first come, first kept.

    Args:
        room: how many bytes to keep at most.
    """

    def __init__(self, room: int = _ROOM) -> None:
        self._room = room
        self._size = 0
        self._of: dict[int, KnownRequest] = {}

    def get(self, job_id: int) -> KnownRequest | None:
        """Return a job's request, if it is in memory."""
        return self._of.get(job_id)

    def came(self, fact: Queued) -> None:
        """Keep a request with a small body, if there is room."""
        body = fact.request.body
        if isinstance(body, bytes) and self._size + _EACH + len(body) <= self._room:
            self._of[fact.job_id] = KnownRequest(fact.request, fact.secrets)
            self._size += _EACH + len(body)

    def looked(self, fact: Looked) -> None:
        """Forget requests: their jobs run."""
        for claim in fact.claimed.claims:
            self._forget(claim.job_id)

    def ended(self, fact: Ended) -> None:
        """Forget a request: its job was cancelled."""
        self._forget(fact.job_id)

    def _forget(self, job_id: int) -> None:
        known = self._of.pop(job_id, None)
        if known is not None:
            assert isinstance(known.request.body, bytes)
            self._size -= _EACH + len(known.request.body)
