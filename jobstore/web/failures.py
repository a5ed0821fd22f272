"""Failed logins, counted by name and by address: they delay the next ones."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final, TypeVar

from jobstore.model.frozen import frozen

# How long a login is held up after one that has failed: twice as long each time, up to a limit.
# Many people may share an address, so that it has some for free.
FIRST_DELAY: Final = 0.25
FREE_BY_ADDRESS: Final = 10
LONGEST_DELAY: Final = 8.0
# For how long, and for how many names and addresses at most, failed logins are counted.
FORGIVEN_SECONDS: Final = 600.0
COUNTED: Final = 10_000
COUNT_LIMIT: Final = 32
# No account has a longer name, so what is cut here is nobody's.
LONGEST_NAME: Final = 65

K = TypeVar("K")
V = TypeVar("V")


@frozen
class _Count:
    """Logins that have failed.

    Args:
        count: how many.
        until: until when they delay the next login.
    """

    count: int
    until: float


class Failures:
    """Count failed logins by name and by address, to delay the next ones.

    Args:
        clock: the monotonic time, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._counts: OrderedDict[tuple[str, str], _Count] = OrderedDict()

    def hold_up(self, name: str, address: str) -> float:
        """Return by how many seconds to delay a login.

        The login counts as failed until it is forgiven, so sending many guesses at once does not
        help.
        """
        by_name = self._add("name", name[:LONGEST_NAME])
        worst = max(by_name, self._count("address", address) - FREE_BY_ADDRESS)
        return min(LONGEST_DELAY, FIRST_DELAY * 2 ** (worst - 1)) if worst > 0 else 0.0

    def failed(self, address: str) -> None:
        """Count a failed login against the address that it came from."""
        self._add("address", address)

    def forgive(self, name: str) -> None:
        """Reset the failures of a name: its owner has logged in.

        Those of the address remain: otherwise, the owner of one account could go on guessing
        others.
        """
        self._counts.pop(("name", name[:LONGEST_NAME]), None)

    def _count(self, kind: str, source: str) -> int:
        found = self._counts.get((kind, source))
        return found.count if found and found.until > self._clock() else 0

    def _add(self, kind: str, source: str) -> int:
        """Count one more; return how many there were before."""
        before = self._count(kind, source)
        count = _Count(min(before + 1, COUNT_LIMIT), self._clock() + FORGIVEN_SECONDS)
        self._counts[kind, source] = count
        self._counts.move_to_end((kind, source))
        cut(self._counts, COUNTED)
        return before


def cut(remembered: OrderedDict[K, V], size: int) -> None:
    """Drop the oldest entries, so that clients cannot fill the memory."""
    while len(remembered) > size:
        remembered.popitem(last=False)
