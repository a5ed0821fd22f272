"""The lines of an export, which are an interface: they outlive the store that wrote them.

The first line is an `ExportHeader`, the last one an `ExportTrailer`; between them stand
`ExportLine`s. A job stands below the definition that it is a run of, and below the pieces of its
large bodies. Times are in microseconds since 1970.
"""

from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from jobstore.model.job import Dialect, Failure, Replay, Trigger
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers

# The version of what stands in the lines; a newer one is refused.
FORMAT: Final = 1

Whole: TypeAlias = Annotated[int, Field(ge=-(2**63), lt=2**63)]
# Far beyond what any store gives, and far enough from the last one that there can be.
Id: TypeAlias = Annotated[int, Field(gt=0, lt=2**62)]
Side: TypeAlias = Literal["request", "response"]


def _headers(value: Any) -> Headers:
    """Read header fields, whose values may contain bytes that are not text."""
    fields = tuple((name, content) for name, content in value)
    if not all(isinstance(text, str) for field in fields for text in field):
        raise ValueError("expected pairs of texts")
    return fields


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class ExportHeader(BaseModel):
    """The first line of an export.

    Args:
        jobstore: marks it as an export.
        format: the version of its lines.
        version: the version of jobstore that wrote it.
        origin: identifies the store that it comes from; None if no server has run there.
        exported_at: when.
        last_ids: the last id given to a job and to a definition, by the table's name, whether
            exported or not; missing in exports of earlier versions.
    """

    model_config = ConfigDict(strict=True, frozen=True)

    jobstore: Literal["history"] = "history"
    format: int
    version: str
    origin: Whole | None
    exported_at: Whole
    last_ids: dict[str, Annotated[int, Field(ge=0, lt=2**62)]] = {}


class DefinitionRecord(_Record):
    """What the history needs of a definition."""

    id: Id
    uuid: str
    name: str
    path: str
    owner: str
    method: str
    request_target: str
    created_at: Whole
    changed_at: Whole


class PieceRecord(_Record):
    """A piece of a large body of the job that follows.

    Args:
        job: its id.
        seq: its index, from 0.
        data: in base64.
    """

    job: Id
    side: Side
    seq: Annotated[int, Field(ge=0)]
    data: str


class MessageRecord(_Record):
    """A request or a response, without its secrets.

    Args:
        body: in base64, or None if it came before in pieces.
        size: of the body, in bytes.
        reason: a response's own reason phrase, if it has one.
    """

    headers: Annotated[Headers, PlainValidator(_headers)]
    body: str | None
    size: Annotated[int, Field(ge=0)]
    reason: str | None = None


class EventRecord(_Record):
    """An entry of a job's history."""

    at: Whole
    event: str
    detail: str | None


class AttemptRecord(_Record):
    """An attempt before the last one."""

    number: Whole
    started_at: Whole
    ended_at: Whole
    status: Whole | None
    failure: Annotated[Failure, Field(strict=False)] | None
    detail: str | None


class JobRecord(_Record):
    """A job's row with everything that belongs to it."""

    id: Id
    state: Annotated[State, Field(strict=False)]
    result: Annotated[Result, Field(strict=False)]
    dialect: Annotated[Dialect, Field(strict=False)]
    owner: str
    target: str
    method: str
    path: str
    priority: Whole
    attempt: Whole
    submitted_at: Whole
    started_at: Whole | None
    finished_at: Whole | None
    fetched_at: Whole | None
    cancel_asked_at: Whole | None
    purgeable_at: Whole | None
    status: Whole | None
    failure: Annotated[Failure, Field(strict=False)] | None
    detail: str | None
    progress: float | None
    counters: dict[str, Whole] | None
    warnings: Whole
    timeout: float | None
    replay: Annotated[Replay, Field(strict=False)] | None
    tag: str | None
    once: Annotated[int, Field(ge=0, le=1)]
    definition: Id | None
    trigger: Annotated[Trigger, Field(strict=False)] | None
    follows: Whole | None
    retries: Whole | None
    retried: Whole
    not_before: Whole | None
    request: MessageRecord | None
    response: MessageRecord | None
    events: list[EventRecord]
    attempts: list[AttemptRecord]


class ExportTrailer(_Record):
    """The last line of an export.

    Args:
        jobs: how many jobs it contains.
    """

    jobs: Annotated[int, Field(ge=0)]


class ExportLine(_Record):
    """Any line but the first; it has exactly one of these members."""

    definition: DefinitionRecord | None = None
    piece: PieceRecord | None = None
    job: JobRecord | None = None
    end: ExportTrailer | None = None
