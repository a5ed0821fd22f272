"""Counting at almost no cost: values are put on a list, and sorted into buckets later.

What is counted happens many times per job, between two of its steps. So a value is appended to a
list, which is one call in C. Later, thousands of values at once are sorted in (`fold`).
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Tallies(Generic[K]):
    """How often each of some things has happened.

    Args:
        keys: the things; others are not counted.

    Attributes:
        add: notes that one has happened.
        counts: how often each has, when it was folded last.
    """

    __slots__ = ("_noted", "add", "counts")

    def __init__(self, keys: Iterable[K]) -> None:
        self.counts = dict.fromkeys(keys, 0)
        self._noted: list[K] = []
        self.add: Callable[[K], None] = self._noted.append

    def fold(self) -> None:
        """Count what was noted."""
        for key, times in Counter(self._noted).items():
            if key in self.counts:
                self.counts[key] += times
        self._noted.clear()


@dataclass(frozen=True, slots=True)
class Example:
    """One of the values of a range; OpenMetrics calls it an exemplar.

    Args:
        trace: the id of the trace that it belongs to.
        at: when it was seen, in seconds since 1970.
    """

    trace: str
    value: float
    at: float


class Histogram:
    """How often a value was in each of some ranges.

    Args:
        bounds: the largest value of each range but the last.
        unit: what the values are multiplied by; the bounds are not.

    Attributes:
        observe: notes a value.
        counts: how often it was in each range, when it was folded last.
        total: the sum of all values.
        examples: a value of a range, by its place.
    """

    __slots__ = ("_noted", "_unit", "bounds", "counts", "examples", "observe", "total")

    def __init__(self, bounds: Sequence[float], unit: float = 1.0) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.examples: dict[int, Example] = {}
        self._unit = unit
        self._noted: list[float] = []
        self.observe: Callable[[float], None] = self._noted.append

    def fold(self) -> None:
        """Sort in what was noted; a value below 0, as a clock that was put back makes it, is 0."""
        noted = self._noted
        if not noted:
            return
        noted.sort()
        for place in range(bisect_right(noted, 0)):
            noted[place] = 0.0
        before = 0
        for place, bound in enumerate(self.bounds):
            so_far = bisect_right(noted, bound / self._unit)
            self.counts[place] += so_far - before
            before = so_far
        self.counts[-1] += len(noted) - before
        self.total += sum(noted) * self._unit
        noted.clear()
