"""Who asks is unknown, may not do that, or cannot be told."""

from jobstore.model.errors.base import JobstoreError


class AccountProblem(JobstoreError):
    """An account or a token cannot be created, changed or found; the message says why."""


class Unauthorized(JobstoreError):
    """The credentials are missing or wrong."""

    status = 401

    def __init__(self) -> None:
        super().__init__("not authorized to execute this request")


class AccountsUnavailable(JobstoreError):
    """The accounts cannot be read at the moment."""

    status = 503

    def __init__(self) -> None:
        super().__init__("the accounts cannot be read at the moment; try again")


class TooManyLogins(JobstoreError):
    """Too many passwords are waiting to be verified."""

    status = 429

    def __init__(self) -> None:
        super().__init__("too many logins at once; try again")


class Forbidden(JobstoreError):
    """The account is not allowed to do that.

    Args:
        why: what is not allowed.
    """

    status = 403

    def __init__(self, why: str = "a reader may see jobs, but not change anything") -> None:
        super().__init__(why)
