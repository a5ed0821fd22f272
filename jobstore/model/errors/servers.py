"""The server cannot start as it is configured, or does not offer what was asked for."""

from jobstore.model.errors.base import JobstoreError


class ConfigError(JobstoreError):
    """The configuration cannot be used; the message says what was expected."""


class MetricsOff(JobstoreError):
    """Metrics are turned off in the configuration."""

    status = 404

    def __init__(self) -> None:
        super().__init__("metrics are turned off; set [metrics] enabled = true")


class TooManyListeners(JobstoreError):
    """As many clients follow all changes as are allowed at once.

    Args:
        listeners: how many that is.
    """

    status = 503

    def __init__(self, listeners: int) -> None:
        super().__init__(
            f"{listeners} clients are already following all changes, the most allowed; "
            "try again later"
        )


class CannotListen(JobstoreError):
    """The server cannot listen on an address.

    Args:
        address: where it should have listened.
        problem: why not.
        advice: what to do about it, if known.
    """

    def __init__(self, address: str, problem: str, advice: str = "") -> None:
        super().__init__(
            f"cannot listen on {address}: {problem}" + (f"; {advice}" if advice else "")
        )


class NotOpen(JobstoreError):
    """Without accounts, the server may not listen on the address.

    Args:
        host: where it should have listened.
    """

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {host}: without accounts, everybody who can reach it could "
            "see and change everything; add an account with `jobstore user add NAME --role admin`, "
            "or use --open to allow this"
        )
