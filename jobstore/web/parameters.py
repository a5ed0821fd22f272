"""Ids and counts in paths, queries and headers."""

import re
from typing import Final

from multidict import MultiMapping

from jobstore.model.errors import QueryInvalid

_ID: Final = re.compile(r"[1-9][0-9]*")
_COUNT: Final = re.compile(r"[0-9]{1,18}")
_DIGITS: Final = 20  # a number of as many is larger than any id


def id_of(text: str) -> int | None:
    """Read an id; None if it is not a possible id."""
    return int(text[:_DIGITS]) if _ID.fullmatch(text) else None


def value_of(query: MultiMapping[str], name: str) -> str | None:
    """Return the value of a parameter; None if the query does not have it.

    Raises:
        QueryInvalid: it is repeated: which of its values is meant cannot be known.
    """
    values = query.getall(name, [])
    if len(values) > 1:
        raise QueryInvalid(f"{name}: expected one value")
    return values[0] if values else None


def count_of(query: MultiMapping[str], name: str, default: int) -> int:
    """Read a count or offset; return the default if the query does not have it.

    Raises:
        QueryInvalid: it is not a number, or repeated.
    """
    text = value_of(query, name)
    if text is None:
        return default
    if not is_count(text):
        raise QueryInvalid(f"{name}: expected a whole number")
    return int(text)


def is_count(text: str) -> bool:
    """Return whether text is a whole number that can be stored."""
    return _COUNT.fullmatch(text) is not None
