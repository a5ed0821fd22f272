"""The words of accounts: who asks, and what they may see and do."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What an account is for."""

    ADMIN = "admin"  # sees and changes the jobs of all
    USER = "user"  # sees and changes their own
    READER = "reader"  # sees the jobs of all and changes nothing: for monitoring


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who sent a request.

    Args:
        name: the name of their account, or the one they gave if there are no accounts at all.
        role: their account's, or None if there are no accounts: then nothing is hidden.
    """

    name: str
    role: Role | None = None

    @property
    def scope(self) -> str | None:
        """Whose jobs they may see: their own name, or None for everybody's."""
        return self.name if self.role is Role.USER else None

    @property
    def changes(self) -> bool:
        """Whether they may submit, take, cancel and delete."""
        return self.role is not Role.READER


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as it stands in the store; times are in microseconds since 1970.

    Args:
        name: what its owner gives as user name.
        role: what it is for.
        password: the password's argon2 hash, as text with its parameters.
    """

    name: str
    role: Role
    password: str
    created_at: int
    changed_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A bearer token as it stands in the store, which does not hold the token itself.

    Args:
        account: whose it is.
        label: what its owner calls it.
    """

    id: int
    account: str
    label: str
    created_at: int
