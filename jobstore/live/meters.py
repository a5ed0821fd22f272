"""What this process has counted since its start, for `/_jobs/metrics`.

The numbers are plain dictionaries and lists, changed only on the loop. Counting a job takes about
two microseconds; with the objects of a metrics library it takes several times that. The keys come
from enumerations and from the names of configured targets, never from clients: all of them exist
from the start, with the value 0.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from enum import StrEnum
from time import time
from typing import Final

from jobstore.live.subscribers import Subscribers
from jobstore.model.errors import (
    BodyTooLarge,
    JobstoreError,
    NoTarget,
    OwnerLimit,
    QueueFull,
    ShuttingDown,
    StoreFull,
    TooFast,
)
from jobstore.model.histogram import Example, Histogram, Tallies
from jobstore.model.job import Dialect
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import Headers
from jobstore.model.tracing import trace_of
from jobstore.store.facts import (
    Accepted,
    Ended,
    Expired,
    GivenBack,
    PayloadsGone,
    Started,
    Taken,
)

# What histograms tell apart, in seconds.
OF_JOBS: Final = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    3600.0,
)  # fmt: skip
OF_COMMITS: Final = (
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
)  # fmt: skip
OF_REQUESTS: Final = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0,
)  # fmt: skip
# And in operations.
OF_BATCHES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)

_SECOND: Final = 1e-6  # of microseconds
# How often an example is looked for, in seconds.
_LOOK_SECONDS: Final = 0.05


class Attempted(StrEnum):
    """How an attempt ended; the last five had no answer."""

    __hash__ = str.__hash__  # in C: members are looked up for each job

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


# What attempts are counted by: with an answer, by the class of its status, from 2xx on; without.
ANSWERED: Final = tuple((Attempted.ANSWERED, f"{digit}xx") for digit in range(2, 6))
UNANSWERED: Final[Mapping[Attempted, tuple[Attempted, str]]] = {
    each: (each, "") for each in Attempted if each is not Attempted.ANSWERED
}


class Reason(StrEnum):
    """Why a submission was refused."""

    QUEUE_FULL = "queue_full"
    STOPPING = "stopping"
    DISK_FULL = "disk_full"
    TOO_LARGE = "too_large"
    RATE = "rate"
    QUOTA = "quota"
    NO_TARGET = "no_target"


class Traffic(StrEnum):
    """What a request was for."""

    __hash__ = str.__hash__  # in C: members are looked up for each job

    SUBMIT = "submit"  # a job, by a header
    ARANGO = "arango"
    KINETICA = "kinetica"
    DATAMEER = "datameer"
    NATIVE = "native"
    DASHBOARD = "dashboard"
    RELAY = "relay"  # whatever passes through


class Login(StrEnum):
    """The outcome of a login."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD_UP = "held_up"


class FireOutcome(StrEnum):
    """The outcome of a due fire time."""

    RUN = "run"
    SKIPPED = "skipped"
    MISSED = "missed"


_REASONS: Final[Mapping[type[JobstoreError], Reason]] = {
    QueueFull: Reason.QUEUE_FULL,
    ShuttingDown: Reason.STOPPING,
    StoreFull: Reason.DISK_FULL,
    BodyTooLarge: Reason.TOO_LARGE,
    NoTarget: Reason.NO_TARGET,
    TooFast: Reason.RATE,
    OwnerLimit: Reason.QUOTA,
}


class TargetMeters:
    """What is counted of one target.

    Attributes:
        attempts: the number of attempts, by outcome and status class ("" if there was no answer).
        started: how long jobs waited for their first attempt.
        ran: how long attempts took.
        ended: the number of ended jobs, by state.
        took: how long jobs took from submission to end.
    """

    __slots__ = ("attempts", "ended", "ran", "retries", "started", "submissions", "took")

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.submissions = Tallies(dialects)
        self.attempts = Tallies((*ANSWERED, *UNANSWERED.values()))
        self.ended: Tallies[State] = Tallies(state for state in State if state in ENDED)
        self.retries = 0
        self.started = Histogram(OF_JOBS, _SECOND)
        self.ran = Histogram(OF_JOBS)
        self.took = Histogram(OF_JOBS, _SECOND)

    def fold(self) -> None:
        """Count the noted events."""
        for each in (self.submissions, self.attempts, self.ended):
            each.fold()
        for histogram in (self.started, self.ran, self.took):
            histogram.fold()


class RequestMeters:
    """What is counted of requests of one kind.

    Attributes:
        answers: how many there were, by the first digit of their status.
        seconds: how long they took.
    """

    __slots__ = ("answers", "seconds")

    def __init__(self) -> None:
        self.answers = Tallies(range(1, 6))
        self.seconds = Histogram(OF_REQUESTS)


class Meters:
    """All counters.

    Args:
        targets: the names of the targets.
        dialects: the dialects in which jobs may be submitted.
        traffic: what requests may be for; empty if another server answers them.
    """

    def __init__(
        self, targets: Iterable[str], dialects: Iterable[Dialect], traffic: Iterable[Traffic] = ()
    ) -> None:
        dialects = [*dialects]
        self.targets = {name: TargetMeters(dialects) for name in targets}
        self.others = TargetMeters(())
        self.requests = {each: RequestMeters() for each in traffic}
        self.refused = dict.fromkeys(Reason, 0)
        self.recovered: dict[str, int] = {}
        self.logins = dict.fromkeys(Login, 0)
        self.fires = dict.fromkeys(FireOutcome, 0)
        self.taken = self.given_back = self.expired = self.purged = 0
        self.commits = Histogram(OF_COMMITS)
        self.batches = Histogram(OF_BATCHES)
        self._looks_at = 0.0

    def fold(self) -> None:
        """Process what was noted, before the numbers are read and at each pulse."""
        for target in (*self.targets.values(), self.others):
            target.fold()
        for each in self.requests.values():
            each.answers.fold()
            each.seconds.fold()
        self.commits.fold()
        self.batches.fold()

    def subscribe(self, subscribers: Subscribers) -> None:
        """Count what batches change."""
        subscribers.subscribe(Accepted, self._accepted)
        subscribers.subscribe(Started, self._started)
        subscribers.subscribe(Ended, self._ended)
        subscribers.subscribe(Taken, self._taken)
        subscribers.subscribe(GivenBack, self._given_back)
        subscribers.subscribe(Expired, self._expired)
        subscribers.subscribe(PayloadsGone, self._purged)

    def _accepted(self, fact: Accepted) -> None:
        self.targets.get(fact.target, self.others).submissions.add(fact.dialect)

    def _started(self, fact: Started) -> None:
        claim = fact.claim
        if claim.waited is not None:
            self.targets.get(claim.target, self.others).started.observe(claim.waited)

    def _ended(self, fact: Ended) -> None:
        target = self.targets.get(fact.target, self.others)
        target.ended.add(fact.state)
        target.took.observe(fact.took)

    def _taken(self, _: Taken) -> None:
        self.taken += 1

    def _given_back(self, _: GivenBack) -> None:
        self.given_back += 1

    def _expired(self, fact: Expired) -> None:
        self.expired += fact.jobs

    def _purged(self, fact: PayloadsGone) -> None:
        self.purged += fact.jobs

    def committed(self, seconds: float, operations: int) -> None:
        """Count a batch of the writer.

        Args:
            seconds: how long its commit took.
        """
        self.commits.observe(seconds)
        self.batches.observe(operations)

    def attempted(
        self, name: str, how: tuple[Attempted, str], seconds: float, headers: Headers
    ) -> None:
        """Count an attempt.

        Args:
            name: the target's.
            how: one of `ANSWERED` or `UNANSWERED`.
            headers: the request's, which may name a trace.
        """
        target = self.targets.get(name, self.others)
        target.attempts.add(how)
        target.ran.observe(seconds)
        if (now := time()) >= self._looks_at:
            self._look_for_example(target.ran, seconds, headers, now)

    def _look_for_example(
        self, ran: Histogram, seconds: float, headers: Headers, now: float
    ) -> None:
        """Keep the trace of an attempt as an example, and look at no other for a moment.

        Attempts at the same time are equally good examples, and looking at each would take time.
        """
        self._looks_at = now + _LOOK_SECONDS
        trace = trace_of(headers)
        if trace is not None:
            ran.examples[bisect_left(ran.bounds, seconds)] = Example(trace, seconds, now)

    def interrupted(self, name: str, decision: str) -> None:
        """Count a recovered job by the decision about it."""
        self.recovered[decision] = self.recovered.get(decision, 0) + 1
        target = self.targets.get(name, self.others)
        target.attempts.add(UNANSWERED[Attempted.INTERRUPTED])

    def retried(self, name: str) -> None:
        """Count a retry."""
        self.targets.get(name, self.others).retries += 1

    def fired(self, runs: int, skipped: int, *, missed: bool) -> None:
        """Count the outcomes of due fire times."""
        self.fires[FireOutcome.RUN] += runs
        self.fires[FireOutcome.SKIPPED] += skipped
        self.fires[FireOutcome.MISSED] += missed

    def refuse(self, error: Exception | None) -> None:
        """Count a refused submission; other refusals are ignored."""
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                self.refused[reason] += 1
                return
