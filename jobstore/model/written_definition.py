"""Definitions as people write them, in JSON or TOML.

`definition_reader` imports this only when it is called: reading needs pydantic, storing does not.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StrictBool
from pydantic_core import PydanticCustomError

from jobstore.model.definition import Draft, normal_path
from jobstore.model.kinds import kind_of
from jobstore.model.schedule import CatchUp, Overlap, Schedule, checked_cron, problem
from jobstore.model.written import TimeZone
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
    """Read a schedule, if there is one."""
    if isinstance(value, Mapping):
        return _read_schedule(value)
    if value is None:
        return None
    raise ValueError


def _read_schedule(value: Mapping[str, object]) -> Schedule:
    """Read a schedule, and say which of its members are invalid."""
    try:
        return _firing(Schedule(**dict(read(_WrittenSchedule, value, "cron"))))
    except ValueError as invalid:
        problems = "\n".join(f"schedule.{line}" for line in str(invalid).splitlines())
        raise PydanticCustomError(TOLD, "{why}", {"why": problems}) from None


def _firing(schedule: Schedule) -> Schedule:
    """Refuse a schedule all of whose times are skipped by clock changes in its zone."""
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


def draft(written: object) -> Draft:
    """Read a definition.

    Raises:
        ValueError: it is invalid; each line of the message is one problem.
    """
    return read(_Written, written, "name, path and target").draft
