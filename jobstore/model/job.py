"""Values that describe jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Final, TypeAlias

from jobstore.model.account import NOBODY
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Request

FIRST_ERROR: Final = 400  # of the status codes
NO_ANSWER: Final = "the target did not answer"  # what is said where nothing more is known


class Dialect(StrEnum):
    """The API in which a job was submitted."""

    __hash__ = str.__hash__  # in C: members are looked up for each job

    ARANGO = "arango"
    KINETICA = "kinetica"
    DATAMEER = "datameer"
    NATIVE = "native"


class Trigger(StrEnum):
    """What started a run of a definition."""

    RESTAPI = "RESTAPI"
    CLI = "CLI"
    SEQUENCE = "SEQUENCE"
    SCHEDULE = "SCHEDULE"


class Replay(StrEnum):
    """What may be sent again after its first attempt was interrupted."""

    IDEMPOTENT = "idempotent"  # RFC 9110 section 9.2.2
    ALWAYS = "always"
    NEVER = "never"


class Failure(StrEnum):
    """Why a target did not answer."""

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


@frozen(kw_only=True)
class Policy:
    """Settings of a job or definition for its attempts; None means the target's setting.

    Args:
        timeout: how long an attempt may take, in seconds.
        replay: what may be sent again after an interruption.
        retries: how often to retry after a temporary failure.
    """

    timeout: float | None = None
    replay: Replay | None = None
    retries: int | None = None


OF_TARGET: Final = Policy()


@frozen(kw_only=True)
class Submission:
    """A request that is to become a job.

    Args:
        request: what to send, as it was received.
        target: the name of the target that will be asked.
        dialect: the API in which it was submitted.
        owner: the name that the client gave, or "" if it gave none.
        account: the account it belongs to; the owner's name is for people.
        wanted: whether to keep the result.
        priority: lower runs first; equal ones run in order of submission.
        tag: a name by which the job can also be found.
        tag_is_new: whether the tag was made for this job, so that no other one can have it.
        once: whether reading the result takes it, in a dialect that otherwise only looks at it.
        definition: the id of the definition that it is a run of.
        trigger: what started that run.
        policy: timeout, replay and retries.
        follows: the job that has to succeed first, or None.
        not_before: when it may run, in microseconds since 1970, or None for as soon as it can.
        delay: how many microseconds to wait before it may run, instead of ``not_before``.
        key: its client's idempotency key, or None.
        source: the address that it came from, or None if it came over no network.
    """

    request: Request
    target: str
    dialect: Dialect
    owner: str = ""
    account: int = NOBODY
    wanted: bool = True
    priority: int = 0
    tag: str | None = None
    tag_is_new: bool = False
    once: bool = False
    definition: int | None = None
    trigger: Trigger | None = None
    policy: Policy = OF_TARGET
    follows: int | None = None
    not_before: int | None = None
    delay: int | None = None
    key: str | None = None
    source: str | None = None

    @property
    def tag_may_be_taken(self) -> bool:
        """Whether another job may have its tag."""
        return self.tag is not None and not self.tag_is_new

    @property
    def timed(self) -> bool:
        """Whether it has to wait until a given time."""
        return self.not_before is not None or self.delay is not None

    @property
    def waits(self) -> bool:
        """Whether it has to wait for something other than a slot."""
        return self.timed or self.follows is not None


@frozen(kw_only=True)
class Job:
    """A job as it stands in the store; times are in microseconds since 1970, UTC.

    Args:
        state: the state of the work.
        result: the state of the result: none, held, taken, deleted, expired or unwanted.
        dialect: the API that it was submitted by.
        owner: the name of its owner, for people; ``account`` decides who may see it.
        target: the prefix of the target that it is for.
        path: the path and query of its request.
        priority: lower numbers run first.
        attempt: how often it was started.
        cancel_asked_at: when its cancellation was requested.
        status: the status code of its response, once it has ended.
        failure: the kind of failure, if it failed.
        detail: a sentence about the failure or the cancellation.
        progress: percent, 0 to 100, as its handler reported it.
        counters: numbers that its handler reported, by name.
        warnings: how many warnings its handler reported.
        tag: the name that its submitter gave it.
        once: whether reading the result takes it, in every API.
        definition: the id of the definition that it is a run of.
        trigger: what started that run.
        follows: the job that has to succeed first; later, the one whose end cancelled it.
        retried: how often it was retried after a temporary failure.
        not_before: the earliest time to run, while it waits for that.
        account: the id of the account that it belongs to.
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
    tag: str | None
    once: bool
    definition: int | None
    trigger: Trigger | None
    follows: int | None
    retried: int
    not_before: int | None
    account: int

    @property
    def waits(self) -> bool:
        """Whether another job has to succeed before it can run."""
        return self.state is State.QUEUED and self.follows is not None

    @property
    def succeeded(self) -> bool:
        """Whether the target answered, and with no error."""
        return self.state is State.DONE and succeeded(self.status)

    @property
    def failing(self) -> str:
        """Why it failed, if it did."""
        return self.detail or NO_ANSWER


def succeeded(status: int | None) -> bool:
    """Return whether a status code means success: RFC 9110 section 15."""
    return status is not None and status < FIRST_ERROR


@frozen(kw_only=True)
class Claim:
    """The right to run a job once: a fence against every other attempt at it.

    Args:
        boot: the number of the server start that holds it.
        owner: the job's owner.
        account: the account that the job belongs to.
        depth: how many jobs led to this one, each of which submitted the next.
        policy: timeout, replay and retries.
        retried: how often the job was retried.
        secrets: whether the store still holds secret headers of its request.
        source: the address that it came from, or None if it did not come over a network.
        waited: how many microseconds it waited, while it could have run, for its first attempt;
            None for later attempts.
    """

    job_id: int
    attempt: int
    target: str
    request: Request
    boot: int = 0
    owner: str = ""
    account: int = NOBODY
    depth: int = 0
    policy: Policy = OF_TARGET
    retried: int = 0
    secrets: bool = True
    source: str | None = None
    waited: int | None = None


@frozen(kw_only=True)
class Report:
    """A report from the handler of a running job.

    Args:
        attempt: the number of the attempt.
        progress: percent, 0 to 100, or None if that has not changed.
        counters: values of counters by name; missing ones have not changed.
        warnings: new warnings.
    """

    job_id: int
    attempt: int
    progress: float | None = None
    counters: Mapping[str, int] = field(default_factory=dict)
    warnings: Sequence[str] = ()


@frozen
class Cancellation:
    """The cancellation of a running job was requested."""

    job_id: int


@frozen
class Abandonment:
    """This node lost its claims: what it runs belongs to others, and how it ends is ignored."""


Order: TypeAlias = Claim | Cancellation | Abandonment


@frozen
class Attempt:
    """One attempt at a job; times are in microseconds since 1970.

    Args:
        ended_at: when it ended, or when its end was noticed; None while it runs.
        status: the status code of the answer, or of the response given instead.
        failure: why there was no answer, if there was none.
    """

    number: int
    started_at: int
    ended_at: int | None
    status: int | None
    failure: Failure | None
    detail: str | None


@frozen(kw_only=True)
class Moment:
    """One entry of a job's timeline."""

    job_id: int
    at: int
    event: str
    detail: str | None
