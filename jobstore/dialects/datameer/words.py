"""Datameer's words for the state of a job: pure functions from values to JSON.

The facts are from Datameer's documentation, "REST API Job Commands". Its two generations of calls
spell one status differently and write times in different forms.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, assert_never
from zoneinfo import ZoneInfo

from jobstore.model.clock import SECOND
from jobstore.model.definition import Definition
from jobstore.model.job import Job, Trigger
from jobstore.model.lifecycle import State

NEVER_RUN: Final = "_NONE"
_WARNED: Final = "COMPLETED_WITH_Warnings"
_WARNED_V2: Final = "COMPLETED_WITH_WARNINGS"
# In English, whatever the locale of this process.
_MONTHS: Final = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip
_NOON: Final = 12
CENTURY: Final = 36_500 * 86_400.0  # seconds; more is a guess from next to no progress


def status(job: Job, warned: str = _WARNED) -> str:
    """Return the state of a job.

    Args:
        warned: the word for one that succeeded with warnings.
    """
    match job.state:
        case State.QUEUED:
            return "WAITING_FOR_OTHER_JOB" if job.waits else "QUEUED"
        case State.RUNNING:
            return "RUNNING"
        case State.DONE if job.succeeded:
            return warned if job.warnings else "COMPLETED"
        case State.DONE | State.FAILED:
            return "ERROR"
        case State.CANCELLED:
            return "CANCELED"
        case _:
            assert_never(job.state)


def status_v2(job: Job) -> str:
    """Return the state of a job in the second generation's spelling."""
    return status(job, _WARNED_V2)


def short(job: Job) -> dict[str, Any]:
    """Return a job as the first generation lists it."""
    return {"id": job.id, "jobStatus": status(job)}


def listed(job: Job, name: str | None, zone: ZoneInfo) -> dict[str, Any]:
    """Return a job as an item of the list of active ones.

    Args:
        name: the name of its definition, if it is a run of one.
        zone: the time zone of written times.
    """
    return {
        **short(job),
        "configurationId": job.definition,
        "name": name,
        "owner": job.owner,
        "startTime": timestamp(job.started_at, zone),
        "progress": _whole(job.progress),
    }


def detailed(job: Job, name: str | None, zone: ZoneInfo) -> dict[str, Any]:
    """Return all details of a job: first the documented ones, in that order; see `listed`."""
    return {
        "counters": dict(job.counters),
        "failureCount": _counted(job.counters, "DROPPED_RECORDS"),
        "jobStatus": status(job),
        "startTime": timestamp(job.started_at, zone),
        "stopTime": timestamp(job.finished_at, zone),
        "successCount": _counted(job.counters, "RECORDS"),
        **listed(job, name, zone),
        "warnings": job.warnings,
        "trigger": job.trigger,
        "errorMessage": _problem(job),
    }


def never_run() -> dict[str, Any]:
    """Return the second generation's status of a file that never ran."""
    return {"status": "success", "job-status": NEVER_RUN}


def status_of(
    definition: Definition, job: Job, seconds_left: float, zone: ZoneInfo
) -> dict[str, Any]:
    """Return the second generation's status of a definition.

    Args:
        job: its latest run.
        seconds_left: how long it may still take, or 0 if unknown.
        zone: the time zone of written times.
    """
    written: dict[str, Any] = {
        "status": "success",
        "file-id": definition.file_id,
        "job-execution-id": job.id,
        "job-status": status_v2(job),
        "start-time": date(job.started_at, zone),
    }
    if job.state is State.RUNNING:
        written["estimate-time"] = f"{round(seconds_left)}s"
        written["job-progress"] = str(_whole(job.progress) or 0)
    if job.finished_at is not None:
        written["stop-time"] = date(job.finished_at, zone)
    return written


def triggered(job_id: int, user: str) -> dict[str, Any]:
    """Return the answer to a trigger."""
    return {"status": "success", "job-execution-id": job_id, **_started_by(user)}


def sequence(ids: list[int], user: str) -> dict[str, Any]:
    """Return the answer to a sequential trigger."""
    return {"status": "success", "job-execution-ids": ids, **_started_by(user)}


def failure(reason: str) -> dict[str, str]:
    """Return the answer to a failed call."""
    return {"status": "failure", "reason": reason}


def seconds_left(elapsed: float, usual: float | None, progress: float | None) -> float:
    """Estimate how long a running job may still take.

    Args:
        elapsed: how long it has taken already, in seconds.
        usual: how long similar jobs took, in seconds, or None if there were none.
        progress: its reported progress, in percent, or None.

    Returns:
        seconds, from 0 to a century; 0 if nothing is known.
    """
    if usual is not None:
        return max(0.0, usual - elapsed)
    if progress:
        return min(CENTURY, elapsed * (100 - progress) / progress)
    return 0.0


def date(moment: int | None, zone: ZoneInfo) -> str | None:
    """Return a time in the second generation's form: ``Sep 28, 2018 6:44:56 PM``.

    Args:
        moment: microseconds since 1970, or None.
        zone: the time zone.
    """
    if moment is None:
        return None
    at = _local(moment, zone)
    half = "AM" if at.hour < _NOON else "PM"
    day = f"{_MONTHS[at.month - 1]} {at.day}, {at.year}"
    return f"{day} {at.hour % _NOON or _NOON}:{at:%M:%S} {half}"


def timestamp(moment: int | None, zone: ZoneInfo) -> str | None:
    """Return a time in the first generation's form: ``2012-07-06 18:19:09.0``; see `date`."""
    if moment is None:
        return None
    at = _local(moment, zone)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 100_000}"


def _local(moment: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(moment / SECOND, zone)


def _started_by(user: str) -> dict[str, str]:
    return {"job-execution-user": user, "job-execution-trigger": Trigger.RESTAPI}


def _counted(counters: Mapping[str, int], what: str) -> int:
    return counters.get(f"IMPORT_{what}") or counters.get(f"EXPORT_{what}") or 0


def _whole(progress: float | None) -> int | None:
    return None if progress is None else int(progress)


def _problem(job: Job) -> str | None:
    """Return why a job has not succeeded."""
    answered = job.state is State.DONE and not job.succeeded
    return job.detail or (f"status {job.status}" if answered else None)
