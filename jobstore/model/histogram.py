"""Cheap counting: values are appended to a list, and sorted into buckets later.

Events are counted many times per job, on its hot path. So a value is only appended to a list, which
is one call in C. Later, `fold` sorts thousands of values into buckets at once.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from jobstore.model.frozen import frozen

K = TypeVar("K", bound=Hashable)


class Tallies(Generic[K]):
    """Counters of events by key.

    Args:
        keys: the keys to count; others are ignored.

    Attributes:
        add: counts one event.
        counts: the counts as of the last `fold`.
    """

    __slots__ = ("_noted", "add", "counts")

    def __init__(self, keys: Iterable[K]) -> None:
        self.counts = dict.fromkeys(keys, 0)
        self._noted: list[K] = []
        self.add: Callable[[K], None] = self._noted.append

    def fold(self) -> None:
        """Count the noted events."""
        if not self._noted:  # as for most, each second
            return
        for key, times in Counter(self._noted).items():
            if key in self.counts:
                self.counts[key] += times
        self._noted.clear()


@frozen
class Example:
    """An example value of a bucket, which OpenMetrics calls an exemplar.

    Args:
        trace: the id of the trace that it belongs to.
        at: when it was seen, in seconds since 1970.
    """

    trace: str
    value: float
    at: float


class Histogram:
    """Counts of values by bucket.

    Args:
        bounds: the upper bound of each bucket but the last.
        unit: the factor that converts observed values to the unit of the bounds.

    Attributes:
        observe: adds a value.
        counts: the number of values in each bucket, as of the last `fold`.
        total: the sum of all values.
        examples: an example value by the bucket's index.
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
        """Sort the new values into buckets; a negative one, from a clock set back, counts as 0."""
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
