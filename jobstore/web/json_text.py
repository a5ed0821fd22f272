"""JSON as clients send it: what is read here can be stored, and sent again."""

import json
import math
import re
from typing import Any, Final, NoReturn

# The escape of a surrogate: half of a character, which no encoding can have alone.
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")


class Unstorable(ValueError):
    """What was read cannot be stored or sent; the message says what was expected instead."""


def loads(body: bytes) -> Any:
    """Read a document in UTF-8: RFC 8259, without the freedoms that Python's reader takes.

    Raises:
        Unstorable: it has something like NaN, 1e999 or half of a surrogate pair.
        ValueError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    text = body.decode("utf-8-sig")
    value = _DECODER.decode(text)
    if _SURROGATE.search(text):
        _check_characters(value)
    return value


def _check_characters(value: object) -> None:
    """Refuse a document that has half of a surrogate pair in a name or in a string."""
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
