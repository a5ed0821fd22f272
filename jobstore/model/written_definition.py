"""Definitions as people write them, in JSON or TOML.

Reading one takes pydantic, so that this is imported where, and when, somebody has written one.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from jobstore.model.definition import Draft, normal_path, write
from jobstore.model.errors import DefinitionInvalid
from jobstore.model.schedule import CatchUp, Overlap, Schedule, checked_cron, problem
from jobstore.model.written import TimeZone, kind_of
from jobstore.model.written_request import TOLD, WrittenRequest, read

_LONGEST_NAME: Final = 255


def _clean_name(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise ValueError
    return value


def _told_cron(cron: str) -> str:
    try:
        return checked_cron(cron)
    except ValueError as invalid:
        raise PydanticCustomError(TOLD, "cron: {why}", {"why": str(invalid)}) from None


def _told_schedule(value: object) -> object:
    """Read a schedule, and tell which of its members are wrong."""
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ValueError  # noqa: TRY004 - pydantic's word for it
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
_TimeZone: TypeAlias = Annotated[TimeZone, Field(description=kind_of(TimeZone).expected)]
_CatchUp: TypeAlias = Annotated[CatchUp, Field(description='"one", "none" or "all"')]
_Overlap: TypeAlias = Annotated[Overlap, Field(description='"skip", "queue" or "allow"')]
_Paused: TypeAlias = Annotated[StrictBool, Field(description="true or false")]


class _WrittenSchedule(BaseModel):
    """A schedule as people write it."""

    model_config = ConfigDict(extra="forbid")

    cron: _Cron
    time_zone: _TimeZone = "UTC"
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
