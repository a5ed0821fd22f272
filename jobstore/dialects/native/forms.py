"""Documents that clients send, as pydantic models; imported when first needed."""

import json
from datetime import datetime
from typing import Annotated, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    model_validator,
)

from jobstore.model import idempotency
from jobstore.model.clock import SECOND
from jobstore.model.message import Request, header
from jobstore.model.target_state import TargetChange
from jobstore.model.written import DAY, Duration
from jobstore.model.written_request import WrittenRequest
from jobstore.web.times import microseconds, zoned

_CENTURY: Final = int(36_500 * DAY) * SECOND
_LARGEST_PRIORITY: Final = 2**31 - 1
_TIME: Final = "a time with its zone such as 2026-11-01T18:00:00Z, in less than a hundred years"


def _number(value: object) -> object:
    """Keep text and ``true`` from being read as numbers."""
    if not isinstance(value, bool | str):
        return value
    raise ValueError


def _clean(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


class WrittenJob(WrittenRequest):
    """A job as people write it."""

    largest: ClassVar[int] = 2**20  # the whole job, as JSON, has to be smaller

    json_body: Annotated[
        object, Field(alias="json", description="any JSON, which becomes the body")
    ] = None
    priority: Annotated[
        int,
        BeforeValidator(_number),
        Field(
            ge=-_LARGEST_PRIORITY,
            le=_LARGEST_PRIORITY,
            description=f"a whole number from -{_LARGEST_PRIORITY} to {_LARGEST_PRIORITY}",
        ),
    ] = 0
    delay: Annotated[
        Duration | None,
        Field(description="a duration such as 500ms, 30s, 15m or 24h, of at most a hundred years"),
    ] = None
    not_before: Annotated[
        datetime | None,
        BeforeValidator(lambda value: None if value is None else zoned(value)),
        Field(description=_TIME),
    ] = None
    tag: Annotated[
        Annotated[str, AfterValidator(_clean)] | None,
        Field(max_length=255, description="a handle of 1 to 255 characters, or null"),
    ] = None
    idempotency_key: Annotated[
        Annotated[str, AfterValidator(idempotency.checked)] | None,
        Field(description="a key of 1 to 255 printable ASCII characters, or null"),
    ] = None

    @model_validator(mode="after")
    def _check_json(self) -> Self:
        if self._is_json and (self.body, self.body_base64) != (None, None):
            raise ValueError("expected either json or body or body_base64, and only one of them")
        return self

    @property
    def _is_json(self) -> bool:
        return "json_body" in self.model_fields_set

    @property
    def _content(self) -> bytes:
        if self._is_json:
            return json.dumps(self.json_body, separators=(",", ":"), allow_nan=False).encode()
        return super()._content

    @property
    def request(self) -> Request:
        """Return the request; a JSON body gets its content type, unless the headers have one."""
        request = super().request
        if not self._is_json or header(request.headers, "content-type"):
            return request
        return request.with_headers((*request.headers, ("Content-Type", "application/json")))

    def waits(self, now: int) -> tuple[int | None, int | None]:
        """Return until when the job waits, or for how many microseconds; neither if it does not.

        Raises:
            ValueError: the value is invalid.
        """
        if self.delay is not None and self.not_before is not None:
            raise ValueError("expected either delay or not_before, and not both")
        if self.not_before is None:
            return None, int((self.delay or 0) * SECOND) or None
        at = microseconds(self.not_before)
        if at - now > _CENTURY:
            raise ValueError(f"not_before: expected {_TIME}")
        return at if at > now else None, None


class WrittenTarget(BaseModel):
    """A change of a target; members that are left out stay as they are."""

    model_config = ConfigDict(extra="forbid")

    paused: Annotated[StrictBool | None, Field(description="true or false")] = None
    reason: Annotated[
        Annotated[str, AfterValidator(_clean)] | None,
        Field(max_length=500, description="a text of 1 to 500 characters, or null"),
    ] = None
    concurrency: Annotated[
        Annotated[int, Field(ge=1, le=_LARGEST_PRIORITY)] | None,
        BeforeValidator(_number),
        Field(description="a whole number from 1 on, or null for what the configuration says"),
    ] = None

    @model_validator(mode="after")
    def _check_change(self) -> Self:
        if self.reason is not None and not self.paused:
            raise ValueError('reason: expected only with "paused": true')
        if self.paused is None and "concurrency" not in self.model_fields_set:
            raise ValueError("expected paused or concurrency")
        return self

    @property
    def change(self) -> TargetChange:
        """Return the change as a value."""
        return TargetChange(
            paused=self.paused,
            reason=self.reason,
            sizes="concurrency" in self.model_fields_set,
            concurrency=self.concurrency,
        )


class WrittenReport(BaseModel):
    """The report of an upstream service on its job."""

    model_config = ConfigDict(extra="forbid")

    progress: Annotated[float, Field(ge=0, le=100)] | None = None
    counters: dict[str, Annotated[int, Field(ge=-(2**63), lt=2**63)]] = Field(default_factory=dict)
    warnings: tuple[str, ...] = ()
