"""JSON with one member per line, as in Datameer's documentation: scripts use grep on it."""

import json
from collections.abc import Iterable


def laid_out(value: object, margin: str = "\n") -> str:
    """Write a value exactly as ``json.dumps(value, indent=2)`` does.

    That one leaves some thirty objects of garbage per call, which only a collection frees. This one
    leaves none: what is on one line is written by the encoder in C.

    Args:
        margin: the end of a line, and the indent of the next one.
    """
    inner = margin + "  "
    match value:
        case dict():
            members = (
                f"{json.dumps(name)}: {laid_out(each, inner)}" for name, each in value.items()
            )
            return _enclosed("{", members, "}", margin)
        case list():
            return _enclosed("[", (laid_out(each, inner) for each in value), "]", margin)
    return json.dumps(value)


def _enclosed(opening: str, pieces: Iterable[str], closing: str, margin: str) -> str:
    lines = f",{margin}  ".join(pieces)
    return f"{opening}{margin}  {lines}{margin}{closing}" if lines else opening + closing
