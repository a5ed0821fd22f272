"""What was probably meant by a name that nobody knows."""

from collections.abc import Iterable
from typing import Final

# How much of the name is compared: a stranger may send any, and it takes long with a long one.
_LONGEST: Final = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name that was probably meant; there is at least one."""
    from difflib import get_close_matches  # for an error only

    return get_close_matches(name[:_LONGEST], known, n=1, cutoff=0.0)[0]
