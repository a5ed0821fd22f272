"""The words of job definitions: requests that are kept under a name, to be run again and again."""

import unicodedata
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from jobstore.model.account import NOBODY
from jobstore.model.clock import iso
from jobstore.model.errors import DefinitionInvalid
from jobstore.model.job import OF_TARGET, Dialect, Policy, Submission, Trigger
from jobstore.model.message import REDACTED, Request
from jobstore.model.schedule import CatchUp, Overlap, Schedule, checked_cron, problem
from jobstore.model.written import TimeZone
from jobstore.model.written_request import TOLD, WrittenRequest, read

_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 1024


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
        policy: how an attempt is made, and when it is made again.
        schedule: when it runs by itself, or None.
    """

    name: str
    path: str
    request: Request
    policy: Policy = OF_TARGET
    schedule: Schedule | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as it stands in the store; times are in microseconds since 1970.

    Args:
        id: its number among the definitions.
        file_id: its number among the files of Datameer's dialect, which is another one.
        uuid: what names it everywhere.
        owner: whose it is.
        account: to which it belongs; the owner's name is for people.
        draft: what it says.
        fires_at: when it runs by itself next, or since when that is due; None is never.
    """

    id: int
    file_id: int
    uuid: str
    owner: str
    created_at: int
    changed_at: int
    draft: Draft
    fires_at: int | None = None
    account: int = NOBODY

    def run(
        self,
        target: str,
        dialect: Dialect,
        owner: str,
        trigger: Trigger,
        account: int = NOBODY,
    ) -> Submission:
        """Return what to submit for a run.

        Args:
            target: the name of the target that owns the request's path.
            dialect: the API in which the run was asked for.
            owner: who asked for it.
            trigger: what started it.
            account: that of the owner.
        """
        return Submission(
            request=self.draft.request,
            target=target,
            dialect=dialect,
            owner=owner,
            account=account,
            definition=self.id,
            trigger=trigger,
            policy=self.draft.policy,
        )


def _clean_name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


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


def _told_cron(cron: str) -> str:
    try:
        return checked_cron(cron)
    except ValueError as invalid:
        raise PydanticCustomError(TOLD, "cron: {why}", {"why": str(invalid)}) from None


def _told_schedule(value: object) -> object:
    """Read a schedule, if there is one."""
    if isinstance(value, Mapping):
        return _read_schedule(value)
    if value is None:
        return None
    raise ValueError


def _read_schedule(value: Mapping[str, object]) -> Schedule:
    """Read a schedule, and tell which of its members are wrong."""
    try:
        return _firing(Schedule(**dict(read(_WrittenSchedule, value, "cron"))))
    except ValueError as invalid:
        problems = "\n".join(f"schedule.{line}" for line in str(invalid).splitlines())
        raise PydanticCustomError(TOLD, "{why}", {"why": problems}) from None


def _firing(schedule: Schedule) -> Schedule:
    """Refuse a schedule whose only times are such as the clocks of its zone leave out."""
    if (why := problem(schedule)) is not None:
        raise ValueError(f"cron: {why}")
    return schedule


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


_Cron: TypeAlias = Annotated[
    str,
    AfterValidator(_told_cron),
    Field(description="a cron expression such as 0 3 * * *"),
]
_CatchUp: TypeAlias = Annotated[CatchUp, Field(description='"one", "none" or "all"')]
_Overlap: TypeAlias = Annotated[Overlap, Field(description='"skip", "queue" or "allow"')]
_Paused: TypeAlias = Annotated[StrictBool, Field(description="true or false")]


class _WrittenSchedule(BaseModel):
    """A schedule as people write it."""

    model_config = ConfigDict(extra="forbid")

    cron: _Cron
    time_zone: TimeZone = "UTC"
    catch_up: _CatchUp = CatchUp.ONE
    overlap: _Overlap = Overlap.SKIP
    paused: _Paused = False


_Schedule: TypeAlias = Annotated[
    Schedule | None,
    BeforeValidator(_told_schedule),
    Field(
        description='an object such as {"cron": "0 3 * * *", "time_zone": "Europe/Berlin"}, or null'
    ),
]


class _Written(WrittenRequest):
    """A definition as people write it, in JSON or TOML."""

    largest: ClassVar[int] = 2**20  # each run has a copy

    name: _Name
    path: _Path
    schedule: _Schedule = None

    @property
    def draft(self) -> Draft:
        return Draft(
            name=self.name,
            path=self.path,
            request=self.request,
            policy=self.policy,
            schedule=self.schedule,
        )


def parse(written: object) -> Draft:
    """Read a definition as people write it.

    Args:
        written: what JSON or TOML gave.

    Raises:
        DefinitionInvalid: it is none; the message says what was expected.
    """
    try:
        return read(_Written, written, "name, path and target").draft
    except ValueError as invalid:
        raise DefinitionInvalid(str(invalid)) from None


def change(draft: Draft, changes: object) -> Draft:
    """Change some of what a definition says.

    Args:
        draft: what it says now.
        changes: the members that are to be different; null takes a member back to its default.
            Of a schedule, too, only those members are given that are to be different.

    Raises:
        DefinitionInvalid: the outcome would be no definition.
    """
    if not isinstance(changes, Mapping):
        raise DefinitionInvalid("expected an object with the members to change")
    merged = {**write(draft), **changes}
    if draft.schedule is not None and isinstance(changes.get("schedule"), Mapping):
        schedule = {**asdict(draft.schedule), **changes["schedule"]}
        merged["schedule"] = {name: each for name, each in schedule.items() if each is not None}
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
        **asdict(draft.policy),
        "schedule": asdict(draft.schedule) if draft.schedule else None,
    }


def described(definition: Definition, secret: frozenset[str]) -> dict[str, Any]:
    """Write all that is known of a definition, for people and programs.

    Args:
        secret: lower-case names of headers whose values are not shown.
    """
    fires_at = definition.fires_at
    return {
        "id": definition.id,
        "file_id": definition.file_id,
        "uuid": definition.uuid,
        **write(definition.draft, secret),
        "owner": definition.owner,
        "created_at": iso(definition.created_at),
        "changed_at": iso(definition.changed_at),
        "fires_at": None if fires_at is None else iso(fires_at),
    }


def _written_body(body: bytes) -> dict[str, str | None]:
    try:
        return {"body": body.decode() if body else None}
    except UnicodeDecodeError:
        return {"body_base64": b64encode(body).decode()}
