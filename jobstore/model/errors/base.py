"""The base of all kinds of errors."""

from typing import ClassVar


class JobstoreError(Exception):
    """Base of every error that jobstore raises on purpose.

    Attributes:
        status: the HTTP status of the answer; None if it never reaches a client.
    """

    status: ClassVar[int | None] = None
