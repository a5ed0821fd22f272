"""What jobs came to in a span of time, in figures that can be added up.

How long things took is counted in ranges that grow with the durations, four to each doubling, so
that what a share of the jobs took is known to within a tenth, whether that is a millisecond or an
hour, and whether it is of ten jobs or of ten million.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from json import loads
from math import log2
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.job import FIRST_ERROR
from jobstore.model.lifecycle import State

QUARTER: Final = 900
HOUR: Final = 3600
DAY: Final = 86400
# The lengths of the spans that are kept, in seconds.
LENGTHS: Final = (QUARTER, HOUR, DAY)
# For how long the spans of each length are kept, in microseconds; those of a day are for ever.
KEPT: Final = {QUARTER: 40 * DAY * SECOND, HOUR: 400 * DAY * SECOND}

_RANGES: Final = 4  # to each doubling


class Dimension(StrEnum):
    """What figures are told apart by."""

    ALL = "all"  # all jobs together
    ROUTE = "route"
    DEFINITION = "definition"
    OWNER = "owner"
    TARGET = "target"


@dataclass(slots=True)
class Durations:
    """How often things took how long.

    Args:
        counts: how often, by the number of the range.
    """

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, took: int) -> None:
        """Count something that took so many microseconds."""
        self.counts[int(log2(took) * _RANGES) + 1 if took > 0 else 0] += 1

    def merge(self, other: "Durations") -> None:
        """Count what others have counted."""
        counts = self.counts  # the method of a counter takes ten times as long
        for number, count in other.counts.items():
            counts[number] += count

    def at_most(self, percent: int) -> int | None:
        """Tell how long so many percent took at most, in microseconds; None if there was nothing.

        It is the middle of a range, and so may be a tenth too much or too little.
        """
        left = -(-self.counts.total() * percent // 100)
        for number in sorted(self.counts):
            left -= self.counts[number]
            if left <= 0:
                return round(2 ** ((number - 0.5) / _RANGES)) if number else 0
        return None

    def written(self) -> str:
        """Write the counts down, as `read` reads them: numbers of ranges and counts in turn."""
        return ",".join(f"{number},{self.counts[number]}" for number in sorted(self.counts))

    def read(self, written: str) -> None:
        """Count what was written down, also of several that have a comma in between."""
        counts, numbers = self.counts, loads(f"[{written}]")
        once = dict(zip(numbers[::2], numbers[1::2], strict=True))
        if not counts and 2 * len(once) == len(numbers):  # which takes a third of the time
            counts.update(once)
            return
        for place in range(0, len(numbers), 2):
            counts[numbers[place]] += numbers[place + 1]


@dataclass(slots=True)
class Work:
    """What came of jobs that have ended.

    Args:
        errors: how many of them failed, or were answered with a status of 400 or more.
        waits: for how long they could have run and did not, up to the start of the last attempt.
        runs: how long the last attempt took at those that were done or failed.
        longest: how long the longest of these took, in microseconds.
    """

    done: int = 0
    failed: int = 0
    cancelled: int = 0
    errors: int = 0
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)
    longest: int = 0

    @property
    def count(self) -> int:
        """How many jobs there are."""
        return self.done + self.failed + self.cancelled

    def add(self, job: "EndedJob") -> None:
        """Count a job."""
        self.done += job.state == State.DONE
        self.failed += job.state == State.FAILED
        self.cancelled += job.state == State.CANCELLED
        self.errors += job.error
        if job.started_at is None:
            return
        self.waits.add(job.started_at - max(job.submitted_at, job.not_before or 0))
        if job.state != State.CANCELLED:
            took = max(0, job.finished_at - job.started_at)
            self.runs.add(took)
            self.longest = max(self.longest, took)

    def merge(self, other: "Work") -> None:
        """Count what others have counted."""
        self.done += other.done
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.errors += other.errors
        self.waits.merge(other.waits)
        self.runs.merge(other.runs)
        self.longest = max(self.longest, other.longest)

    def took_at_most(self, percent: int) -> int | None:
        """Tell how long so many percent of the attempts took at most, in microseconds."""
        found = self.runs.at_most(percent)
        return None if found is None else min(found, self.longest)


@dataclass(frozen=True, slots=True)
class EndedJob:
    """A job that has ended, as far as it counts; times in microseconds since 1970."""

    state: str
    status: int | None
    submitted_at: int
    started_at: int | None
    finished_at: int
    not_before: int | None

    @property
    def error(self) -> bool:
        """Whether it failed, or was answered with an error."""
        badly = self.state == State.DONE and (self.status or 0) >= FIRST_ERROR
        return badly or self.state == State.FAILED


@dataclass(frozen=True, slots=True)
class Stretch:
    """Spans of one length that follow one another; times in microseconds since 1970.

    Args:
        seconds: how long each is.
        since: when the first one begins.
        until: when the last one has ended.
    """

    seconds: int
    since: int
    until: int


def start_of(seconds: int, at: int) -> int:
    """Tell when the span of a length began that has a time."""
    return at - at % (seconds * SECOND)


def end_of(seconds: int, at: int) -> int:
    """Tell when the span of a length ends that has a time, or ends with it."""
    return -start_of(seconds, -at)


def shortest_kept(at: int, now: int) -> int:
    """Tell how long the shortest spans are that are still kept of a time, in seconds."""
    return next((seconds for seconds, kept in KEPT.items() if at >= now - kept), DAY)


def stretches(
    since: int, until: int, built: Mapping[int, int], longest: int = DAY
) -> Sequence[Stretch]:
    """Cover a time with as few spans as possible: the longest in the middle.

    Args:
        since: where a quarter of an hour begins.
        until: where one ends.
        built: up to when there are longer spans, by their length.
        longest: how long these may be, in seconds.
    """
    lengths = [seconds for seconds in LENGTHS if seconds <= longest]
    found = _covering(lengths, since, until, built)
    return [each for each in found if each.since < each.until]


def _covering(
    lengths: Sequence[int], since: int, until: int, built: Mapping[int, int]
) -> Iterator[Stretch]:
    seconds, *longer = lengths
    if longer:
        first = end_of(longer[0], since)
        last = start_of(longer[0], min(until, built[longer[0]]))
        if first < last:
            yield Stretch(seconds, since, first)
            yield from _covering(longer, first, last, built)
            yield Stretch(seconds, last, until)
            return
    yield Stretch(seconds, since, until)
