"""Pretty JSON made from its text: numbers are never parsed, so none is changed."""

import json
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_TOKEN: Final = re.compile(
    r"""[ \t\r\n]*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
        |(?P<number>-?[0-9][0-9.eE+-]*)
        |(?P<word>true|false|null)
        |(?P<mark>[\[\]{},:])
    )""",
    re.VERBOSE | re.DOTALL,
)
_COLON: Final = re.compile(r"[ \t\r\n]*:")
_OPENING: Final = frozenset("[{")
_CLOSING: Final = frozenset("]}")
_SPACED: Final = {":": ": "}
_VALUE: Final = r'(?:"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null)'
_FLAT: Final = re.compile(rf"\[\s*{_VALUE}(?:\s*,\s*{_VALUE})*\s*\]")
_SHORT: Final = 72
_INDENT: Final = "  "


class Piece(NamedTuple):
    """A piece of the text.

    Args:
        kind: key, string, number or word; "" for everything without a colour.
    """

    kind: str
    text: str


def is_json(text: str) -> bool:
    """Return whether a text is a JSON object or array."""
    if text.lstrip()[:1] not in {"{", "["}:
        return False
    try:
        json.loads(text, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


def looks_like_json(text: str) -> bool:
    """Return whether a text is the beginning of a JSON object or array."""
    return re.match(r'\s*(?:\{\s*["}]|\[\s*["\[\]{tfn0-9-])', text) is not None


def laid_out(text: str) -> Iterator[Piece]:
    """Format JSON with a line for each member and item, as far as the text goes.

    Short arrays of plain values, and empty ones, stay on one line.
    """
    at, depth, flat, opened = 0, 0, 0, False
    while match := _TOKEN.match(text, at):
        kind = match.lastgroup or ""
        word, closes, starts = match[kind], match[kind] in _CLOSING, match.start(kind)
        at = match.end()
        depth -= closes and depth > 0
        if opened != closes and starts >= flat:
            yield _line(depth)
        opened = word in _OPENING
        depth += opened
        if word == "[" and (line := _FLAT.match(text, starts)) and len(line[0]) <= _SHORT:
            flat, opened = line.end(), False
        if kind == "string" and _COLON.match(text, at):
            kind = "key"
        yield Piece("" if kind == "mark" else kind, _SPACED.get(word, word))
        if word == ",":
            yield _line(depth) if at >= flat else Piece("", " ")
    if rest := text[at:].strip():
        yield Piece("", rest)


def _line(depth: int) -> Piece:
    return Piece("", "\n" + _INDENT * depth)
