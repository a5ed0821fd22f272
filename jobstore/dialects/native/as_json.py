"""Jobs and their timelines as JSON, and ids in paths."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from aiohttp import web
from multidict import CIMultiDict

from jobstore.model.clock import iso
from jobstore.model.errors import JobNotFound
from jobstore.model.job import Attempt, Job, Moment
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers
from jobstore.model.target_state import WaitReason
from jobstore.web.parameters import id_of

_SHOWN: Final = 40  # of an id that is none


def job_id(request: web.Request) -> int:
    """Read the id in a request's path.

    Raises:
        JobNotFound: no job can have it.
    """
    text = request.match_info["id"]
    number = id_of(text)
    if number is None:
        raise JobNotFound(text[:_SHOWN])
    return number


def written(job: Job, waits_for: WaitReason | None = None) -> dict[str, Any]:
    """Return a job as JSON; missing values are null.

    Args:
        waits_for: what it waits for, if it is queued.
    """
    return {
        "id": job.id,
        "state": job.state,
        "waits_for": waits_for,
        "result": job.result,
        "dialect": job.dialect,
        "owner": job.owner,
        "method": job.method,
        "path": job.path,
        "target": job.target,
        "priority": job.priority,
        "tag": job.tag,
        "definition": job.definition,
        "trigger": job.trigger,
        "attempt": job.attempt,
        "retried": job.retried,
        "follows": job.follows,
        "not_before": _time(job.not_before),
        "submitted_at": iso(job.submitted_at),
        "started_at": _time(job.started_at),
        "finished_at": _time(job.finished_at),
        "fetched_at": _time(job.fetched_at),
        "cancel_asked_at": _time(job.cancel_asked_at),
        "status": job.status,
        "failure": job.failure,
        "detail": job.detail,
        **progress(job),
    }


def answer(
    job: Job, waits_for: WaitReason | None, status: int = 200, headers: Headers = ()
) -> web.Response:
    """Answer with a job."""
    document = written(job, waits_for)
    return web.json_response(document, status=status, headers=CIMultiDict(headers))


def progress(job: Job) -> dict[str, Any]:
    """Return what a job's handler has reported."""
    return {"progress": job.progress, "counters": dict(job.counters), "warnings": job.warnings}


def counted(counters: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Return how many jobs and results are in each state."""
    return {
        "jobs": {state: counters.get(("job", state), 0) for state in State},
        "results": {result: counters.get(("result", result), 0) for result in Result},
    }


def moments(timeline: Sequence[Moment]) -> list[dict[str, Any]]:
    """Return a timeline as JSON."""
    return [moment(each) for each in timeline]


def moment(each: Moment) -> dict[str, Any]:
    """Return an entry of a timeline as JSON."""
    return {"at": iso(each.at), "event": each.event, "detail": each.detail}


def attempts(tried: Sequence[Attempt]) -> list[dict[str, Any]]:
    """Return attempts as JSON; missing values are null."""
    return [
        {
            "number": each.number,
            "started_at": iso(each.started_at),
            "ended_at": _time(each.ended_at),
            "status": each.status,
            "failure": each.failure,
            "detail": each.detail,
        }
        for each in tried
    ]


def _time(at: int | None) -> str | None:
    return None if at is None else iso(at)
