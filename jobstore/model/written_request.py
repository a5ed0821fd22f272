"""Requests as people write them in JSON or TOML, for definitions and for single jobs."""

from base64 import b64decode
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from jobstore.model.job import Policy, Replay
from jobstore.model.message import FRONT, HOP_BY_HOP, ORIGIN_FORM, REDACTED, Headers, Request
from jobstore.model.nearest import nearest
from jobstore.model.written import PositiveDuration, Retries

# What sending a request decides by itself, or what asks for a job instead of an answer.
_NOT_KEPT: Final = HOP_BY_HOP | {
    "host",
    "content-length",
    "expect",
    "prefer",
    "x-arango-async",
    FRONT.lower(),
}
_LONGEST_TARGET: Final = 8192
_LONGEST_NAME: Final = 255
_MOST_MEMBERS: Final = 100
_MOST_FIELDS: Final = 1000
_MOST_PROBLEMS: Final = 20  # more of them say nothing new, and take long to write

# The type of an error that says by itself what is wrong, and where.
TOLD: Final = "told"

_FIELD_NAME: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # RFC 9110 section 5.6.2
_FIELD_VALUE: Final = r"^[^\x00-\x1f\x7f]*$"


def _few(value: object) -> object:
    """Refuse input that would take long to check, before checking each part of it."""
    if isinstance(value, Mapping):
        fields = (len(each) if isinstance(each, list) else 1 for each in value.values())
        if sum(fields) > _MOST_FIELDS:
            raise ValueError
    return value


def _encodable(value: str) -> str:
    value.encode()
    return value


def _no_tunnel(method: str) -> str:
    if method == "CONNECT":
        raise ValueError
    return method


_Method: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[A-Z]{1,20}$", description="a method such as GET or POST"),
    AfterValidator(_no_tunnel),
]
_Target: TypeAlias = Annotated[
    str,
    Field(
        pattern=rf"^{ORIGIN_FORM.pattern}$",
        max_length=_LONGEST_TARGET,
        description="the path with query to ask, percent-encoded, such as "
        "/import?records=100&seconds=1",
    ),
]
_Value: TypeAlias = Annotated[str, Field(pattern=_FIELD_VALUE), AfterValidator(_encodable)]
_Headers: TypeAlias = Annotated[
    dict[Annotated[str, Field(pattern=_FIELD_NAME)], _Value | list[_Value]],
    BeforeValidator(_few),
    Field(description='an object such as {"Accept": "text/csv", "X-Tag": ["a", "b"]}'),
]
_Body: TypeAlias = Annotated[
    Annotated[str, AfterValidator(_encodable)] | None, Field(description="a string")
]
_Base64: TypeAlias = Annotated[str | None, Field(description="bytes in base64")]
_Timeout: TypeAlias = Annotated[
    PositiveDuration | None, Field(description="a duration such as 500ms, 30s, 15m or 24h, or null")
]
_Replay: TypeAlias = Annotated[
    Replay | None, Field(description='"idempotent", "always", "never" or null')
]
_Retries: TypeAlias = Annotated[
    Retries | None, Field(description="a whole number from 0 to 1000, or null")
]


class WrittenRequest(BaseModel):
    """A request and how to send it; each field's description says what is expected.

    Attributes:
        largest: how many bytes its body may have.
    """

    model_config = ConfigDict(extra="forbid")
    largest: ClassVar[int]

    method: _Method = "GET"
    target: _Target
    headers: _Headers = Field(default_factory=dict)
    body: _Body = None
    body_base64: _Base64 = None
    timeout: _Timeout = None
    replay: _Replay = None
    retries: _Retries = None

    @property
    def policy(self) -> Policy:
        """Timeout, replay and retries."""
        return Policy(timeout=self.timeout, replay=self.replay, retries=self.retries)

    @model_validator(mode="after")
    def _check_request(self) -> Self:
        if self.body is not None and self.body_base64 is not None:
            raise ValueError("expected either body or body_base64, and not both")
        for name, value in self.headers.items():
            if name.lower() in _NOT_KEPT:
                raise ValueError(f"headers: {name} is set by jobstore; leave it out")
            if REDACTED in value:
                raise ValueError(
                    f"headers: {name} is {REDACTED}; give its value, or leave the headers out"
                )
        if len(self._content) > self.largest:
            raise ValueError(f"body: expected at most {self.largest} bytes")
        return self

    @property
    def _content(self) -> bytes:
        if self.body_base64 is None:
            return (self.body or "").encode()
        try:
            return b64decode(self.body_base64, validate=True)
        except ValueError:
            raise ValueError("body_base64: expected bytes in base64") from None

    @property
    def request(self) -> Request:
        """The request itself."""
        return Request(
            method=self.method, path=self.target, headers=_flat(self.headers), body=self._content
        )


W = TypeVar("W", bound=BaseModel)


def _flat(headers: Mapping[str, str | list[str]]) -> Headers:
    return tuple(
        (name, each)
        for name, value in headers.items()
        for each in ([value] if isinstance(value, str) else value)
    )


def read(model: type[W], written: object, members: str) -> W:
    """Read what people wrote.

    Args:
        model: what it should be.
        written: what JSON or TOML gave.
        members: what an object has to have, for the message if it is invalid.

    Raises:
        ValueError: it is something else; each line of the message is one problem.
    """
    size = len(written) if isinstance(written, Mapping) else None
    if size is None:
        raise ValueError(f"expected an object with {members}")
    if size > _MOST_MEMBERS:
        raise ValueError(f"expected an object of at most {_MOST_MEMBERS} members, with {members}")
    try:
        return model.model_validate(written)
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)[:_MOST_PROBLEMS]
        problems = [_problem(model, error["loc"], error) for error in errors]
        raise ValueError("\n".join(dict.fromkeys(problems))) from None


def _problem(model: type[BaseModel], place: tuple[int | str, ...], error: Mapping[str, Any]) -> str:
    if not place:
        return str(error["ctx"]["error"])
    if error["type"] == TOLD:
        return str(error["msg"])
    name = str(place[0])[:_LONGEST_NAME]
    fields = {field.alias or own: field for own, field in model.model_fields.items()}
    if error["type"] == "extra_forbidden":
        return f"{name}: no such member; did you mean {nearest(name, fields)}?"
    return f"{name}: expected {fields[name].description}"
