"""Bodies on a page: pretty, raw or as hex, and never more than a page can hold."""

import codecs
from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Final

from markupsafe import Markup, escape

from jobstore.dashboard.json_text import Piece, is_json, laid_out, looks_like_json
from jobstore.model import words
from jobstore.model.frozen import frozen
from jobstore.model.message import Body, Headers, body_size, chunks, header

# Of a body, so much is read.
MOST: Final = 64 * 1024
# So many characters it may have on the page: what is escaped gets longer.
_MOST_WRITTEN: Final = 96 * 1024
_MOST_HEX: Final = 16 * 1024
# Of what is no text, so much is shown unless all bytes are asked for.
_FEW_BYTES: Final = 512
_A_LINE: Final = 16
_SIGNS: Final = range(0x20, 0x7F)
_SPAN: Final = Markup('<span class="j-{kind}">{text}</span>')


class Look(StrEnum):
    """How a body is shown."""

    PRETTY = "pretty"
    RAW = "raw"
    HEX = "hex"


@frozen(kw_only=True)
class Shown:
    """A body on a page.

    Args:
        text: the shown text.
        size: the length of the body in bytes.
        note: how much of the body is shown, or why it looks like this.
        bytes: whether it is shown as hex.
    """

    text: Markup
    size: int
    note: str
    bytes: bool = False


async def look_at(body: Body, headers: Headers, look: Look) -> Shown:
    """Read the beginning of a body, and return how to show it."""
    size = body_size(body) or 0
    return _shown(await _beginning(body), size, headers, look)


async def _beginning(body: Body) -> bytes:
    read = bytearray()
    async for chunk in chunks(body):
        read += chunk
        if len(read) >= MOST:
            break
    return bytes(read[:MOST])


def _shown(data: bytes, size: int, headers: Headers, look: Look) -> Shown:
    whole = len(data) == size
    text = None if look is Look.HEX else _text(data, whole=whole)
    if text is None:
        most = _MOST_HEX if look is Look.HEX else _FEW_BYTES
        why = "" if look is Look.HEX or not data else _why_bytes(headers)
        shown = min(len(data), most)
        return Shown(text=_hex(data[:shown]), size=size, note=_note(why, shown, size), bytes=True)
    if look is Look.PRETTY and (is_json(text) if whole else looks_like_json(text)):
        written, left = _limited(_coloured(laid_out(text)))
        part = len(data) if not left else 0
        return Shown(text=written, size=size, note=_note("", part, size))
    written, used = _plain(text)
    part = len(data) if used == len(text) else len(text[:used].encode())
    return Shown(text=written, size=size, note=_note("", part, size))


def _text(data: bytes, *, whole: bool) -> str | None:
    """Decode bytes as UTF-8; a character cut off at the end is left out."""
    if b"\0" in data:
        return None
    try:
        return codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return None


def _why_bytes(headers: Headers) -> str:
    coding = header(headers, "content-encoding")
    return f"compressed ({coding})" if coding else "no text in UTF-8"


def _note(why: str, shown: int, size: int) -> str:
    """Describe how much of a body is shown.

    Args:
        shown: how many bytes; 0 if unknown.
    """
    if shown == size:
        part = ""
    elif shown:
        part = f"first {words.size(shown)} of {words.size(size)}"
    else:
        part = f"the beginning of {words.size(size)}"
    return "; ".join(each for each in (why, part) if each)


def _plain(text: str) -> tuple[Markup, int]:
    """Return text unchanged up to the limit, and its number of characters."""
    used = len(text)
    written = escape(words.shown(text))
    while len(written) > _MOST_WRITTEN:
        used = used * _MOST_WRITTEN // len(written)
        written = escape(words.shown(text[:used]))
    return written, used


def _coloured(pieces: Iterable[Piece]) -> Iterator[Markup]:
    for kind, text in pieces:
        yield _SPAN.format(kind=kind, text=words.shown(text)) if kind else escape(text)


def _limited(pieces: Iterable[Markup]) -> tuple[Markup, bool]:
    """Join pieces up to the limit of a page; return whether any are left."""
    written, length = list[Markup](), 0
    for piece in pieces:
        length += len(piece)
        if length > _MOST_WRITTEN:
            return Markup("").join(written), True
        written.append(piece)
    return Markup("").join(written), False


def _hex(data: bytes) -> Markup:
    lines = [data[start : start + _A_LINE] for start in range(0, len(data), _A_LINE)]
    return Markup("\n").join(
        escape(f"{at * _A_LINE:08x}  {line.hex(' '):<47}  {_letters(line)}")
        for at, line in enumerate(lines)
    )


def _letters(line: bytes) -> str:
    return "".join(chr(byte) if byte in _SIGNS else "." for byte in line)
