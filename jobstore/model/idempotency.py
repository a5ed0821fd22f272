"""Idempotency keys: a request that is sent twice with the same key is one job.

draft-ietf-httpapi-idempotency-key-header, "The Idempotency-Key HTTP Header Field": the field is a
quoted string (RFC 8941 section 3.3.3). Many clients leave the quotes out, so that is accepted too.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b, sha256
from typing import Final, Protocol

from jobstore.model.errors import KeyInvalid
from jobstore.model.frozen import frozen
from jobstore.model.message import Request, header

HEADER: Final = "Idempotency-Key"
_LONGEST: Final = 255

_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN: Final = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~:/=@-]+")


class Digest(Protocol):
    """A hash of a body, updated while the body is received."""

    def update(self, data: bytes, /) -> None:
        """Add a piece of the body."""

    def hexdigest(self) -> str:
        """Return the hash as text."""


@frozen
class Keyed:
    """A submission under a key.

    Args:
        fingerprint: identifies its request.
    """

    key: str
    fingerprint: str


def key_of(fields: Sequence[str]) -> str | None:
    """Read the key of a request.

    Args:
        fields: the values of its ``Idempotency-Key`` fields.

    Returns:
        the key, or None if there is none.

    Raises:
        KeyInvalid: the field is not a valid key.
    """
    if not fields:
        return None
    if len(fields) > 1:
        raise KeyInvalid("several")
    text = fields[0].strip(" \t")
    quoted = _STRING.fullmatch(text)
    if quoted:
        return checked(re.sub(r"\\(.)", r"\1", quoted[1]))
    if not _TOKEN.fullmatch(text):
        raise KeyInvalid("something else")
    return checked(text)


def checked(key: str) -> str:
    """Return a key if it is valid.

    Raises:
        KeyInvalid: it is empty, too long, or contains characters that the field does not allow.
    """
    if not key.strip():
        raise KeyInvalid("an empty one")
    if len(key) > _LONGEST:
        raise KeyInvalid(f"one of more than {_LONGEST} characters")
    if not (key.isascii() and key.isprintable()):
        raise KeyInvalid("one with characters other than printable ASCII")
    return key


def digest() -> Digest:
    """Return the hash of an empty body, to be updated."""
    return sha256()


def fingerprint(request: Request, body: Digest) -> str:
    """Return what identifies a request: a hash of its method, target, content type and body.

    Args:
        body: the hash of its body.
    """
    content_type = header(request.headers, "content-type") or ""
    parts = (request.method, request.path, content_type, body.hexdigest())
    text = "\n".join(parts).encode("utf-8", "backslashreplace")
    return blake2b(text, digest_size=32).hexdigest()
