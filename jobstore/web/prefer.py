"""The ``Prefer`` header: RFC 7240."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from jobstore.model.message import Headers

HEADER: Final = "Prefer"
# Nobody is kept waiting for longer, whatever they prefer.
LONGEST_WAIT: Final = 3600

# RFC 7240 section 2: a comma separates preferences, unless it stands in a quoted string.
_PREFERENCE: Final = re.compile(r"""(?:[^,"]++|"(?:[^"\\]++|\\.)*+"?)++""", re.DOTALL)
# Of all that a request prefers, as much is looked at: every request is, whoever sends it.
_MOST_CHARACTERS: Final = 8192
_MOST_PREFERENCES: Final = 100
_WAIT: Final = re.compile(r'wait\s*=\s*("?)([0-9]{1,18})\1\s*(?:;.*)?', re.IGNORECASE | re.DOTALL)
# These ask jobstore; any other preference is the target's business.
_OURS: Final = frozenset({"respond-async", "wait"})


def preferences(value: str) -> list[str]:
    """Split a ``Prefer`` header into its preferences."""
    return [part.strip() for part in _PREFERENCE.findall(value) if part.strip()]


def _looked_at(fields: Iterable[str]) -> Iterator[str]:
    """Return the first preferences of a request."""
    left = _MOST_CHARACTERS
    found = 0
    for value in fields:
        for match in _PREFERENCE.finditer(value[:left]):
            if found == _MOST_PREFERENCES:
                return
            found += 1
            yield match[0].strip()
        left -= min(left, len(value))


def respond_async(fields: Sequence[str]) -> bool:
    """Return whether a job is asked for.

    Args:
        fields: the values of a request's ``Prefer`` headers.
    """
    return bool(fields) and any(_name(each) == "respond-async" for each in _looked_at(fields))


def wait(fields: Iterable[str]) -> int | None:
    """Return how many seconds a client is willing to wait; None if it does not say.

    Args:
        fields: the values of a request's ``Prefer`` headers; the first with a ``wait`` counts.
    """
    for each in _looked_at(fields):
        if _name(each) == "wait":
            match = _WAIT.fullmatch(each)
            return min(int(match[2]), LONGEST_WAIT) if match else None
    return None


def applied(seconds: int | None, *others: str) -> Headers:
    """Return the header that says which preferences were applied, if any.

    Args:
        seconds: how long the client was willing to wait, or None.
        others: further preferences.
    """
    heeded = [*others, *([] if seconds is None else [f"wait={seconds}"])]
    return (("Preference-Applied", ", ".join(heeded)),) if heeded else ()


def strip(headers: Headers) -> Headers:
    """Return the headers without the preferences that are meant for jobstore."""
    stripped = ((name, _strip(name, value)) for name, value in headers)
    return tuple((name, value) for name, value in stripped if value is not None)


def _name(preference: str) -> str:
    return re.split(r"[=;\s]", preference, maxsplit=1)[0].lower()


def _strip(name: str, value: str) -> str | None:
    """Return a header's value without our preferences, or None if nothing is left of it."""
    if name.lower() != "prefer" or len(value) > _MOST_CHARACTERS:
        return value
    return ", ".join(p for p in preferences(value) if _name(p) not in _OURS) or None
