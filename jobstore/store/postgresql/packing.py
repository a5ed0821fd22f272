"""PostgreSQL's wire format: texts, and lists that are packed at once.

Text in PostgreSQL cannot contain NUL; it is escaped when stored and in searches. All
ways to the database encode their texts here, since the wire would cut them off at a NUL.

The driver encodes a list as text, value by value, searching each for characters to escape;
measured, that took a third of the time that a batch spent in Python. The form is that of
``array_recv``: https://doxygen.postgresql.org/arrayfuncs_8c.html
"""

from collections.abc import Callable, Sequence
from functools import partial
from struct import Struct, error, pack
from typing import Any, Final

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Double, LargeBinary, Numeric, Text
from sqlalchemy.types import TypeEngine

from jobstore.model.frozen import frozen
from jobstore.store.codec import writable

_length: Final = Struct("!i").pack
_NULL: Final = _length(-1)
# PostgreSQL itself looks at the length of each member; this has only to be 0 or 1.
_MAY_BE_NULL: Final = 1


@frozen
class Packed:
    """A list of values, ready for the wire."""

    data: bytes


class Numbers(Packed):
    """Whole numbers of 64 bits."""


class Texts(Packed):
    """Texts."""


class Blobs(Packed):
    """Byte strings."""


class Fractions(Packed):
    """Floating-point numbers."""


class _TextDumper(StrDumperUnknown):
    def dump(self, obj: str) -> Buffer | None:
        return super().dump(writable(obj) if "\0" in obj else obj)


class _PackedDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Packed) -> bytes:
        return obj.data


class _NumbersDumper(_PackedDumper):
    oid = 1016


class _TextsDumper(_PackedDumper):
    oid = 1009


class _BlobsDumper(_PackedDumper):
    oid = 1001


class _FractionsDumper(_PackedDumper):
    oid = 1022


def text(value: str) -> bytes:
    """Encode a text."""
    return (writable(value) if "\0" in value else value).encode()


def register_texts(context: AdaptContext) -> None:
    """Let a connection accept texts with a NUL."""
    context.adapters.register_dumper(str, _TextDumper)


def register(context: AdaptContext) -> None:
    """Let a connection accept packed lists."""
    for kind, dumper in (
        (Numbers, _NumbersDumper),
        (Texts, _TextsDumper),
        (Blobs, _BlobsDumper),
        (Fractions, _FractionsDumper),
    ):
        context.adapters.register_dumper(kind, dumper)


def packed(kind: TypeEngine[Any], values: Sequence[Any]) -> Packed:
    """Pack values of a type, at least one; any of them may be None."""
    match kind:
        case Text():
            return Texts(_packed(25, values, _text))
        case LargeBinary():
            return Blobs(_packed(17, values, _blob))
        case Double() | Numeric():
            return Fractions(_packed(701, values, _fraction))
    return Numbers(_packed(20, values, _number))


def _packed(kind: int, values: Sequence[Any], member: Callable[[Any], bytes]) -> bytes:
    count, first = len(values), values[0]
    if values.count(first) == count:  # as in most columns of what arrives together
        return _head(kind, count) + (_NULL if first is None else member(first)) * count
    try:
        return _head(kind, count) + b"".join(map(member, values))
    except (TypeError, error):  # some are None
        members = [_NULL if value is None else member(value) for value in values]
        return _head(kind, count) + b"".join(members)


def _head(kind: int, count: int) -> bytes:
    """Return the head of a packed list: one dimension, and the type of its members."""
    return pack("!iiiii", 1, _MAY_BE_NULL, kind, count, 1)


def _text(value: str) -> bytes:
    return _blob(text(value))


def _blob(value: bytes) -> bytes:
    return _length(len(value)) + value


# With the length of each.
_number: Final = partial(Struct("!iq").pack, 8)
_fraction: Final = partial(Struct("!id").pack, 8)
