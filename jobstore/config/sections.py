"""The configuration's sections: each key is declared here once, with its type and its default.

Messages, suggestions for misspelt keys, and the names of environment variables all follow from this
declaration; config.example.toml describes it in words, and a test compares the two.
"""

from dataclasses import field, fields
from pathlib import Path
from typing import Any, Final

from jobstore.model.address import Address, TcpAddress
from jobstore.model.frozen import frozen
from jobstore.model.job import Replay
from jobstore.model.message import HeadLimits
from jobstore.model.privacy import SECRET_HEADERS
from jobstore.model.written import (
    DAY,
    DIALECTS,
    GIB,
    HOUR,
    KIB,
    MINUTE,
    Addresses,
    BasePath,
    BaseUrl,
    Checkpoints,
    Count,
    CountOrUnlimited,
    DatabaseUrl,
    DialectsOrAuto,
    Duration,
    DurationOrNever,
    Factory,
    FileName,
    FileNameOrNone,
    Flag,
    FlagOrAuto,
    HeaderNames,
    HeadSize,
    Host,
    Hosts,
    InlineSize,
    LogFormat,
    LogLevel,
    Networks,
    NodeName,
    Origins,
    Port,
    PositiveDuration,
    PositiveDurationOrNever,
    PositiveSize,
    Protection,
    RateOrUnlimited,
    ReplayRule,
    Retries,
    SchemaName,
    SizeOrUnlimited,
    Statuses,
    TimeZone,
    TraceRelation,
)

_HOST: Final = "127.0.0.1"
_PORT: Final = 8529
_FILE: Final = Path("jobs.db")
_SHORTEST_LEASE: Final = 1.0
DEMO: Final = "jobstore.demo:create_app"  # who answers when no target is configured


@frozen(kw_only=True)
class ServerSection:
    """Where the server listens, and which APIs it answers; port 0 takes any free port.

    ``addresses`` has the effective ones, from ``listen`` or from ``host`` and ``port``.
    """

    host: Host = _HOST
    port: Port = _PORT
    listen: Addresses = ()
    tls_certificate: FileNameOrNone = None
    tls_key: FileNameOrNone = None
    open: Flag = False
    dialects: DialectsOrAuto = None
    protect: Protection = "all"
    keep_alive: PositiveDuration = 75.0
    origins: Origins = ()
    hosts: Hosts = ()
    trusted_proxies: Networks = ()

    def __post_init__(self) -> None:
        """Refuse contradictory settings.

        Raises:
            ValueError: they contradict each other.
        """
        if self.listen and (self.host, self.port) != (_HOST, _PORT):
            raise ValueError("expected listen, or else host and port, and not both")
        if self.tls_key and not self.tls_certificate:
            raise ValueError("expected a tls_certificate for the tls_key")

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Where it listens."""
        return self.listen or (TcpAddress(self.host, self.port),)

    @property
    def names(self) -> tuple[str, ...]:
        """The configured host names of the server."""
        tcp = [each.host for each in self.addresses if isinstance(each, TcpAddress)]
        return (*self.hosts, *tcp)


@frozen(kw_only=True)
class AdminSection:
    """A separate address for metrics, health checks and the dashboard."""

    listen: Addresses = ()


@frozen(kw_only=True)
class DashboardSection:
    """Whether the dashboard is available."""

    enabled: Flag = True


@frozen(kw_only=True)
class StoreSection:
    """The store's file, or the database that nodes share.

    Sizes are in bytes; a ``max_size`` of 0 means no limit. A ``url`` of "" means a file; a ``name``
    of "" means the node's host and port.
    """

    path: FileName = _FILE
    max_size: SizeOrUnlimited = 0
    inline_limit: InlineSize = 256 * KIB
    url: DatabaseUrl = field(default="", repr=False)  # it may have a password
    schema: SchemaName = "jobstore"
    lease: PositiveDuration = 10.0
    patience: PositiveDuration = 5.0
    name: NodeName = ""
    checkpoints: Checkpoints = "self"

    def __post_init__(self) -> None:
        """Refuse keys about a file if there is a database.

        Raises:
            ValueError: both are given.
        """
        if self.url and self.path is not _FILE:
            raise ValueError("expected a path or a url, and not both")
        if self.url and self.external:
            raise ValueError("expected no checkpoints with a url: they are for files")
        if self.lease < _SHORTEST_LEASE:
            raise ValueError(
                "expected a lease of at least 1s; with less, a healthy node could be declared dead"
            )
        if self.url and self.max_size:
            raise ValueError("expected no max_size with a url: limit the database itself")

    @property
    def external(self) -> bool:
        """Whether another program checkpoints the WAL."""
        return self.checkpoints == "external"


@frozen(kw_only=True)
class CaptureSection:
    """Limits on what is accepted, in bytes."""

    body_limit: PositiveSize = GIB
    response_limit: PositiveSize = GIB


@frozen(kw_only=True)
class HttpSection:
    """Limits for the heads of requests and answers; sizes are in bytes."""

    field_size: HeadSize = 64 * KIB
    fields: Count = 1000
    head_size: HeadSize = 128 * KIB

    @property
    def limits(self) -> HeadLimits:
        """The limits in one value."""
        return HeadLimits(field_size=self.field_size, fields=self.fields, size=self.head_size)


@frozen(kw_only=True)
class TargetLimits:
    """The settings of each target; a timeout is in seconds, None means no limit."""

    concurrency: Count = 32
    timeout: PositiveDurationOrNever = HOUR
    replay: ReplayRule = Replay.IDEMPOTENT
    retries: Retries = 0
    retry_delay: PositiveDuration = 1.0
    retry_delay_max: PositiveDuration = 5 * MINUTE
    retry_statuses: Statuses = (429, 502, 503, 504)
    hold: DurationOrNever = 15 * MINUTE
    forward_credentials: Flag = False

    @property
    def shared(self) -> dict[str, Any]:
        """These limits by name, for a target that has none of its own."""
        return {limit.name: getattr(self, limit.name) for limit in fields(TargetLimits)}


@frozen(kw_only=True)
class ExecutorSection(TargetLimits):
    """How jobs run; times are in seconds."""

    queue_limit: Count = 100_000
    max_attempts: Count = 3
    drain: Duration = 30.0
    cancel_grace: Duration = 10.0


@frozen(kw_only=True)
class LimitsSection:
    """The limits of one owner, where 0 means no limit, and the longest chain of jobs."""

    queued: CountOrUnlimited = 0
    running: CountOrUnlimited = 0
    stored_bytes: SizeOrUnlimited = 0
    submissions_per_second: RateOrUnlimited = 0.0
    depth: Retries = 8


@frozen(kw_only=True)
class RetentionSection:
    """Retention times, in seconds; None means for ever."""

    unfetched: PositiveDurationOrNever = 30 * DAY
    fetched: DurationOrNever = DAY
    history: DurationOrNever = 90 * DAY
    interval: PositiveDuration = MINUTE


@frozen(kw_only=True)
class DatameerSection:
    """How Datameer's dialect writes times."""

    time_zone: TimeZone = "UTC"


@frozen(kw_only=True)
class PrivacySection:
    """Additional secret headers, in lower case."""

    redact: HeaderNames = ()

    @property
    def secret(self) -> frozenset[str]:
        """All secret headers, in lower case."""
        return SECRET_HEADERS.union(self.redact)


@frozen(kw_only=True)
class LogSection:
    """What is logged, and in which format."""

    level: LogLevel = "info"
    format: LogFormat = "text"


@frozen(kw_only=True)
class MetricsSection:
    """Whether metrics for Prometheus are collected."""

    enabled: Flag = True


@frozen(kw_only=True)
class TracingSection:
    """Whether tracing spans are made, and how attempts are related to submissions."""

    enabled: Flag = False
    relation: TraceRelation = "link"
    query: Flag = False


@frozen(kw_only=True)
class TargetSection(TargetLimits):
    """A target: the service or application that answers the paths under a prefix."""

    prefix: BasePath = "/"
    upstream: BaseUrl = None
    app: Factory = None
    preserve_host: FlagOrAuto = None
    strip_prefix: Flag = False

    def __post_init__(self) -> None:
        """Refuse contradictory settings.

        Raises:
            ValueError: they contradict each other.
        """
        if (self.upstream is None) == (self.app is None):
            raise ValueError("expected either upstream or app, and not both")
        if self.preserve_host is not None and self.app is not None:
            raise ValueError(
                "expected preserve_host only with an upstream: an app always gets the client's Host"
            )

    @property
    def keeps_host(self) -> bool:
        """Whether the client's ``Host`` is passed on; by default, for the target of all paths.

        That is the service that clients mean by the name. A service for only some of the paths is
        usually elsewhere, with a name of its own. The default for a target does not depend on other
        targets.
        """
        return self.prefix == "/" if self.preserve_host is None else self.preserve_host

    @property
    def cut(self) -> str:
        """The prefix to remove from each path."""
        return self.prefix.rstrip("/") if self.strip_prefix else ""


@frozen(kw_only=True)
class Config:
    """The whole configuration, checked.

    Attributes:
        target: the configured targets, each with its own limits or else the executor's;
            ``targets`` has the effective ones.
        server: the section as configured; ``dialects`` has the effective dialects.
    """

    server: ServerSection = ServerSection()
    admin: AdminSection = AdminSection()
    dashboard: DashboardSection = DashboardSection()
    store: StoreSection = StoreSection()
    capture: CaptureSection = CaptureSection()
    http: HttpSection = HttpSection()
    executor: ExecutorSection = ExecutorSection()
    limits: LimitsSection = LimitsSection()
    retention: RetentionSection = RetentionSection()
    datameer: DatameerSection = DatameerSection()
    privacy: PrivacySection = PrivacySection()
    log: LogSection = LogSection()
    metrics: MetricsSection = MetricsSection()
    tracing: TracingSection = TracingSection()
    target: tuple[TargetSection, ...] = ()

    @property
    def targets(self) -> tuple[TargetSection, ...]:
        """The effective targets: the demo, if none is configured."""
        return self.target or (TargetSection(app=DEMO, **self.executor.shared),)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The effective dialects; by default, all of them for the demo, and otherwise none.

        A service may have paths of its own that look like theirs.
        """
        if self.server.dialects is not None:
            return self.server.dialects
        return DIALECTS if self.is_demo else ()

    @property
    def is_demo(self) -> bool:
        """Whether the demo is the only target."""
        return all(target.app == DEMO for target in self.targets)
