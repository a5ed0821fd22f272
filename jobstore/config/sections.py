"""The configuration's sections: each key is declared here once, with its type and its default.

Messages, the nearest valid key and the names in the environment all follow from this declaration;
config.example.toml says the same in words, and a test holds the two together.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator, model_validator

from jobstore.model.job import Replay
from jobstore.model.message import HeadLimits
from jobstore.model.written import (
    DAY,
    DIALECTS,
    GIB,
    HOUR,
    KIB,
    MINUTE,
    BasePath,
    BaseUrl,
    Count,
    CountOrUnlimited,
    DialectsOrAuto,
    Duration,
    DurationOrNever,
    FileName,
    HeaderNames,
    HeadSize,
    Hosts,
    InlineSize,
    Networks,
    Origins,
    Port,
    PositiveDuration,
    PositiveDurationOrNever,
    PositiveSize,
    RateOrUnlimited,
    Retries,
    SizeOrUnlimited,
    Statuses,
    TimeZone,
)

DEMO: Final = "jobstore.demo:create_app"  # who answers when no target is configured


class Section(BaseModel):
    """Some keys that belong together."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSection(Section):
    """Where the server listens, and whose calls it answers; port 0 takes any free port."""

    host: str = Field("127.0.0.1", min_length=1, description="a host name or an address")
    port: Port = 8529
    open: bool = Field(default=False, description="true or false")
    dialects: DialectsOrAuto = None
    keep_alive: PositiveDuration = 75.0
    origins: Origins = ()
    hosts: Hosts = ()
    trusted_proxies: Networks = ()


class StoreSection(Section):
    """The store's file; sizes are in bytes, and a ``max_size`` of 0 is no limit."""

    path: FileName = Path("jobs.db")
    max_size: SizeOrUnlimited = ByteSize(0)
    inline_limit: InlineSize = ByteSize(256 * KIB)


class CaptureSection(Section):
    """What is taken in; the size is in bytes."""

    body_limit: PositiveSize = ByteSize(GIB)


class HttpSection(Section):
    """How much the head of a request, or of an answer, may be; sizes are in bytes."""

    field_size: HeadSize = ByteSize(64 * KIB)
    fields: Count = 1000
    head_size: HeadSize = ByteSize(128 * KIB)

    @property
    def limits(self) -> HeadLimits:
        """The same as a value."""
        return HeadLimits(
            field_size=int(self.field_size), fields=self.fields, size=int(self.head_size)
        )


class TargetLimits(Section):
    """What holds for each target by itself; a timeout is in seconds, None is to wait for ever."""

    concurrency: Count = 32
    timeout: PositiveDurationOrNever = HOUR
    replay: Replay = Field(Replay.IDEMPOTENT, description='"idempotent", "always" or "never"')
    retries: Retries = 0
    retry_delay: PositiveDuration = 1.0
    retry_delay_max: PositiveDuration = 5 * MINUTE
    retry_statuses: Statuses = (429, 502, 503, 504)
    forward_credentials: bool = Field(default=False, description="true or false")


class ExecutorSection(TargetLimits):
    """How jobs run; times are in seconds."""

    queue_limit: Count = 100_000
    max_attempts: Count = 3
    drain: Duration = 30.0
    cancel_grace: Duration = 10.0


class LimitsSection(Section):
    """What one owner may have, 0 being no bound; and how deep jobs may make jobs."""

    queued: CountOrUnlimited = 0
    running: CountOrUnlimited = 0
    stored_bytes: SizeOrUnlimited = ByteSize(0)
    submissions_per_second: RateOrUnlimited = 0.0
    depth: Retries = 8


class RetentionSection(Section):
    """How long things are kept, in seconds; None is for ever."""

    unfetched: PositiveDurationOrNever = 30 * DAY
    fetched: DurationOrNever = DAY
    history: DurationOrNever = 90 * DAY
    interval: PositiveDuration = MINUTE


class DatameerSection(Section):
    """How Datameer's dialect writes times."""

    time_zone: TimeZone = "UTC"


class PrivacySection(Section):
    """Which headers are secret, in lower case, besides those that always are."""

    redact: HeaderNames = ()


class LogSection(Section):
    """What is logged, and in which form."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description='"debug", "info", "warning" or "error"'
    )
    format: Literal["text", "json"] = Field("text", description='"text" or "json"')


class TargetSection(TargetLimits):
    """Who answers the paths under a prefix: a service upstream, or an application in process."""

    prefix: BasePath = "/"
    upstream: BaseUrl | None = Field(
        None, description="an http:// or https:// URL without user, query and fragment"
    )
    app: str | None = Field(
        None,
        pattern=r"^\w+(\.\w+)*:\w+(\.\w+)*$",
        description="MODULE:FACTORY, such as mypackage.web:create_app",
    )

    @model_validator(mode="after")
    def _one_answers(self) -> Self:
        if (self.upstream is None) == (self.app is None):
            raise ValueError("expected either upstream or app, and not both")
        return self

    def within(self, shared: TargetLimits) -> Self:
        """Return the same target with the shared limits where it was given none of its own."""
        missing = TargetLimits.model_fields.keys() - self.model_fields_set
        return self.model_copy(update={name: getattr(shared, name) for name in missing})


class Config(BaseModel):
    """All that can be configured, checked.

    Attributes:
        target: the targets as they were written; ``targets`` has what holds for them.
        server: how it was written; ``dialects`` has those in force.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    server: ServerSection = ServerSection()
    store: StoreSection = StoreSection()
    capture: CaptureSection = CaptureSection()
    http: HttpSection = HttpSection()
    executor: ExecutorSection = ExecutorSection()
    limits: LimitsSection = LimitsSection()
    retention: RetentionSection = RetentionSection()
    datameer: DatameerSection = DatameerSection()
    privacy: PrivacySection = PrivacySection()
    log: LogSection = LogSection()
    target: tuple[TargetSection, ...] = Field((), description="tables headed [[target]]")

    @property
    def targets(self) -> tuple[TargetSection, ...]:
        """The targets in force, each with its own limits or else the executor's."""
        written = self.target or (TargetSection(app=DEMO),)
        return tuple(target.within(self.executor) for target in written)

    @property
    def dialects(self) -> tuple[str, ...]:
        """The dialects in force: unless it is said, all of them for the demo, and else none.

        A service may have paths of its own that look like theirs.
        """
        if self.server.dialects is not None:
            return self.server.dialects
        return DIALECTS if self.is_demo else ()

    @property
    def is_demo(self) -> bool:
        """Whether nothing but the demo answers."""
        return all(target.app == DEMO for target in self.targets)

    @field_validator("target", mode="before")
    @classmethod
    def _one_is_a_list_too(cls, value: object) -> object:
        # The environment can write one target, as JOBSTORE_TARGET__UPSTREAM, but no list of them.
        return [value] if isinstance(value, Mapping) else value

    @field_validator("target")
    @classmethod
    def _prefixes_differ(cls, value: tuple[TargetSection, ...]) -> tuple[TargetSection, ...]:
        if len({target.prefix for target in value}) < len(value):
            raise ValueError("expected a different prefix for each target")
        return value
