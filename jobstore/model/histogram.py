"""How often a value was in each of some ranges."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import Final

# How often each range takes a new example, in seconds.
_EXAMPLE_SECONDS: Final = 15.0


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
    """How often a value was in each range.

    Args:
        bounds: the largest value of each range but the last.

    Attributes:
        counts: how often it was in each range.
        total: the sum of all values.
        examples: a value of a range, by its place.
    """

    __slots__ = ("bounds", "counts", "examples", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.examples: dict[int, Example] = {}

    def observe(self, value: float) -> int:
        """Count a value; return the place of its range."""
        place = bisect_left(self.bounds, value)
        self.counts[place] += 1
        self.total += value
        return place

    def exemplify(self, place: int, value: float, trace: Callable[[], str | None]) -> None:
        """Keep a value as the example of its range, if that has had no other one of late.

        Args:
            trace: finds the trace that it belongs to, which takes a while; None if there is none.
        """
        now, example = time(), self.examples.get(place)
        if example is None or example.at < now - _EXAMPLE_SECONDS:
            found = trace()
            if found is not None:
                self.examples[place] = Example(found, value, now)
