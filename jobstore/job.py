"""The words of a job: values without behaviour of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from jobstore.lifecycle import Result, State
from jobstore.message import Request


class Dialect(StrEnum):
    """The API in which a job was submitted."""

    ARANGO = "arango"
    NATIVE = "native"


class Replay(StrEnum):
    """What may be sent again after its first attempt was interrupted."""

    IDEMPOTENT = "idempotent"  # RFC 9110 section 9.2.2
    ALWAYS = "always"
    NEVER = "never"


class Failure(StrEnum):
    """Why no answer could be had from a target."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    BROKEN = "broken"
    INTERRUPTED = "interrupted"

    @property
    def status(self) -> int:
        """The status code of the response that is given instead of an answer."""
        return _STATUS_OF_FAILURE[self]


_STATUS_OF_FAILURE: Mapping[Failure, int] = {
    Failure.UNREACHABLE: 502,
    Failure.BROKEN: 502,
    Failure.TIMEOUT: 504,
    Failure.INTERRUPTED: 503,
}
CANCELLED_STATUS = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request that shall become a job.

    Args:
        request: what to send, as it was received.
        target: the name of the target that will be asked.
        dialect: the API in which it was submitted.
        owner: the name that the client gave, or "" if it gave none.
        wanted: whether anybody will ask for the result.
        priority: lower runs first; equal ones run in order of submission.
    """

    request: Request
    target: str
    dialect: Dialect
    owner: str = ""
    wanted: bool = True
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job as it stands in the store; times are in microseconds since 1970, UTC.

    Args:
        status: the status code of its response, once it has ended.
        failure: why it failed, and a sentence about it, if it did.
        cancel_asked_at: when somebody asked for its cancellation.
        progress: percent, 0 to 100, as its handler reported it.
        counters: numbers that its handler reported, by name.
        warnings: how many warnings its handler reported.
    """

    id: int
    state: State
    result: Result
    dialect: Dialect
    owner: str
    target: str
    method: str
    path: str
    priority: int
    attempt: int
    submitted_at: int
    started_at: int | None
    finished_at: int | None
    fetched_at: int | None
    cancel_asked_at: int | None
    status: int | None
    failure: Failure | None
    detail: str | None
    progress: float | None
    counters: Mapping[str, int]
    warnings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """The right to run a job once: a fence against every other attempt at it."""

    job_id: int
    attempt: int
    target: str
    request: Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the handler of a running job has to say about it.

    Args:
        job_id: the job.
        attempt: which attempt at it.
        progress: percent, 0 to 100, or None if that has not changed.
        counters: the values of counters, by name; those that are missing have not changed.
        warnings: new warnings.
    """

    job_id: int
    attempt: int
    progress: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Somebody asked that a running job be stopped."""

    job_id: int


Order: TypeAlias = Claim | Cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One entry of a job's timeline."""

    job_id: int
    at: int
    event: str
    detail: str | None
