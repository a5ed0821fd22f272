"""What clients saw: how long answers took, what was done, and what was not as it has to be."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

# So many different complaints are kept; those after them are only counted.
_MOST_COMPLAINTS: Final = 50


class Broken(Exception):
    """A client was not answered as it has to be.

    Args:
        what: what it was told instead.
    """


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took in an interval, in milliseconds.

    Args:
        count: how many there were.
        p50: the time that half of them took at most.
        p99: the time that all but one in a hundred took at most.
    """

    count: int
    p50: float
    p99: float


class Tally:
    """Count what happens; times are kept until the interval is over."""

    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        self.left_out: Counter[str] = Counter()
        self.complaints: list[str] = []
        self._seconds: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def took(self, dialect: str, call: str, seconds: float) -> None:
        """Put down how long an answer took."""
        self._seconds[dialect, call].append(seconds)

    def broke(self, kind: str, what: str) -> None:
        """Put down that a client was not answered as it has to be."""
        self.broken[kind] += 1
        if len(self.complaints) < _MOST_COMPLAINTS:
            self.complaints.append(f"{kind}: {what}")

    def interval(self) -> tuple[dict[str, Latency], dict[str, Latency]]:
        """Give the times since the last interval, by dialect and by call, and begin the next."""
        taken, self._seconds = self._seconds, defaultdict(list)
        calls = {" ".join(key): latency(seconds) for key, seconds in sorted(taken.items())}
        return by_dialect(taken), calls


def by_dialect(taken: Mapping[tuple[str, str], Iterable[float]]) -> dict[str, Latency]:
    """Put the times of all calls of a dialect together."""
    together: defaultdict[str, list[float]] = defaultdict(list)
    for (dialect, _), seconds in taken.items():
        together[dialect].extend(seconds)
    return {dialect: latency(seconds) for dialect, seconds in sorted(together.items())}


def latency(seconds: Iterable[float]) -> Latency:
    """Sum up how long some answers took, in seconds; there is at least one."""
    ordered = sorted(seconds)
    return Latency(len(ordered), _at(ordered, 0.50), _at(ordered, 0.99))


def _at(ordered: list[float], share: float) -> float:
    return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3)
