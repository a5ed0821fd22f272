"""How a job is described in words and figures."""

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime, tzinfo
from enum import StrEnum
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from jobstore.cli.formats import ColumnKind, Columns, as_object
from jobstore.model.clock import SECOND, iso
from jobstore.model.job import Job
from jobstore.model.lifecycle import ENDED, Result, State
from jobstore.model.words import status_line


def _kind(name: str, hint: Any) -> ColumnKind:
    if name.endswith("_at") or name == "not_before":
        return ColumnKind.TIME
    if get_origin(hint) is UnionType:
        hint = next(each for each in get_args(hint) if each is not type(None))
    if get_origin(hint) is Mapping:
        return ColumnKind.OBJECT
    return ColumnKind.TEXT if issubclass(hint, StrEnum) else _KINDS[hint]


_KINDS: Final = {
    int: ColumnKind.WHOLE,
    float: ColumnKind.NUMBER,
    str: ColumnKind.TEXT,
    bool: ColumnKind.FLAG,
}
_HINTS: Final = get_type_hints(Job)
JOB_COLUMNS: Final[Columns] = {
    field.name: _kind(field.name, _HINTS[field.name])
    for field in fields(Job)
    if field.name != "account"  # a number of ours, for nobody else
}

_MILLISECOND: Final = 1000  # microseconds; the others in seconds
_MINUTE: Final = 60
_HOUR: Final = 60 * _MINUTE
_DAY: Final = 24 * _HOUR


def as_row(job: Job) -> list[Any]:
    """Return a job as a row of `JOB_COLUMNS`."""
    return [getattr(job, name) for name in JOB_COLUMNS]


def as_fields(job: Job) -> dict[str, Any]:
    """Return a job's fields as JSON has them, times in ISO 8601."""
    return as_object(JOB_COLUMNS, as_row(job))


def lasting(microseconds: int) -> str:
    """Write a duration with two units at most, such as 0.8ms, 350ms, 2.04s or 5m12s."""
    seconds = microseconds / SECOND
    if 0 < microseconds < _MILLISECOND:
        return f"{microseconds / _MILLISECOND:.1f}ms"
    if 0 < microseconds < SECOND:
        return f"{microseconds // _MILLISECOND}ms"
    if seconds < _MINUTE:
        return f"{seconds:.3g}s"
    whole = int(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE}m{whole % _MINUTE:02}s"
    if whole < _DAY:
        return f"{whole // _HOUR}h{whole % _HOUR // _MINUTE:02}m"
    return f"{whole // _DAY}d{whole % _DAY // _HOUR:02}h"


def age(moment: int, now: int) -> str:
    """Write how long ago a moment was, in whole seconds."""
    return lasting(max(0, now - moment) // SECOND * SECOND)


def to_the_second(moment: int, zone: tzinfo | None = None) -> str:
    """Write a moment as ISO 8601 without fractions of a second, in UTC or in another zone."""
    if zone is None or str(zone) == "UTC":
        return without_fraction(iso(moment))
    return datetime.fromtimestamp(moment // SECOND, zone).isoformat()


def without_fraction(text: str) -> str:
    """Leave the fraction of a second out of a time in UTC, as `iso` writes it."""
    return f"{text[:19]}Z"


def took(job: Job, now: int) -> str:
    """Write how long a job ran, or has been running for."""
    if job.started_at is None:
        return ""
    return lasting(max(0, (job.finished_at or now) - job.started_at))


def why_no_response(job: Job) -> str:
    """Say why a job has no stored response, and what its reader gets instead."""
    if job.state not in ENDED:
        return "none yet"
    if job.state is not State.DONE and job.status is not None:
        asked = "a reader gets" if job.result is Result.HELD else "a reader would have got"
        return f"the target gave none; {asked} {status_line(job.status)}"
    return _WHY_NOT_KEPT[job.result]


_WHY_NOT_KEPT: Final = {
    Result.NONE: "none yet",
    Result.HELD: "missing; `jobstore check` tells more",
    Result.TAKEN: "no longer kept: it was fetched, then purged",
    Result.DELETED: "not kept: it was deleted",
    Result.EXPIRED: "not kept: it was not fetched in time",
    Result.UNWANTED: "not kept: the job was submitted without keeping the result",
}
