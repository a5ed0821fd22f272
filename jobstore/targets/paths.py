"""Whether a path stays below a prefix, however the server behind it reads the path.

A path is sent on byte for byte, and servers interpret it differently: they resolve dot segments
before or after decoding escapes, decode escapes once or twice, remove parameters (``..;x``), treat
a backslash as a slash, or merge slashes. So a segment that may lead upwards in any reading counts
as upwards, and only one that leads downwards in every reading counts as downwards.
"""

import re
from typing import Final
from urllib.parse import unquote_to_bytes

_SEPARATOR: Final = re.compile(rb"[/\\]")
# What ends the name of a segment; control characters and spaces at its end are cut off by some.
_PARAMETERS: Final = re.compile(rb"[;?#].*|[\x00-\x20]+$", re.DOTALL)
# Further spellings of a character: %u002e of IIS and Jetty, and overlong UTF-8.
_ODD_DOT: Final = re.compile(rb"%u002e|\xc0\xae", re.IGNORECASE)
_ODD_SLASH: Final = re.compile(rb"%u002f|%u005c|\xc0\xaf|\xc1\x9c", re.IGNORECASE)
# More layers of escapes than this are somebody's attempt to get through.
_LAYERS: Final = 8


def stays_below(prefix: str, path: str) -> bool:
    """Return whether a path stays below a prefix in every reading.

    Args:
        prefix: how the path begins, such as ``/api`` or ``/``.
        path: the path; its query, if any, is ignored.
    """
    path = path.partition("?")[0]
    # Only with one of these can it lead upwards.
    return not ("%" in path or ".." in path) or _descends(path[len(prefix.rstrip("/")) :])


def _descends(rest: str) -> bool:
    depth = 0
    for segment in rest.split("/"):
        plain = _unescaped(segment.encode("utf-8", "surrogateescape"))
        if plain is None:
            return False
        depth += _steps(plain)
        if depth < 0:
            return False
    return True


def _unescaped(segment: bytes) -> bytes | None:
    """Undo all layers of escapes; None if there are too many."""
    for _ in range(_LAYERS):
        undone = _ODD_SLASH.sub(b"/", _ODD_DOT.sub(b".", unquote_to_bytes(segment)))
        if undone == segment:
            return segment
        segment = undone
    return None


def _steps(segment: bytes) -> int:
    """Return how many levels a segment leads down at least; negative if it may lead up."""
    names = [_PARAMETERS.sub(b"", part) for part in _SEPARATOR.split(segment)]
    upwards = names.count(b"..")
    if upwards:
        return -upwards
    # Who cuts parameters off before anything else sees nothing of what follows the first.
    seen = _SEPARATOR.split(_PARAMETERS.sub(b"", segment))
    return int(any(name not in {b"", b"."} for name in seen))
