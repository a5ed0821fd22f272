"""Idempotency keys: a request that is sent twice with the same key is one job.

draft-ietf-httpapi-idempotency-key-header, "The Idempotency-Key HTTP Header Field": the field is a
quoted string (RFC 8941 section 3.3.3). Many clients leave the quotes out, so that is accepted too.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b, sha256
from typing import Final, Protocol

from jobstore.model.errors import KeyInvalid
from jobstore.model.message import Request, header

HEADER: Final = "Idempotency-Key"
_LONGEST: Final = 255

_STRING: Final = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_TOKEN: Final = re.compile(r"[0-9A-Za-z!#$%&'*+.^_`|~:/=@-]+")


class Digest(Protocol):
    """What a body is summed up in while it is received."""

    def update(self, data: bytes, /) -> None:
        """Take a piece of it."""

    def hexdigest(self) -> str:
        """Give the sum."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A submission under a key.

    Args:
        fingerprint: what tells its request from others.
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
        KeyInvalid: what is there is no key.
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
    """Give a key back that can be one.

    Raises:
        KeyInvalid: it is empty, too long, or has characters that no such field can have.
    """
    if not key.strip():
        raise KeyInvalid("an empty one")
    if len(key) > _LONGEST:
        raise KeyInvalid(f"one of more than {_LONGEST} characters")
    if not (key.isascii() and key.isprintable()):
        raise KeyInvalid("one with other than printable ASCII characters")
    return key


def digest() -> Digest:
    """Give an empty sum of a body."""
    return sha256()


def fingerprint(request: Request, body: Digest) -> str:
    """Tell a request from others: by its method, its target, its content type and its body.

    Args:
        body: the sum of its body.
    """
    content_type = header(request.headers, "content-type") or ""
    parts = (request.method, request.path, content_type, body.hexdigest())
    text = "\n".join(parts).encode("utf-8", "backslashreplace")
    return blake2b(text, digest_size=32).hexdigest()
