"""How an attempt at a job may end, and how that is logged and counted."""

from typing import TypeAlias

from jobstore.live import CapturedResponse
from jobstore.live.meters import ANSWERED, UNANSWERED, Attempted
from jobstore.model.errors import AnswerTooLarge, JobstoreError, TargetUnreachable
from jobstore.model.frozen import frozen
from jobstore.model.handle import AttemptHandle
from jobstore.model.job import Claim, Failure
from jobstore.model.message import header
from jobstore.model.retry import AttemptEnded
from jobstore.model.tracing import trace_of


@frozen
class Failed:
    """The target did not answer.

    Args:
        failure: the kind of failure.
        detail: what happened, in a sentence.
        lasting: whether another attempt would fail in the same way.
        unreached: whether no connection to the target could be made.
        sent: whether the target may have received the request.
    """

    failure: Failure
    detail: str
    lasting: bool = False
    unreached: bool = False
    sent: bool = True


@frozen
class Stopped:
    """The job was cancelled while it ran."""


Outcome: TypeAlias = CapturedResponse | Failed | Stopped


def expired(handle: AttemptHandle, seconds: float | None) -> Failed:
    """Return the failure of an attempt that timed out."""
    if handle.connecting:
        detail = f"no connection to the target could be made within {seconds:g} s"
        return Failed(Failure.TIMEOUT, detail, unreached=True, sent=False)
    return Failed(Failure.TIMEOUT, f"the target did not answer within {seconds:g} s")


def unanswered(error: JobstoreError) -> Failed:
    """Return the failure for an error of a target that gave no answer."""
    if isinstance(error, TargetUnreachable):
        return Failed(Failure.UNREACHABLE, str(error), unreached=True, sent=error.sent)
    return Failed(Failure.BROKEN, str(error), lasting=isinstance(error, AnswerTooLarge))


def counted(outcome: Outcome) -> tuple[Attempted, str]:
    """Return how an attempt is counted: its outcome and status class."""
    if isinstance(outcome, CapturedResponse):
        return ANSWERED[outcome.status // 100 - 2]
    how = outcome.failure if isinstance(outcome, Failed) else Attempted.CANCELLED
    return UNANSWERED[Attempted(how)]


def as_attempt(outcome: CapturedResponse | Failed) -> AttemptEnded:
    """Return the record of an attempt after which the job is queued again."""
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
    """Return the fields of a log line about a job; unknown ones are left out.

    Args:
        status: the status of the answer, or of the response given instead.
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
