"""Passwords and tokens: how they are hashed and verified."""

import re
import secrets
import unicodedata
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from jobstore.model.errors import AccountProblem

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_PREFIX: Final = "jobstore_"  # so that people, and scanners for leaked secrets, recognise a token
_BYTES: Final = 32
_SHORTEST: Final = 8
_LONGEST: Final = 1024

# RFC 7617 section 2: a user name holds no colon. What is left can be typed, and compared.
_ACCOUNT_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}")


def check_name(name: str) -> None:
    """Ensure that a name is valid for an account.

    Raises:
        AccountProblem: it is not.
    """
    if not _ACCOUNT_NAME.fullmatch(name):
        raise AccountProblem(
            f"{name!r} cannot be the name of an account: expected 1 to 64 of the characters "
            "A-Z a-z 0-9 _ . @ + -, the first one a letter, a digit or _"
        )


def hashed(password: str) -> str:
    """Return the argon2id hash of a password with its parameters, as text.

    Raises:
        AccountProblem: it is too short or too long.
    """
    if not _SHORTEST <= len(password) <= _LONGEST:
        raise AccountProblem(f"expected a password of {_SHORTEST} to {_LONGEST} characters")
    return _hasher().hash(_normal(password))


def verify(kept: str | None, password: str) -> bool:
    """Return whether a password matches a hash; this takes tens of milliseconds.

    Args:
        kept: the hash, or None if there is none: then it takes as long, and returns False.
        password: what was given.
    """
    if len(password) > _LONGEST:
        return False
    if kept is None:
        _hasher().hash(_normal(password))
        return False
    from argon2.exceptions import InvalidHashError, VerificationError  # see _hasher

    try:
        return _hasher().verify(kept, _normal(password))
    except (VerificationError, InvalidHashError):
        return False


def prepare() -> None:
    """Load the hashing library now, so that verifying works even when descriptors run out later."""
    _hasher()


def _hasher() -> "PasswordHasher":
    """Create the hasher, with the low-memory parameters of RFC 9106 section 4."""
    # Loading it takes a while, and most servers never see a password.
    from argon2 import PasswordHasher

    return PasswordHasher()


def _normal(password: str) -> str:
    """Normalise a password, so that it does not depend on the keyboard: RFC 8265."""
    return unicodedata.normalize("NFC", password)


def new_token() -> str:
    """Make a bearer token that nobody can guess."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """Return the hash of a token. Tokens are long and random, so a fast hash is secure."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
