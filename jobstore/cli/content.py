"""Bodies: a look at their beginning, or all of them as they are."""

import codecs
import json
import sys
from base64 import b64encode
from typing import Any, Final

from rich.highlighter import JSONHighlighter
from rich.text import Text

from jobstore.cli.plain import printable
from jobstore.model.frozen import frozen
from jobstore.model.message import Body, body_size, chunks

# How much of a binary body is shown.
_BYTES_A_LINE: Final = 16
_LINES: Final = 4
_KEPT: Final = "\n\t"
_SIGNS: Final = range(0x20, 0x7F)  # of ASCII, those that can be shown


@frozen
class Excerpt:
    """The beginning of a body, or all of it.

    Args:
        data: the bytes that were read.
        size: how many there are.
    """

    data: bytes
    size: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return len(self.data) == self.size


async def excerpt(body: Body, most: int | None) -> Excerpt:
    """Read a body, up to a number of bytes or to its end."""
    size = body_size(body) or 0
    data = bytearray()
    async for chunk in chunks(body):
        data += chunk
        if most is not None and len(data) >= most:
            break
    return Excerpt(bytes(data[:most]), size)


async def write_raw(body: Body) -> None:
    """Write a body to the standard output as it is."""
    async for chunk in chunks(body):
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()


def as_json(part: Excerpt, *, in_hex: bool = False) -> dict[str, Any]:
    """Return a body for JSON: as text if it is some, in base64 if not, or in hexadecimal."""
    text = None if in_hex else _as_text(part)
    binary = part.data.hex() if in_hex else b64encode(part.data).decode()
    return {
        "body": binary if text is None else text,
        "body_encoding": "hex" if in_hex else "base64" if text is None else "text",
        "body_size": part.size,
        "body_truncated": not part.whole,
    }


def as_text(part: Excerpt, *, in_hex: bool = False) -> Text:
    """Write a body for people: JSON indented, binary as a few lines of bytes.

    Args:
        part: the body.
        in_hex: whether to write all that was read of it as bytes, whatever it is.
    """
    text = None if in_hex else _as_text(part)
    if text is None:
        return _dump(part, len(part.data) if in_hex else _LINES * _BYTES_A_LINE)
    indented = _indented(text) if part.whole else None
    if indented is None:
        shown = Text(printable(text.replace("\r\n", "\n").rstrip("\n"), _KEPT))
    else:
        shown = JSONHighlighter()(Text(printable(indented, _KEPT)))
    return shown if part.whole else shown + Text(f"\n… {_left(part)} more bytes", "dim")


def _as_text(part: Excerpt) -> str | None:
    if b"\0" in part.data:
        return None
    # A character that was cut in two at the end is left out.
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        return decoder.decode(part.data, final=part.whole)
    except UnicodeDecodeError:
        return None


def _indented(text: str) -> str | None:
    try:
        value = json.loads(text)
        if isinstance(value, dict | list):
            return json.dumps(value, indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        pass
    return None


def _dump(part: Excerpt, most: int) -> Text:
    shown = Text(f"{part.size:,} bytes", "dim")
    for start in range(0, min(len(part.data), most), _BYTES_A_LINE):
        line = part.data[start : start + _BYTES_A_LINE]
        letters = "".join(chr(byte) if byte in _SIGNS else "." for byte in line)
        shown.append(f"\n{start:08x}  {line.hex(' '):<47}  {letters}", "")
    return shown.append("\n…" if part.size > most else "", "dim")


def _left(part: Excerpt) -> str:
    return f"{part.size - len(part.data):,}"
