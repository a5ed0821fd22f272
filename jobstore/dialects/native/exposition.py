"""Metrics for Prometheus: their names and meaning.

The library only serialises them; they are counted elsewhere, see `jobstore.live.meters` and
`jobstore.live.census`. It is loaded at the first request.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    Exemplar,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.utils import floatToGoString

from jobstore.live.census import CurrentFigures
from jobstore.live.meters import Meters, TargetMeters
from jobstore.model.frozen import frozen
from jobstore.model.histogram import Histogram
from jobstore.model.lifecycle import Result, State

# Where each figure comes from, at the end of what is said of it: nodes share a store.
_HERE: Final = "By this node since its start."
_NOW: Final = "At this node."
_STORE: Final = "In the store, which all of its nodes tell alike."

_Labelled: TypeAlias = Iterable[tuple[tuple[str, ...], float]]


@frozen
class Slots:
    """The slots of a target.

    Args:
        busy: how many jobs run.
        all: how many may.
        paused: whether none may start, since it is paused or cannot be reached.
    """

    busy: int
    all: int
    paused: bool = False


@frozen(kw_only=True)
class Snapshot:
    """All figures of one moment.

    Args:
        about: facts about this server, by label.
        meters: the counters of this process.
        figures: figures about the store.
        targets: the slots of each target.
        queue_limit: how many jobs may be queued.
        writer_waiting: how many operations wait for the next commit.
        lag: the longest recent delay of the loop, in seconds.
        followers: how many clients wait for changes of jobs, by how they wait.
    """

    about: Mapping[str, str]
    meters: Meters
    figures: CurrentFigures
    targets: Mapping[str, Slots]
    queue_limit: int
    writer_waiting: int
    lag: float
    followers: Mapping[str, int]


class Exposition:
    """Serialise snapshots."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._snapshot: Snapshot
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def describe(self) -> list[Metric]:
        """Return nothing: no names are announced in advance."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of the snapshot."""
        yield from _of_store(self._snapshot)
        yield from _of_work(self._snapshot.meters)
        yield from _of_targets(self._snapshot)
        yield from _of_node(self._snapshot)
        yield from _of_edge(self._snapshot)

    def written(self, snapshot: Snapshot, accept: str) -> tuple[str, bytes]:
        """Serialise a snapshot.

        Args:
            accept: the client's ``Accept`` header.

        Returns:
            the content type, and the text.
        """
        self._snapshot = snapshot
        encode, content_type = choose_encoder(accept)
        return content_type, encode(self._registry)


def _of_store(snapshot: Snapshot) -> Iterator[Metric]:
    yield InfoMetricFamily("jobstore_build", "What runs here.", value=dict(snapshot.about))
    figures = snapshot.figures
    for name, machine, words in (
        ("jobs", "job", [*State]),
        ("results", "result", [*Result]),
    ):
        label = "state" if machine == "job" else "result"
        counts = [((str(word),), figures.counters.get((machine, word), 0)) for word in words]
        yield _gauge(f"jobstore_{name}", f"How many {name} there are. {_STORE}", (label,), counts)
    yield _gauge(
        "jobstore_queue_limit",
        "How many jobs may be queued before further ones are refused.",
        (),
        [((), snapshot.queue_limit)],
    )
    yield _gauge(
        "jobstore_schedule_late_seconds",
        f"For how long a definition has been due to run. {_STORE}",
        (),
        [((), figures.overdue)],
    )
    sizes = figures.sizes
    if sizes is not None:
        parts = {"file": sizes.file, "wal": sizes.wal, "free": sizes.free}
        yield _gauge(
            "jobstore_store_bytes",
            "How much room the file (or the database's tables) and its log take, and how much is "
            "free in the file.",
            ("part",),
            [((part,), size) for part, size in parts.items() if size is not None],
        )
        if sizes.disk is not None:
            text = "How much room is left on the disk that the store is on."
            yield _gauge("jobstore_disk_free_bytes", text, (), [((), sizes.disk)])


def _of_work(meters: Meters) -> Iterator[Metric]:
    targets = meters.targets
    yield _counter(
        "jobstore_submissions",
        f"Jobs that came in. {_HERE}",
        ("dialect", "target"),
        [
            ((dialect, name), count)
            for name, target in targets.items()
            for dialect, count in target.submissions.counts.items()
        ],
    )
    refused = [((reason,), count) for reason, count in meters.refused.items()]
    yield _counter("jobstore_refused", f"Submissions refused. {_HERE}", ("reason",), refused)
    yield _counter(
        "jobstore_attempts",
        f"Attempts that have ended. {_HERE}",
        ("target", "outcome", "status"),
        [
            ((name, how, status), count)
            for name, target in targets.items()
            for (how, status), count in target.attempts.counts.items()
        ],
    )
    yield _counter(
        "jobstore_ended",
        f"Jobs that have ended; those of targets that are gone are of `other`. {_HERE}",
        ("target", "state"),
        [
            ((name, state), count)
            for name, target in [*targets.items(), ("other", meters.others)]
            for state, count in target.ended.counts.items()
        ],
    )
    retries = [((name,), target.retries) for name, target in targets.items()]
    text = f"Attempts after which the job was queued again. {_HERE}"
    yield _counter("jobstore_retries", text, ("target",), retries)
    recovered = [((word,), count) for word, count in meters.recovered.items()]
    text = f"Jobs whose server went away while they ran, and what became of them. {_HERE}"
    yield _counter("jobstore_recovered", text, ("decision",), recovered)
    for name, text, count in (
        ("taken", "Results that went to a reader.", meters.taken),
        ("given_back", "Results held again, since their delivery broke off.", meters.given_back),
        ("expired", "Results that nobody has fetched in time.", meters.expired),
        ("purged", "Jobs whose payloads were deleted.", meters.purged),
    ):
        yield _counter(f"jobstore_{name}", f"{text} {_HERE}", (), [((), count)])
    yield _counter(
        "jobstore_schedule_fires",
        f"Times at which a definition was to run. {_HERE}",
        ("outcome",),
        [((word,), count) for word, count in meters.fires.items()],
    )


def _of_targets(snapshot: Snapshot) -> Iterator[Metric]:
    targets = snapshot.meters.targets
    histograms: tuple[tuple[str, str, Callable[[TargetMeters], Histogram]], ...] = (
        (
            "wait",
            "How long jobs have waited, once they could run, for their first attempt.",
            lambda each: each.started,
        ),
        ("run", "How long attempts have taken.", lambda each: each.ran),
        (
            "job",
            "How long jobs have taken, from their submission to their end.",
            lambda each: each.took,
        ),
    )
    for name, text, of in histograms:
        family = HistogramMetricFamily(
            f"jobstore_{name}_seconds", f"{text} {_HERE}", labels=("target",)
        )
        for target, meters in targets.items():
            _add(family, (target,), of(meters))
        yield family
    slots, queues = snapshot.targets, snapshot.figures.queues
    for name, text, values in (
        ("running", f"How many jobs run. {_NOW}", {n: s.busy for n, s in slots.items()}),
        ("concurrency", f"How many jobs may run. {_NOW}", {n: s.all for n, s in slots.items()}),
        ("paused", "Whether its jobs are held back.", {n: s.paused for n, s in slots.items()}),
        (
            "queued",
            f"How many jobs wait for a slot, counted to 100,000. {_STORE}",
            {name: queues[name].jobs if name in queues else 0 for name in slots},
        ),
    ):
        labelled = [((target,), float(value)) for target, value in values.items()]
        yield _gauge(f"jobstore_target_{name}", text, ("target",), labelled)
    yield _gauge(
        "jobstore_queue_oldest_seconds",
        f"For how long the first of the jobs that wait for a slot could have run. {_STORE}",
        ("target",),
        [((name,), queues[name].oldest if name in queues else 0.0) for name in slots],
    )


def _of_node(snapshot: Snapshot) -> Iterator[Metric]:
    meters = snapshot.meters
    for name, text, histogram in (
        ("seconds", "How long commits have taken.", meters.commits),
        ("operations", "How many operations have shared a commit.", meters.batches),
    ):
        family = HistogramMetricFamily(f"jobstore_commit_{name}", f"{text} {_HERE}", labels=())
        _add(family, (), histogram)
        yield family
    for name, text, value in (
        (
            "writer_waiting",
            "How many operations wait for the next commit.",
            snapshot.writer_waiting,
        ),
        (
            "loop_lag_seconds",
            "By how much the event loop was late at worst, in the last 15 seconds.",
            snapshot.lag,
        ),
    ):
        yield _gauge(f"jobstore_{name}", f"{text} {_NOW}", (), [((), value)])


def _of_edge(snapshot: Snapshot) -> Iterator[Metric]:
    requests = snapshot.meters.requests
    if requests:
        yield _counter(
            "jobstore_http_requests",
            f"Requests that were answered. {_HERE}",
            ("api", "status"),
            [
                ((api, f"{digit}xx"), count)
                for api, meters in requests.items()
                for digit, count in meters.answers.counts.items()
            ],
        )
        text = f"How long requests have taken, from their last byte on. {_HERE}"
        family = HistogramMetricFamily("jobstore_http_request_seconds", text, labels=("api",))
        for api, meters in requests.items():
            _add(family, (api,), meters.seconds)
        yield family
    logins = [((word,), count) for word, count in snapshot.meters.logins.items()]
    yield _counter("jobstore_logins", f"Logins. {_HERE}", ("outcome",), logins)
    followers = [((kind,), count) for kind, count in snapshot.followers.items()]
    yield _gauge("jobstore_followers", f"Who waits for news of jobs. {_NOW}", ("kind",), followers)


def _gauge(name: str, text: str, labels: tuple[str, ...], values: _Labelled) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values:
        family.add_metric([*words], value)
    return family


def _counter(name: str, text: str, labels: tuple[str, ...], values: _Labelled) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for words, value in values:
        family.add_metric([*words], value)
    return family


def _add(family: HistogramMetricFamily, words: tuple[str, ...], histogram: Histogram) -> None:
    """Add a histogram: in Prometheus, each bucket includes the lower ones."""
    buckets: list[tuple[Any, ...]] = []
    so_far = 0
    for place, (bound, count) in enumerate(
        zip((*histogram.bounds, float("inf")), histogram.counts, strict=True)
    ):
        so_far += count
        example = histogram.examples.get(place)
        exemplar = example and Exemplar({"trace_id": example.trace}, example.value, example.at)
        buckets.append((_written(bound), so_far, exemplar))
    family.add_metric([*words], buckets, histogram.total)


def _written(bound: float) -> str:
    """Write a bound as the library does, so that each has a single form."""
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call]
