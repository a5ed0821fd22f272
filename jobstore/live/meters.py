"""What this process has counted since its start, for whoever watches it: `/_jobs/metrics`.

The numbers are plain dictionaries and lists, all of them changed on the loop. What a job adds to
them was measured as a few microseconds; the objects of a metrics library take several times that.
Their keys are words of enumerations and names of configured targets, never what a client has sent:
how many there are is decided at the start, where each of them begins at 0.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Final

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
from jobstore.model.histogram import Histogram
from jobstore.model.job import Dialect
from jobstore.model.lifecycle import ENDED, State
from jobstore.model.message import Headers
from jobstore.model.tracing import trace_of
from jobstore.store.facts import Accepted, Ended, Expired, GivenBack, PayloadsGone, Started, Taken

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

# A job may end whose target is not configured any more.
OTHER: Final = "other"
CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
_SECOND: Final = 1e-6  # of microseconds


class Attempted(StrEnum):
    """How an attempt has ended; the last five are those without an answer."""

    ANSWERED = "answered"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    BROKEN = "broken"
    INTERRUPTED = "interrupted"
    CANCELLED = "cancelled"


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

    SUBMIT = "submit"  # a job, by a header
    ARANGO = "arango"
    KINETICA = "kinetica"
    DATAMEER = "datameer"
    NATIVE = "native"
    RELAY = "relay"  # whatever passes through


class Login(StrEnum):
    """What became of a password or a token."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    HELD_UP = "held_up"


class Fire(StrEnum):
    """What became of a time at which a definition was to run."""

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
        attempts: by how they have ended, and by the class of the answer's status, or "".
        started: how long jobs have waited for their first attempts.
        ran: how long attempts have taken.
        ended: how many jobs have, by their state.
        took: how long jobs have taken, from their submission to their end.
    """

    __slots__ = ("attempts", "ended", "ran", "retries", "started", "submissions", "took")

    def __init__(self, dialects: Iterable[Dialect]) -> None:
        self.submissions = dict.fromkeys(dialects, 0)
        answers = [(Attempted.ANSWERED, each) for each in CLASSES]
        others = [(each, "") for each in Attempted if each is not Attempted.ANSWERED]
        self.attempts: dict[tuple[Attempted, str], int] = dict.fromkeys([*answers, *others], 0)
        self.ended: dict[State, int] = {state: 0 for state in State if state in ENDED}
        self.retries = 0
        self.started = Histogram(OF_JOBS)
        self.ran = Histogram(OF_JOBS)
        self.took = Histogram(OF_JOBS)


@dataclass(slots=True)
class RequestMeters:
    """What is counted of requests of one kind.

    Attributes:
        answers: how many there were, by the first digit of their status.
    """

    answers: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(1, 6), 0))
    seconds: Histogram = field(default_factory=lambda: Histogram(OF_REQUESTS))


class Meters:
    """All that is counted.

    Args:
        targets: the names of the targets.
        dialects: those that jobs may be submitted in.
        apis: what requests may be for; nothing where another server answers them.
    """

    def __init__(
        self, targets: Iterable[str], dialects: Iterable[Dialect], apis: Collection[Traffic] = ()
    ) -> None:
        dialects = [*dialects]
        self.targets = {name: TargetMeters(dialects) for name in targets}
        self.others = TargetMeters(())
        self.requests = {api: RequestMeters() for api in apis}
        self.refused = dict.fromkeys(Reason, 0)
        self.recovered: dict[str, int] = {}
        self.logins = dict.fromkeys(Login, 0)
        self.fires = dict.fromkeys(Fire, 0)
        self.taken = self.given_back = self.expired = self.purged = 0
        self.commits = Histogram(OF_COMMITS)
        self.batches = Histogram(OF_BATCHES)

    # --- facts ----------------------------------------------------------------------------------

    def accepted(self, fact: Accepted) -> None:
        """Count a submission."""
        target = self.targets.get(fact.target)
        if target is not None and fact.dialect in target.submissions:
            target.submissions[fact.dialect] += 1

    def started(self, fact: Started) -> None:
        """Count how long a job has waited."""
        waited, target = fact.claim.waited, self.targets.get(fact.claim.target)
        if waited is not None and target is not None:
            target.started.observe(waited * _SECOND)

    def ended(self, fact: Ended) -> None:
        """Count the end of a job."""
        target = self.targets.get(fact.target, self.others)
        target.ended[fact.state] += 1
        target.took.observe(max(0, fact.took) * _SECOND)  # the clock may have been put back

    def took(self, _: Taken) -> None:
        """Count that a result goes to its reader."""
        self.taken += 1

    def gave_back(self, _: GivenBack) -> None:
        """Count that a result is held again, since its delivery broke off."""
        self.given_back += 1

    def expire(self, fact: Expired) -> None:
        """Count results that were never fetched, and cannot be any more."""
        self.expired += fact.jobs

    def purge(self, fact: PayloadsGone) -> None:
        """Count jobs whose payloads were deleted."""
        self.purged += fact.jobs

    # --- others -----------------------------------------------------------------------------------

    def committed(self, seconds: float, operations: int) -> None:
        """Count a batch of the writer.

        Args:
            seconds: how long its commit has taken.
        """
        self.commits.observe(seconds)
        self.batches.observe(operations)

    def attempted(
        self, name: str, how: Attempted, status: str, seconds: float, headers: Headers
    ) -> None:
        """Count an attempt.

        Args:
            name: the target's.
            status: the class of the answer's, or "".
            headers: the request's, which may name a trace.
        """
        target = self.targets.get(name)
        if target is None:
            return
        target.attempts[how, status] += 1
        ran = target.ran
        ran.exemplify(ran.observe(seconds), seconds, partial(trace_of, headers))

    def interrupted(self, name: str, decision: str) -> None:
        """Count a job whose attempt an earlier start has left behind, and what becomes of it."""
        self.recovered[decision] = self.recovered.get(decision, 0) + 1
        if name in self.targets:
            self.targets[name].attempts[Attempted.INTERRUPTED, ""] += 1

    def retried(self, name: str) -> None:
        """Count that a job is tried again."""
        if name in self.targets:
            self.targets[name].retries += 1

    def fired(self, runs: int, skipped: int, *, missed: bool) -> None:
        """Count what became of the times at which a definition was to run."""
        self.fires[Fire.RUN] += runs
        self.fires[Fire.SKIPPED] += skipped
        self.fires[Fire.MISSED] += missed

    def refuse(self, error: Exception | None) -> None:
        """Count a refusal, if it is one of a submission."""
        for kind, reason in _REASONS.items():
            if isinstance(error, kind):
                self.refused[reason] += 1
                return

    def answered(self, api: Traffic, digit: int, seconds: float) -> None:
        """Count an answered request.

        Args:
            digit: the first of its status.
        """
        meters = self.requests[api]
        meters.answers[digit] += 1
        meters.seconds.observe(seconds)
