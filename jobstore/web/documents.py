"""JSON from clients, checked so that it can be stored, sent again and parsed without blocking.

Parsing holds the interpreter, in whichever thread it runs, and may use thirty times the memory of
the document: ``{},{},...`` of 57 MiB takes 1.6 GiB. So the items are counted first, which costs
about as much as copying the document.
"""

import json
import math
import re
from typing import Any, Final, NoReturn

# How many strings, members and items a document may have: some 10 ms of work.
PIECES: Final = 10_000

# Some write this byte order mark before a document: RFC 8259 section 8.1.
_MARK: Final = "\ufeff"
# The escape of a surrogate: half of a character, which no encoding can have alone.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Unacceptable(ValueError):
    """A refused document, although it may be valid JSON; the message says what was expected."""


class TooManyPieces(Unacceptable):
    """The document has too many members and items."""


class Unstorable(Unacceptable):
    """The document contains something that cannot be stored or sent."""


def parse(body: bytes, most: int = PIECES) -> object:
    """Read JSON in UTF-8, as RFC 8259 section 8.1 has it.

    Args:
        body: the document.
        most: how many strings, members and items it may have.

    Raises:
        TooManyPieces: it has more.
        Unstorable: it contains something that cannot be stored or sent.
        ValueError: it is not valid JSON.
    """
    if len(body) > most and _piece_count(body, most) > most:  # each of them has a byte at least
        raise TooManyPieces(f"expected at most {most} members and items")
    try:
        value: object = loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _piece_count(body: bytes, most: int) -> int:
    """Count the strings in a document, and the commas and opening brackets outside of them.

    Above the allowed number, the count is not exact.
    """
    # Backslashes stand in strings only. Two are one that escapes nothing, and have to go first.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = bare.count(b'"')
    if quotes > 2 * most:
        return quotes
    outside = b"".join(bare.split(b'"')[::2])
    return quotes // 2 + sum(outside.count(sign) for sign in (b",", b"[", b"{"))


def loads(body: bytes) -> Any:
    """Read a document in UTF-8, as strictly as RFC 8259; Python's own reader is more lenient.

    Raises:
        Unstorable: it contains NaN, 1e999 or half of a surrogate pair.
        ValueError: it is not valid JSON.
        RecursionError: it is nested too deeply.
    """
    text = body.decode().removeprefix(_MARK)
    value = _DECODER.decode(text)
    if _SURROGATE.search(text):
        _check_characters(value)
    return value


def _check_characters(value: object) -> None:
    """Refuse a document with half of a surrogate pair in a name or string."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Unstorable("expected whole characters, not half of a surrogate pair") from None


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise Unstorable("expected numbers of a size that can be stored")
    return value


def _no_number(_: str) -> NoReturn:
    raise Unstorable("expected numbers, not NaN or Infinity")


_DECODER: Final = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)
