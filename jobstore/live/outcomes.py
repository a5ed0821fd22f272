"""How an attempt at a job may end, and what is said and counted of that."""

from dataclasses import dataclass
from typing import TypeAlias

from jobstore.live import CapturedResponse
from jobstore.live.meters import ANSWERED, UNANSWERED, Attempted
from jobstore.model.errors import AnswerTooLarge, JobstoreError, TargetUnreachable
from jobstore.model.handle import JobHandle
from jobstore.model.job import Claim, Failure
from jobstore.model.message import header
from jobstore.model.retry import AttemptEnded
from jobstore.model.tracing import trace_of


@dataclass(frozen=True, slots=True)
class Failed:
    """The target did not answer.

    Args:
        failure: of which kind it is.
        detail: what happened, in a sentence.
        lasting: whether it would be the same with the next attempt.
        unreached: whether no connection to the target could be made.
        sent: whether the target may have had the request.
    """

    failure: Failure
    detail: str
    lasting: bool = False
    unreached: bool = False
    sent: bool = True


@dataclass(frozen=True, slots=True)
class Stopped:
    """The job was cancelled while it ran."""


Outcome: TypeAlias = CapturedResponse | Failed | Stopped


def expired(handle: JobHandle, seconds: float | None) -> Failed:
    """Say what was missing when an attempt timed out."""
    if handle.connecting:
        detail = f"no connection to the target could be made within {seconds:g} s"
        return Failed(Failure.TIMEOUT, detail, unreached=True, sent=False)
    return Failed(Failure.TIMEOUT, f"the target did not answer within {seconds:g} s")


def unanswered(error: JobstoreError) -> Failed:
    """Give what it means that a target gave no answer."""
    if isinstance(error, TargetUnreachable):
        return Failed(Failure.UNREACHABLE, str(error), unreached=True, sent=error.sent)
    return Failed(Failure.BROKEN, str(error), lasting=isinstance(error, AnswerTooLarge))


def counted(outcome: Outcome) -> tuple[Attempted, str]:
    """Give the words by which an attempt is counted: how it has ended, and its status's class."""
    if isinstance(outcome, CapturedResponse):
        return ANSWERED[min(max(outcome.status // 100, 2), 5) - 2]
    how = outcome.failure if isinstance(outcome, Failed) else Attempted.CANCELLED
    return UNANSWERED[Attempted(how)]


def as_attempt(outcome: CapturedResponse | Failed) -> AttemptEnded:
    """Give what is kept of an attempt after which a job is queued again."""
    match outcome:
        case CapturedResponse():
            retry_after = header(outcome.headers, "retry-after")
            detail = f"status {outcome.status}"
            date = header(outcome.headers, "date")
            return AttemptEnded(
                status=outcome.status, detail=detail, retry_after=retry_after, date=date
            )
        case Failed(failure, detail):
            return AttemptEnded(failure=failure, detail=detail)


def said_of(action: str, claim: Claim, status: int | None = None) -> dict[str, object]:
    """Give what a line of the log says of a job besides its message; what is not known is not said.

    Args:
        status: that of the answer, or what stands in its place.
    """
    about = {
        "job_id": claim.job_id,
        "attempt": claim.attempt,
        "target": claim.target,
        "owner": claim.owner or None,
        "status": status,
        "trace_id": trace_of(claim.request.headers),
    }
    return {"action": action, **{name: value for name, value in about.items() if value is not None}}
