"""What was asked for of a job, its result or many jobs is not possible."""

from collections.abc import Sequence

from jobstore.model.errors.base import JobstoreError


class BodyGone(JobstoreError):
    """A stored body was purged while it was read."""

    def __init__(self) -> None:
        super().__init__("the body was purged while it was being read")


class JobNotFound(JobstoreError):
    """No such job, or its result can no longer be fetched.

    Args:
        reference: its id, or its tag.
    """

    status = 404

    def __init__(self, reference: int | str) -> None:
        super().__init__(f"no job {reference}")
        self.reference = reference


class JobGone(JobstoreError):
    """What was asked for is no longer kept.

    Args:
        reason: what became of it and when, as the end of a sentence that begins with the job.
    """

    status = 410

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"job {job_id}: {reason}")
        self.job_id = job_id


class NotKept(JobstoreError):
    """A message of a job is not kept.

    Args:
        message: which one: its request or its response.
        reason: why not, as a clause.
    """

    status = 404

    def __init__(self, job_id: int, message: str, reason: str) -> None:
        super().__init__(f"the {message} of job {job_id} is not kept: {reason}")
        self.job_id = job_id


class WrongState(JobstoreError):
    """The state of a job does not allow what was asked for.

    Args:
        problem: its state, as the end of a sentence that begins with the job.
    """

    status = 409

    def __init__(self, job_id: int, problem: str) -> None:
        super().__init__(f"job {job_id} {problem}")
        self.job_id = job_id


class SecretsMissing(WrongState):
    """A job had secret headers that are no longer kept, so another run would lack them.

    Args:
        names: the headers.
    """

    def __init__(self, job_id: int, names: Sequence[str]) -> None:
        super().__init__(
            job_id,
            f"was sent with {', '.join(names)}, which is not kept after the job ends; use "
            "/retry?without_secrets=yes to run it without",
        )


class BeingDelivered(WrongState):
    """A job's result is on its way to another reader; if the delivery fails, it is held again."""

    def __init__(self, job_id: int) -> None:
        super().__init__(job_id, "is being delivered to another reader; try again")


class QueryInvalid(JobstoreError):
    """The query is invalid; the message says what was expected."""

    status = 400


class OperationNotFound(JobstoreError):
    """There is no such bulk operation, or the account may not see it."""

    status = 404

    def __init__(self, operation: object) -> None:
        super().__init__(f"there is no operation {operation}")


class OperationChanged(JobstoreError):
    """The number of matching jobs is not the expected one.

    Args:
        expected: how many were expected.
        count: how many there are.
    """

    status = 409

    def __init__(self, expected: int, count: int) -> None:
        jobs = "1 job" if expected == 1 else f"{expected} jobs"
        found = "1 does" if count == 1 else f"{count} do"
        super().__init__(f"expected {jobs} to match, but {found}; nothing was done")
        self.count = count


class ExportInvalid(JobstoreError):
    """The export cannot be imported, and nothing of it was.

    Args:
        problem: what is wrong with it, as a clause.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; nothing was imported")


class ResultNotRestorable(JobstoreError):
    """The result was not fetched or deleted, or its payload is no longer kept.

    Args:
        reason: why not, as a clause.
    """

    def __init__(self, job_id: int, reason: str) -> None:
        super().__init__(f"the result of job {job_id} cannot be restored: {reason}")
        self.job_id = job_id
        self.reason = reason


class DeliveryRefused(JobstoreError):
    """A result was deleted or expired while it was on its way to a reader."""

    def __init__(self, job_id: int) -> None:
        super().__init__(
            f"the result of job {job_id} was deleted or expired while it was being delivered"
        )
        self.job_id = job_id


class AnswerUnsendable(JobstoreError):
    """A response stored by an earlier version cannot be sent over HTTP.

    Args:
        problem: why not, as the end of a sentence.
    """

    status = 502

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the target's response is kept, but cannot be sent over HTTP: its head {problem}; "
            "`jobstore show ID --body response` writes its body"
        )
