"""A target does not answer, or there is none."""

from collections.abc import Iterable
from typing import Final

from jobstore.model.errors.base import JobstoreError

# How much a message shows of a name that is none.
_LONGEST_NAME: Final = 80


class NoTarget(JobstoreError):
    """No target is configured for the path."""

    status = 404

    def __init__(self, problem: str = "no target is configured for this path") -> None:
        super().__init__(problem)


class PathLeaves(NoTarget):
    """The path leaves its target's prefix."""

    status = 400

    def __init__(self) -> None:
        super().__init__(
            "expected a path below its target's prefix, however its dots, slashes and escapes "
            "are read"
        )


class TargetUnknown(JobstoreError):
    """There is no target with the name.

    Args:
        known: the names of the existing targets.
    """

    status = 404

    def __init__(self, name: str, known: Iterable[str]) -> None:
        there = ", ".join(sorted(known)) or "none yet"
        super().__init__(f"there is no target {name[:_LONGEST_NAME]}; the targets are: {there}")


class TargetFailed(JobstoreError):
    """The target did not answer."""

    status = 502


class TargetUnreachable(TargetFailed):
    """No connection to the target could be made.

    Args:
        sent: whether the target may have received the request anyway: it was written to an earlier
        connection, which broke.
    """

    def __init__(self, problem: str, *, sent: bool = False) -> None:
        super().__init__(problem)
        self.sent = sent


class TargetBroken(TargetFailed):
    """The target's response broke off or was not valid HTTP."""


class AnswerTooLarge(TargetBroken):
    """The body of the target's response exceeds the configured limit.

    Args:
        limit: the limit, in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the target's response is larger than {limit} bytes, the limit in [capture] "
            "response_limit"
        )
        self.limit = limit
