"""The vocabulary of accounts: who sends a request, and what they may see and do."""

from enum import StrEnum
from hashlib import blake2b
from typing import Final

from jobstore.model.frozen import frozen

# The account of what belongs to nobody: it was submitted where there were no accounts.
NOBODY: Final = 0


class Role(StrEnum):
    """What an account may do."""

    ADMIN = "admin"  # sees and changes everybody's jobs
    USER = "user"  # sees and changes their own jobs
    READER = "reader"  # sees everybody's jobs and changes nothing, for monitoring


@frozen(kw_only=True)
class Identity:
    """Who sent a request.

    Args:
        name: the name of their account, or the name they gave if there are no accounts.
        role: the role of their account; None if there are no accounts. From ``identify``, None
            means a user.
        id: the id of their account in the store; None for names that an application vouches for.
    """

    name: str
    role: Role | None = None
    id: int | None = None

    @property
    def account(self) -> int:
        """The id of the account that their jobs belong to.

        A name may be given to somebody else later, an id never is.
        """
        if self.id is not None:
            return self.id
        return NOBODY if self.role is None else account_of_name(self.name)

    @property
    def scope(self) -> int | None:
        """The account whose jobs they may see, or None for everybody's."""
        return self.account if self.role is Role.USER else None

    @property
    def administers(self) -> bool:
        """Whether they may do everything: an admin, or anybody if there are no accounts."""
        return self.role in {None, Role.ADMIN}

    @property
    def changes(self) -> bool:
        """Whether they may submit, fetch, cancel and delete."""
        return self.role is not Role.READER


def account_of_name(name: str) -> int:
    """Make an account of a name that is not one of the store's accounts.

    It is negative, so it never equals the id of a stored account; it has 63 bits, so two names
    never share it.
    """
    digest = blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return -1 - (int.from_bytes(digest) >> 1)


@frozen(kw_only=True)
class Account:
    """An account as it stands in the store; times are in microseconds since 1970.

    Args:
        id: never reused, even after the account is removed.
        name: what its owner gives as user name.
        role: what it is for.
        password: the password's argon2 hash, as text with its parameters.
    """

    id: int
    name: str
    role: Role
    password: str
    created_at: int
    changed_at: int


@frozen(kw_only=True)
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


@frozen(kw_only=True)
class Session:
    """A browser session; times are in microseconds since 1970.

    Args:
        account: whose it is.
        seen_at: when it was used last, within minutes.
        until: when it ends, unless it is used before.
        label: what users recognise it by, such as the name of a browser.
    """

    id: int
    account: str
    created_at: int
    seen_at: int
    until: int
    label: str
