"""A request cannot become a job, or not now."""

from jobstore.model.errors.base import JobstoreError


class NotAccepting(JobstoreError):
    """No jobs are accepted at the moment; a later attempt may succeed."""

    status = 503


class QueueFull(NotAccepting):
    """As many jobs are queued as the configuration allows."""

    def __init__(self, limit: int) -> None:
        jobs = "1 job is" if limit == 1 else f"{limit} jobs are"
        super().__init__(f"the queue is full: {jobs} waiting")
        self.limit = limit


class ShuttingDown(NotAccepting):
    """The server is shutting down and takes no new jobs."""

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class NoRoom(NotAccepting):
    """Too many large messages are being read or answered at the same time."""

    def __init__(self) -> None:
        super().__init__("too many large requests at once; try again")


class OwnerLimit(JobstoreError):
    """An owner has reached a limit; a later attempt may succeed.

    Args:
        bound: the limit, as a sentence.
        seconds: when to try again.
    """

    status = 429

    def __init__(self, bound: str, seconds: int) -> None:
        super().__init__(bound)
        self.seconds = seconds


class TooFast(OwnerLimit):
    """An owner submits too many jobs per second.

    Args:
        rate: how many per second are allowed.
        seconds: when to try again.
    """

    def __init__(self, rate: float, seconds: int) -> None:
        jobs = "1 job" if rate == 1 else f"{rate:g} jobs"
        super().__init__(f"expected at most {jobs} per second", seconds)


class TooDeep(JobstoreError):
    """The chain of jobs that submit jobs is too long.

    Args:
        limit: the longest chain allowed.
    """

    status = 508

    def __init__(self, limit: int) -> None:
        super().__init__(f"expected a chain of at most {limit} jobs that submit jobs")


class NoJobOfThat(JobstoreError):
    """A request for a tunnel or another protocol cannot become a job."""

    status = 501

    def __init__(self) -> None:
        super().__init__(
            "CONNECT and WebSockets cannot become jobs: they last as long as their connection"
        )


class BodyTooLarge(JobstoreError):
    """The request's body exceeds the configured limit.

    Args:
        limit: the limit, in bytes.
    """

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request's body is larger than {limit} bytes")
        self.limit = limit


class BodyBroken(JobstoreError):
    """The request's body ended before its announced end."""

    status = 400

    def __init__(self, what: str = "the request's body ended before its announced end") -> None:
        super().__init__(what)


class BodyStalled(BodyBroken):
    """The request's body has stopped arriving.

    Args:
        seconds: for how long nothing has.
    """

    status = 408

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no part of the request's body arrived for {seconds:g} s")


class TagTaken(JobstoreError):
    """A job of the same owner that has not ended has the same tag."""

    status = 409

    def __init__(self, tag: str) -> None:
        super().__init__(
            f"a job with the tag {tag} has not ended yet; wait for its end, or choose another tag"
        )
        self.tag = tag


class SubmissionInvalid(JobstoreError):
    """The submission is invalid; each line of the message is one problem."""

    status = 400


class MemberRefused(JobstoreError):
    """One submission of a batch was refused, and so the whole batch was.

    Args:
        index: its place among them, from 0.
        error: why it was refused.
    """

    def __init__(self, index: int, error: JobstoreError) -> None:
        super().__init__("\n".join(f"jobs[{index}]: {line}" for line in str(error).splitlines()))
        self.index = index
        self.error = error


class KeyInvalid(JobstoreError):
    """The idempotency key is invalid."""

    status = 400

    def __init__(self, problem: str) -> None:
        super().__init__(f'Idempotency-Key: expected a key such as "8e03978e-40d5", not {problem}')


class KeyReused(JobstoreError):
    """The idempotency key was used before, for another request."""

    status = 422

    def __init__(self, key: str) -> None:
        super().__init__(
            f'the idempotency key "{key}" was already used for another request; '
            "use a new key for a new request"
        )
        self.key = key
