"""The words of job definitions: requests that are kept under a name, to be run again and again."""

import unicodedata
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any, Final, Self, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from jobstore.errors import DefinitionInvalid
from jobstore.job import Dialect, Replay, Submission, Trigger
from jobstore.message import HOP_BY_HOP, REDACTED, Headers, Request
from jobstore.written import PositiveDuration

# What sending a request decides by itself, or what asks for a job instead of an answer.
_NOT_KEPT: Final = HOP_BY_HOP | {"host", "content-length", "expect", "prefer", "x-arango-async"}
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 1024
_LONGEST_TARGET: Final = 8192
_LARGEST_BODY: Final = 2**20  # bytes; each run has a copy
_MOST_PROBLEMS: Final = 20  # more of them say nothing new, and take long to write

_FIELD_NAME: Final = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"  # RFC 9110 section 5.6.2
_FIELD_VALUE: Final = r"^[^\x00-\x1f\x7f]*$"


class Key(StrEnum):
    """What a definition can be found by."""

    ID = "id"
    FILE_ID = "file_id"
    UUID = "uuid"
    PATH = "path"


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a definition says.

    Args:
        name: what people call it.
        path: where it stands among the others, such as ``/Imports/daily``.
        request: what a run of it sends.
        timeout: how long an attempt may take, in seconds, or None for as long as the target says.
        replay: what may be sent again, or None for what the target says.
    """

    name: str
    path: str
    request: Request
    timeout: float | None = None
    replay: Replay | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as it stands in the store; times are in microseconds since 1970.

    Args:
        id: its number among the definitions.
        file_id: its number among the files of Datameer's dialect, which is another one.
        uuid: what names it everywhere.
        owner: whose it is.
        draft: what it says.
    """

    id: int
    file_id: int
    uuid: str
    owner: str
    created_at: int
    changed_at: int
    draft: Draft

    def run(self, target: str, dialect: Dialect, owner: str, trigger: Trigger) -> Submission:
        """Return what to submit for a run.

        Args:
            target: the name of the target that owns the request's path.
            dialect: the API in which the run was asked for.
            owner: who asked for it.
            trigger: what started it.
        """
        return Submission(
            request=self.draft.request,
            target=target,
            dialect=dialect,
            owner=owner,
            definition=self.id,
            trigger=trigger,
            timeout=self.draft.timeout,
            replay=self.draft.replay,
        )


def _clean_name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


def _encodable(value: str) -> str:
    value.encode()
    return value


def _no_tunnel(method: str) -> str:
    if method == "CONNECT":
        raise ValueError
    return method


def normal_path(value: str) -> str:
    """Write a definition's path in the one way in which it is compared.

    Raises:
        ValueError: it is none.
    """
    path = unicodedata.normalize("NFC", value)
    parts = path.split("/")[1:]
    if not path.startswith("/") or not path.isprintable() or len(path) > _LONGEST_PATH:
        raise ValueError
    if any(part.strip() in {"", ".", ".."} for part in parts):
        raise ValueError
    return path


_Name: TypeAlias = Annotated[
    str,
    Field(max_length=_LONGEST_NAME, description=f"a name of 1 to {_LONGEST_NAME} characters"),
    AfterValidator(_clean_name),
]
_Path: TypeAlias = Annotated[
    str,
    AfterValidator(normal_path),
    Field(
        description="a path such as /Imports/daily: it begins with a slash, and no part of it is "
        "empty, . or .."
    ),
]
_Method: TypeAlias = Annotated[
    str,
    Field(pattern=r"^[A-Z]{1,20}$", description="a method such as GET or POST"),
    AfterValidator(_no_tunnel),
]
_Target: TypeAlias = Annotated[
    str,
    Field(
        pattern=r"^/[!-\"$-~]*$",
        max_length=_LONGEST_TARGET,
        description="the path with query to ask, percent-encoded, such as "
        "/import?records=100&seconds=1",
    ),
]
_Value: TypeAlias = Annotated[str, Field(pattern=_FIELD_VALUE), AfterValidator(_encodable)]
_Headers: TypeAlias = Annotated[
    dict[Annotated[str, Field(pattern=_FIELD_NAME)], _Value | list[_Value]],
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


class _Written(BaseModel):
    """A definition as people write it, in JSON or TOML."""

    model_config = ConfigDict(extra="forbid")

    name: _Name
    path: _Path
    method: _Method = "GET"
    target: _Target
    headers: _Headers = Field(default_factory=dict)
    body: _Body = None
    body_base64: _Base64 = None
    timeout: _Timeout = None
    replay: _Replay = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.body is not None and self.body_base64 is not None:
            raise ValueError("expected either body or body_base64, and not both")
        for name, value in self.headers.items():
            if name.lower() in _NOT_KEPT:
                raise ValueError(f"headers: {name} is not a definition's to say; leave it out")
            if REDACTED in value:
                raise ValueError(f"headers: {name} is {REDACTED}; give its value, or no headers")
        if len(self.content) > _LARGEST_BODY:
            raise ValueError(f"body: expected at most {_LARGEST_BODY} bytes")
        return self

    @property
    def content(self) -> bytes:
        if self.body_base64 is None:
            return (self.body or "").encode()
        try:
            return b64decode(self.body_base64, validate=True)
        except ValueError:
            raise ValueError("body_base64: expected bytes in base64") from None

    @property
    def draft(self) -> Draft:
        request = Request(
            method=self.method, path=self.target, headers=_flat(self.headers), body=self.content
        )
        return Draft(
            name=self.name,
            path=self.path,
            request=request,
            timeout=self.timeout,
            replay=self.replay,
        )


def _flat(headers: Mapping[str, str | list[str]]) -> Headers:
    return tuple(
        (name, each)
        for name, value in headers.items()
        for each in ([value] if isinstance(value, str) else value)
    )


def parse(written: object) -> Draft:
    """Read a definition as people write it.

    Args:
        written: what JSON or TOML gave.

    Raises:
        DefinitionInvalid: it is none; the message says what was expected.
    """
    if not isinstance(written, Mapping):
        raise DefinitionInvalid("expected an object with name, path and target")
    try:
        return _Written.model_validate(written).draft
    except ValidationError as invalid:
        errors = invalid.errors(include_url=False)[:_MOST_PROBLEMS]
        problems = [_problem(error["loc"], error) for error in errors]
        raise DefinitionInvalid("\n".join(dict.fromkeys(problems))) from None


def change(draft: Draft, changes: object) -> Draft:
    """Change some of what a definition says.

    Args:
        draft: what it says now.
        changes: the members that are to be different; null takes a member back to its default.

    Raises:
        DefinitionInvalid: the outcome would be no definition.
    """
    if not isinstance(changes, Mapping):
        raise DefinitionInvalid("expected an object with the members to change")
    merged = {**write(draft), **changes}
    if "body" in changes and "body_base64" not in changes:
        merged.pop("body_base64", None)
    if "body_base64" in changes and "body" not in changes:
        merged.pop("body", None)
    return parse({name: value for name, value in merged.items() if value is not None})


def write(draft: Draft, secret: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Write a definition as `parse` reads it.

    Args:
        draft: what it says.
        secret: lower-case names of headers whose values are not shown.
    """
    request = draft.request
    assert isinstance(request.body, bytes)
    headers: dict[str, str | list[str]] = {}
    for name, value in request.headers:
        shown = REDACTED if name.lower() in secret else value
        known = headers.get(name)
        if known is None:
            headers[name] = shown
        else:
            headers[name] = [*([known] if isinstance(known, str) else known), shown]
    return {
        "name": draft.name,
        "path": draft.path,
        "method": request.method,
        "target": request.path,
        "headers": headers,
        **_written_body(request.body),
        "timeout": draft.timeout,
        "replay": draft.replay,
    }


def _written_body(body: bytes) -> dict[str, str | None]:
    try:
        return {"body": body.decode() if body else None}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}


def _problem(place: tuple[int | str, ...], error: Mapping[str, Any]) -> str:
    if not place:
        return str(error["ctx"]["error"])
    name = str(place[0])[:_LONGEST_NAME]
    fields = _Written.model_fields
    if error["type"] == "extra_forbidden":
        nearest = get_close_matches(name, fields, n=1, cutoff=0.0)[0]
        return f"{name}: no such member; did you mean {nearest}?"
    return f"{name}: expected {_described(name)}"


def _described(name: str) -> str:
    return str(_Written.model_fields[name].description)
