"""Encode and decode records: JSON, Avro binary, and Avro compressed with Snappy.

Whatever lengths and counts a client claims, never more is read than it has sent, and never more
memory is used than a limit allows.
"""

import json
import json.encoder
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any, Final, cast

from jobstore.dialects.kinetica.records import WRAPPER, AvroType, Form, Record, RequestInvalid
from jobstore.web import documents, late

if TYPE_CHECKING:
    from fastavro.types import Schema

# The largest body that is taken apart or put together here, in bytes.
LARGEST: Final = 8 * 2**20
# Into how many pieces a record may fall. Each costs time and room: a long has one for each byte,
# an entry of a map at least two, whatever is in it.
_PIECES: Final = 100_000

# Into how many a record in JSON may fall: ids by the thousand, and their strings.
_MOST_IN_JSON: Final = 25_000

_NUMBER: Final = re.compile(r"-?[0-9]{1,100}")
_MORE: Final = 0x80  # what all bytes of a varint have but the last one
_LONGEST_LENGTH: Final = 5  # bytes of the length before what is compressed, a varint of 32 bits


class Encoding(StrEnum):
    """The encodings of requests."""

    __hash__ = str.__hash__  # in C: one is looked up for each job

    JSON = "application/json"
    AVRO = "application/octet-stream"
    SNAPPY = "application/x-snappy"

    @property
    def answer(self) -> str:
        """The content type of the answer: no client decompresses one."""
        return Encoding.JSON if self is Encoding.JSON else Encoding.AVRO


# curl says that a body is a form unless it is told otherwise, and browsers say that it is text.
_ENCODINGS: Final[Mapping[str, Encoding]] = {
    **{encoding.value: encoding for encoding in Encoding},
    "": Encoding.JSON,
    "text/plain": Encoding.JSON,
    "application/x-www-form-urlencoded": Encoding.JSON,
}

_MISSING: Final[Mapping[AvroType, Any]] = {
    AvroType.STRING: "",
    AvroType.BYTES: b"",
    AvroType.LONG: 0,
    AvroType.LONGS: [],
    AvroType.MAP: {},
}
_EXPECTED: Final[Mapping[AvroType, str]] = {
    AvroType.STRING: "a string",
    AvroType.BYTES: "a string with one character for each byte, U+0000 to U+00FF",
    AvroType.LONG: "a whole number",
    AvroType.LONGS: "an array of whole numbers",
    AvroType.MAP: "an object whose members are strings",
}


def media_type(content_type: str | None) -> str:
    """Return a content type without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def encoding_of(content_type: str | None) -> Encoding:
    """Return the encoding of a request.

    Raises:
        RequestInvalid: it is unknown.
    """
    try:
        return _ENCODINGS[media_type(content_type)]
    except KeyError:
        expected = ", ".join(Encoding)
        raise RequestInvalid(f"unknown Content-Type: expected one of {expected}") from None


def decode(encoding: Encoding, form: Form, body: bytes, limit: int = LARGEST) -> Record:
    """Decode the record of a request, up to a number of decompressed bytes.

    Raises:
        RequestInvalid: the body is not such a record.
    """
    match encoding:
        case Encoding.JSON:
            return _from_json(form, body)
        case Encoding.AVRO:
            return from_avro(form, body)
        case Encoding.SNAPPY:
            return from_avro(form, decompress(body, limit))


def wrapped(encoding: Encoding, form: Form, record: Record) -> bytes:
    """Return a successful answer, encoded."""
    if encoding is Encoding.JSON:
        return _wrapper_in_json("OK", "", form.name, "", _json(record))
    return _wrapper_in_avro("OK", "", form.name, to_avro(form, record), "")


def wrapped_error(encoding: Encoding, message: str) -> bytes:
    """Return an error as an answer, encoded."""
    if encoding is Encoding.JSON:
        return _wrapper_in_json("ERROR", message, "none", "", "")
    return _wrapper_in_avro("ERROR", message, "none", b"", "")


def _wrapper_in_avro(*members: str | bytes) -> bytes:
    return to_avro(WRAPPER, dict(zip(WRAPPER.members, members, strict=True)))


# --- JSON ---------------------------------------------------------------------------------------


def _characters(value: bytes) -> str:
    """Return bytes as text, one character for each byte."""
    return value.decode("latin-1")


_json: Final = json.JSONEncoder(separators=(",", ":"), default=_characters).encode
# All members of a wrapper are text, so it takes no encoder to write one.
_quoted: Final = json.encoder.encode_basestring_ascii
_WRAPPER: Final = "{" + ",".join(f"{_quoted(name)}:%s" for name in WRAPPER.members) + "}"


def _wrapper_in_json(*members: str) -> bytes:
    return (_WRAPPER % tuple(map(_quoted, members))).encode()


def _from_json(form: Form, body: bytes) -> Record:
    try:
        value = documents.parse(body, _MOST_IN_JSON)
    except documents.Unacceptable as error:
        raise RequestInvalid(f"the body: {error}") from None
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise RequestInvalid("the body: expected a JSON object")
    return {name: _member(name, kind, value.get(name)) for name, kind in form.members.items()}


def _member(name: str, kind: AvroType, value: object) -> Any:
    """Read a member, which clients may leave out."""
    if value is None:
        return _MISSING[kind]
    try:
        return _READ[kind](value)
    except ValueError:
        raise RequestInvalid(f"{name}: expected {_EXPECTED[kind]}") from None


def _string(value: object) -> str:
    if isinstance(value, str):
        value.encode()  # JSON may hold halves of characters, which are no text
        return value
    raise ValueError


def _bytes(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("latin-1")
    raise ValueError


def _number(value: object) -> int:
    """Read a number, possibly in a string: not every client can write 64 bits as a number."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise ValueError


def _numbers(value: object) -> list[int]:
    if isinstance(value, list):
        return [_number(item) for item in value]
    raise ValueError


def _map(value: object) -> dict[str, str]:
    if isinstance(value, dict):
        return {_string(key): _string(of) for key, of in value.items()}
    raise ValueError


_READ: Final[Mapping[AvroType, Callable[[object], Any]]] = {
    AvroType.STRING: _string,
    AvroType.BYTES: _bytes,
    AvroType.LONG: _number,
    AvroType.LONGS: _numbers,
    AvroType.MAP: _map,
}


# --- Avro ---------------------------------------------------------------------------------------


class _Bounded:
    """A body that is read in pieces, and never beyond its end."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._pieces = 0

    @property
    def left(self) -> int:
        return len(self._body) - self._at

    def read(self, size: int) -> bytes:
        """Read exactly so many bytes.

        Raises:
            EOFError: there are not as many, or it was read too often.
        """
        self._pieces += 1
        if not 0 <= size <= self.left or self._pieces > _PIECES:
            raise EOFError
        self._at += size
        return self._body[self._at - size : self._at]

    def value(self, schema: "Schema") -> object:
        """Read a value, or return None if there is none."""
        # Here and below: no server loads what none of its clients speaks.
        late.load("fastavro")
        from fastavro import schemaless_reader

        try:
            return schemaless_reader(cast("IO[bytes]", self), schema, None)  # all it does is read
        except (EOFError, ValueError, OverflowError):
            return None


def from_avro(form: Form, body: bytes) -> Record:
    """Decode a record in Avro binary.

    Raises:
        RequestInvalid: the body is not exactly one such record.
    """
    reader = _Bounded(body)
    record = reader.value(form.schema)
    if not isinstance(record, dict) or reader.left:
        raise RequestInvalid(f"the body: expected {form.name} in Avro binary, and nothing else")
    return record


def first_string(body: bytes) -> str | None:
    """Decode the first string of a record, which may be cut off after it; None without it."""
    found = _Bounded(body).value({"type": "string"})
    return found if isinstance(found, str) else None


def to_avro(form: Form, record: Record) -> bytes:
    """Encode a record in Avro binary."""
    late.load("fastavro")
    from fastavro import schemaless_writer

    written = BytesIO()
    schemaless_writer(written, form.schema, dict(record))
    return written.getvalue()


# --- Snappy -------------------------------------------------------------------------------------


def decompress(body: bytes, limit: int = LARGEST) -> bytes:
    """Decompress a raw block of Snappy.

    https://github.com/google/snappy/blob/main/format_description.txt

    Raises:
        RequestInvalid: it is invalid, or its content too large.
    """
    late.load("cramjam")
    import cramjam

    if _announced(body) > limit:
        raise RequestInvalid(f"Snappy: expected at most {limit} bytes once decompressed")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError:
        raise RequestInvalid("Snappy: expected one raw block, without framing") from None


def _announced(body: bytes) -> int:
    """Read the length of a block: a varint at its beginning."""
    length = 0
    for place, byte in enumerate(body[:_LONGEST_LENGTH]):
        length |= (byte & 0x7F) << (7 * place)
        if not byte & _MORE:
            break
    return length
