"""What a batch of operations changed, for those parts that keep some of it in memory.

An operation changes rows and reports facts about that: which jobs now wait, run or have ended.
Once the batch is committed, its facts go to one place, see `jobstore.live.subscribers`, and only
then does the next batch start. So memory agrees with the store whenever a batch starts. An
operation that needs the current state adds what its batch has changed so far, which is kept here as
well. If the batch fails, its facts are dropped together with its rows.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeAlias

from jobstore.model.job import Claim, Dialect
from jobstore.model.lifecycle import State
from jobstore.model.message import Headers, Request
from jobstore.model.rotation import Claimed


class Accepted(NamedTuple):
    """A job was accepted."""

    dialect: Dialect
    target: str


class Queued(NamedTuple):
    """A job waits for a slot of its target.

    Args:
        request: its request.
        secrets: whether the store keeps secrets of it until the job ends.
    """

    job_id: int
    target: str
    account: int
    priority: int
    request: Request
    secrets: bool


class Waiting(NamedTuple):
    """A job waits for a time or for another job."""

    job_id: int


class Ready(NamedTuple):
    """Jobs of a target may be waiting for a slot; of any target if it is None."""

    target: str | None


class Started(NamedTuple):
    """A job has a slot and runs."""

    claim: Claim


class Looked(NamedTuple):
    """The queue of a target was searched."""

    target: str
    claimed: Claimed


class Ended(NamedTuple):
    """A job has ended.

    Args:
        took: how many microseconds passed since its submission.
    """

    job_id: int
    target: str
    state: State
    took: int


class Answered(NamedTuple):
    """A job has ended with a small answer, which is held.

    Args:
        account: the account that the job belongs to.
        status: the answer's status.
        reason: its reason phrase, or None for the standard one.
        headers: its fields.
        content: its body.
    """

    job_id: int
    account: int
    status: int
    reason: str | None
    headers: Headers
    content: bytes


class Changed(NamedTuple):
    """Something else happened to a job or its result."""

    job_id: int


class CancelAsked(NamedTuple):
    """The cancellation of a running job was requested."""

    job_id: int


class Due(NamedTuple):
    """A job may run from a given time, in microseconds since 1970."""

    at: int


class Fires(NamedTuple):
    """A definition fires at a time, in microseconds since 1970; None means never."""

    at: int | None


class Blocked(NamedTuple):
    """A due definition has to wait for the end of a job."""

    job_id: int


class Taken(NamedTuple):
    """A result is on its way to a reader."""

    job_id: int
    reader: object


class GivenBack(NamedTuple):
    """A result is held again: its delivery broke off."""

    job_id: int


class Expired(NamedTuple):
    """Unfetched results have expired."""

    jobs: int


class PayloadsGone(NamedTuple):
    """The payloads of jobs were deleted."""

    jobs: int


Fact: TypeAlias = (
    Accepted
    | Queued
    | Waiting
    | Ready
    | Started
    | Looked
    | Ended
    | Answered
    | Changed
    | CancelAsked
    | Due
    | Fires
    | Blocked
    | Taken
    | GivenBack
    | Expired
    | PayloadsGone
)


@dataclass(slots=True)
class Changes:
    """What a batch has changed so far.

    Args:
        facts: the facts of its operations, in order.
        queued: how many more jobs are queued than before.
        slots: how many more slots are taken, by target.
        running: how many more jobs run, by account, if accounts have a limit.
        lined_up: the targets for which a job was queued.
        readers: the readers of the results that it takes, by the id of the job.
        answers: the small answers that arrived, by the id of the job.
    """

    facts: list[Fact] = field(default_factory=list)
    queued: int = 0
    slots: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    running: Counter[int] = field(default_factory=Counter)
    lined_up: set[str] = field(default_factory=set)
    readers: dict[int, object] = field(default_factory=dict)
    answers: dict[int, Answered] = field(default_factory=dict)

    def copy(self) -> "Changes":
        """Return a copy, for an operation that may fail alone."""
        return replace(
            self,
            facts=[*self.facts],
            slots=self.slots.copy(),
            running=Counter(self.running),
            lined_up={*self.lined_up},
            readers={**self.readers},
            answers={**self.answers},
        )
