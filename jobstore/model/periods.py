"""Figures about the jobs of a time span, which can be added up over spans.

Durations are counted in buckets that grow with the durations, four to each doubling. So
percentiles are accurate to 10 %, for milliseconds and hours, for ten jobs and for ten
million.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from json import loads
from math import log2
from typing import Final

from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
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
    """What figures are grouped by."""

    ALL = "all"  # all jobs together
    ROUTE = "route"
    DEFINITION = "definition"
    OWNER = "owner"
    TARGET = "target"


class Durations:
    """A histogram of durations; what is read is parsed only once it is asked for.

    Attributes:
        parsed: the number of durations, by bucket, without those that are unread.
        unread: written counts.
    """

    __slots__ = ("parsed", "unread")

    def __init__(self) -> None:
        self.parsed: Counter[int] = Counter()
        self.unread: list[str] = []

    @property
    def counts(self) -> Counter[int]:
        """The number of durations, by bucket."""
        if self.unread:
            numbers = loads(f"[{','.join(self.unread)}]")
            self.unread.clear()
            counts = self.parsed
            for number, count in zip(numbers[::2], numbers[1::2], strict=True):
                counts[number] += count
        return self.parsed

    def add(self, took: int) -> None:
        """Add a duration, in microseconds."""
        self.counts[int(log2(took) * _RANGES) + 1 if took > 0 else 0] += 1

    def merge(self, other: "Durations") -> None:
        """Add the counts of another one."""
        self.unread += other.unread
        counts = self.parsed  # the method of a counter takes ten times as long
        for number, count in other.parsed.items():
            counts[number] += count

    def at_most(self, percent: int) -> int | None:
        """Return a percentile in microseconds; None if there are no durations.

        It is the middle of a bucket, so it may be 10 % too high or too low.
        """
        counts = self.counts
        left = -(-counts.total() * percent // 100)
        for number in sorted(counts):
            left -= counts[number]
            if left <= 0:
                return round(2 ** ((number - 0.5) / _RANGES)) if number else 0
        return None

    def written(self) -> str:
        """Write the counts as `read` reads them: bucket numbers and counts in turn."""
        counts = self.counts
        return ",".join(f"{number},{counts[number]}" for number in sorted(counts))

    def read(self, written: str) -> None:
        """Add written counts, also several that are joined by commas."""
        if written:
            self.unread.append(written)


@dataclass(slots=True)
class Work:
    """Figures about jobs that have ended.

    Args:
        errors: how many of them failed, or were answered with a status of 400 or more.
        waits: how long they waited, while they could have run, until their last attempt.
        runs: how long the last attempt of those that are done or failed took.
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
        """Add the counts of another one."""
        self.done += other.done
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.errors += other.errors
        self.waits.merge(other.waits)
        self.runs.merge(other.runs)
        self.longest = max(self.longest, other.longest)

    def took_at_most(self, percent: int) -> int | None:
        """Return a percentile of the attempts' durations, in microseconds."""
        found = self.runs.at_most(percent)
        return None if found is None else min(found, self.longest)


@frozen
class EndedJob:
    """The members of an ended job that the figures need; times in microseconds since 1970."""

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


@frozen
class Stretch:
    """Consecutive spans of one length; times in microseconds since 1970.

    Args:
        seconds: how long each is.
        since: when the first one begins.
        until: when the last one has ended.
    """

    seconds: int
    since: int
    until: int


def start_of(seconds: int, at: int) -> int:
    """Return when the span of a given length that contains a time begins."""
    return at - at % (seconds * SECOND)


def end_of(seconds: int, at: int) -> int:
    """Return when the span of a given length that contains a time, or ends at it, ends."""
    return -start_of(seconds, -at)


def shortest_kept(at: int, now: int) -> int:
    """Return the length, in seconds, of the shortest spans that are still kept for a time."""
    return next((seconds for seconds, kept in KEPT.items() if at >= now - kept), DAY)


def stretches(
    since: int, until: int, built: Mapping[int, int], longest: int = DAY
) -> Sequence[Stretch]:
    """Cover a time range with as few spans as possible, the longest in the middle.

    Args:
        since: the beginning of a quarter of an hour.
        until: the end of one.
        built: up to when longer spans exist, by their length.
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
