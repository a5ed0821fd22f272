"""PostgreSQL's wire format: texts, and lists that are packed at once.

Text in PostgreSQL cannot contain NUL; it is escaped when stored and in searches. All
ways to the database encode their texts here, since the wire would cut them off at a NUL.

The driver encodes a list as text, value by value, searching each for characters to escape;
measured, that took a third of the time that a batch spent in Python. The form is that of
``array_recv``: https://doxygen.postgresql.org/arrayfuncs_8c.html
"""

from collections.abc import Callable, Sequence
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
    """Pack values of a type, any of which may be None."""
    match kind:
        case Text():
            return Texts(_packed(25, values, text))
        case LargeBinary():
            return Blobs(_packed(17, values, bytes))
        case Double() | Numeric():
            return Fractions(_packed(701, values, _fraction))
    numbers = [8] * (2 * len(values))
    numbers[1::2] = values
    try:
        return Numbers(_head(20, len(values)) + pack("!" + "iq" * len(values), *numbers))
    except error:  # some are None
        return Numbers(_packed(20, values, _number))


def _packed(kind: int, values: Sequence[Any], write: Callable[[Any], bytes]) -> bytes:
    parts = [b""]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            data = write(value)
            parts += (_length(len(data)), data)
    parts[0] = _head(kind, len(values), nulls=len(parts) <= 2 * len(values))
    return b"".join(parts)


def _head(kind: int, count: int, *, nulls: bool = False) -> bytes:
    """Return the head of a packed list: one dimension, and the type of its members."""
    return pack("!iiiii", 1, nulls, kind, count, 1)


def _number(value: int) -> bytes:
    return pack("!q", value)


def _fraction(value: float) -> bytes:
    return pack("!d", value)
