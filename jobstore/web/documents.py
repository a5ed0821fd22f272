"""JSON that strangers wrote: as large, and in as many pieces, as may be taken apart at once.

Parsing holds the interpreter, whichever thread it runs in, and makes up to thirty times as much of
what was sent: ``{},{},...`` of 57 MiB takes 1.6 GiB. The pieces are counted first, which costs
about as much as copying the document.
"""

from typing import Final

from jobstore.web import json_text

# How many strings, members and items a document may have: some 10 ms of work.
PIECES: Final = 10_000


class TooManyPieces(ValueError):
    """A document falls into too many pieces; the message says how many it may have."""


def parse(body: bytes, most: int = PIECES) -> object:
    """Read JSON in UTF-8, as RFC 8259 section 8.1 has it.

    Args:
        body: the document.
        most: how many strings, members and items it may have.

    Raises:
        TooManyPieces: it falls into more.
        json_text.Unstorable: it has what cannot be stored or sent.
        ValueError: it is none.
    """
    if pieces(body, most) > most:
        raise TooManyPieces(f"expected at most {most} members and items")
    try:
        value: object = json_text.loads(body)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def pieces(body: bytes, most: int) -> int:
    """Count the strings in a document, and the commas and openings outside of them.

    The count is not exact where it is above the most that is allowed.
    """
    # Backslashes stand in strings only. Two are one that escapes nothing, and have to go first.
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = bare.count(b'"')
    if quotes > 2 * most:
        return quotes
    outside = b"".join(bare.split(b'"')[::2])
    return quotes // 2 + sum(outside.count(sign) for sign in (b",", b"[", b"{"))
