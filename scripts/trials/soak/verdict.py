"""Whether what was seen is flat: decisions, no looking."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from operator import attrgetter
from statistics import median
from typing import Final

from trials.soak.sampling import Sample

MIB: Final = 1024 * 1024
HOUR: Final = 3600.0
# By how much something may rise in an hour, as a share of what it is, and at least.
SHARE: Final = 0.05
MEMORY_RISE: Final = 8 * MIB
FILE_RISE: Final = 32 * MIB
WAL_RISE: Final = 16 * MIB  # as much as is written between two checkpoints
DESCRIPTORS_RISE: Final = 8
# What the WAL is cut back to, and what is written while a reader or a backup holds it back.
WAL_LIMIT: Final = 64 * MIB
READERS_HOLD: Final = 64 * MIB
# By how much answers may become slower from the first third to the last; faster ones than so many
# milliseconds are fast enough.
SLOWER: Final = 1.5
FAST: Final = 5.0
_MOST_POINTS: Final = 720
_PARTS: Final = 10
_MEMORY: Final = attrgetter("memory")
_DESCRIPTORS: Final = attrgetter("descriptors")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that has to be flat.

    Args:
        name: what it is.
        value: what was found.
        bound: what it may be at most.
        unit: of both.
    """

    name: str
    value: float
    bound: float
    unit: str

    @property
    def flat(self) -> bool:
        """Whether it is."""
        return self.value <= self.bound


def judge(samples: Sequence[Sample]) -> list[Finding]:
    """Judge what was seen after the warm-up."""
    return [
        _rise("memory", _least(samples, _MEMORY), _MEMORY, MEMORY_RISE),
        _rise("file", samples, lambda each: each.file, FILE_RISE),
        _rise("WAL", samples, lambda each: each.wal, WAL_RISE),
        _largest_wal(samples),
        _rise_of_descriptors(samples),
        *(_slowdown(dialect, samples) for dialect in dialects(samples)),
    ]


def dialects(samples: Sequence[Sample]) -> list[str]:
    """Name the dialects that were used."""
    return sorted({dialect for each in samples for dialect in each.dialects})


def trend(points: Sequence[tuple[float, float]]) -> float:
    """Tell by how much something rises in an hour: the median of the slopes of all pairs.

    A few peaks do not count, wherever they are; what rises step by step does.
    https://en.wikipedia.org/wiki/Theil-Sen_estimator

    Args:
        points: seconds and values.
    """
    few = points[:: len(points) // _MOST_POINTS + 1]
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(few, 2)]
    return HOUR * median(slopes) if slopes else 0.0


def _rise(
    name: str, samples: Sequence[Sample], value: Callable[[Sample], int], least: float
) -> Finding:
    rises = trend([(each.seconds, value(each)) for each in samples])
    bound = max(least, SHARE * median(map(value, samples)))
    return Finding(f"{name}, rise in an hour", rises / MIB, bound / MIB, "MiB")


def _largest_wal(samples: Sequence[Sample]) -> Finding:
    largest = max(each.wal for each in samples)
    return Finding("WAL, largest", largest / MIB, (WAL_LIMIT + READERS_HOLD) / MIB, "MiB")


def _least(samples: Sequence[Sample], value: Callable[[Sample], int]) -> list[Sample]:
    """Return the least of each tenth: what is only in use at the moment is no growth.

    A large body or a backup takes memory while it is there, and clients hold more connections open
    while a machine is busy. What is never given back is in the least, too.
    """
    size = max(1, len(samples) // _PARTS)
    parts = [samples[at : at + size] for at in range(0, len(samples), size)]
    return [min(part, key=value) for part in parts if len(part) == size]


def _rise_of_descriptors(samples: Sequence[Sample]) -> Finding:
    least = _least(samples, _DESCRIPTORS)
    rises = trend([(each.seconds, each.descriptors) for each in least])
    bound = max(DESCRIPTORS_RISE, SHARE * median(each.descriptors for each in samples))
    return Finding("descriptors, rise in an hour", rises, bound, "")


def _slowdown(dialect: str, samples: Sequence[Sample]) -> Finding:
    """Compare the last third with the first: the usual p99 of an interval, in milliseconds."""
    p99 = [each.dialects[dialect].p99 for each in samples if dialect in each.dialects]
    third = max(1, len(p99) // 3)
    bound = max(FAST, SLOWER * median(p99[:third]))
    return Finding(f"{dialect}, p99 of the last third", median(p99[-third:]), bound, "ms")
