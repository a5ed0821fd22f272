"""Results on their way to a reader, and the answer if there is none to give."""

import json
from dataclasses import replace
from typing import Final

from aiohttp import web

from jobstore.live import Delivery, Store
from jobstore.model.clock import iso
from jobstore.model.errors import BeingDelivered, JobGone, JobstoreError, WrongState
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import Result, State
from jobstore.model.message import Headers, Response, header, without
from jobstore.web import standing, wire

_JOB_ID: Final = "Jobstore-Id"
_PURGED: Final = ", and what was kept of it has been purged"


async def take_result(
    store: Store, request: web.Request, job_id: int, extra: Headers
) -> web.StreamResponse | None:
    """Answer a request with a result, which nobody else gets; None if its job has not ended.

    Args:
        extra: headers to add.

    Raises:
        Forbidden: the caller may not take results.
        JobNotFound: there is no such result for them.
        BeingDelivered: another reader has it at the moment.
        ConnectionError: the connection broke before the last byte was handed over.
    """
    async with store.results.take(job_id, standing.changing(request).scope) as delivery:
        return None if delivery is None else await _handed_over(request, delivery, extra)


async def _handed_over(
    request: web.Request, delivery: Delivery, extra: Headers
) -> web.StreamResponse:
    response, own = result_of(delivery)
    return await wire.deliver(request, response, (*own, *extra))


def result_of(delivery: Delivery) -> tuple[Response, Headers]:
    """Return the response of an ended job, with the field that names the job."""
    response = delivery.response or _stand_in(delivery.job)
    # A job may itself have taken a result, whose id is not this one's.
    if header(response.headers, _JOB_ID) is not None:
        response = replace(response, headers=without(response.headers, (_JOB_ID.lower(),)))
    return response, ((_JOB_ID, str(delivery.job_id)),)


def _stand_in(job: Job) -> Response:
    """Return the response of a job without one: it was cancelled, or the target did not answer."""
    cancelled = job.state is State.CANCELLED
    status = job.status or 503
    detail = "the job was cancelled" if cancelled else job.failing
    document = wire.problem_document(status, detail)
    headers = (("Content-Type", "application/problem+json"),)
    return Response(status=status, headers=headers, body=json.dumps(document).encode())


def gone(job: Job, moments: list[Moment]) -> JobstoreError:
    """Return the error that says why there is no result.

    Args:
        moments: its timeline.
    """
    match job.result:
        case Result.NONE:
            return WrongState(job.id, "has not ended yet")
        case Result.HELD:
            return BeingDelivered(job.id)
        case Result.TAKEN:
            return JobGone(job.id, f"its result was delivered{_at(job.fetched_at)}")
        case Result.DELETED:
            return JobGone(job.id, f"it was deleted{_last(moments, 'deleted')}")
        case Result.EXPIRED:
            return JobGone(job.id, f"its result expired{_last(moments, 'expired')}")
        case Result.UNWANTED:
            return JobGone(job.id, "it was submitted without keeping the result")


def payload_gone(job: Job, moments: list[Moment]) -> str:
    """Return why a message of a job is no longer kept, as the end of a sentence."""
    match job.result:
        case Result.DELETED:
            return f"it was deleted{_last(moments, 'deleted')}"
        case Result.EXPIRED:
            return f"its result expired{_last(moments, 'expired')}{_PURGED}"
        case Result.TAKEN:
            return f"its result was delivered{_at(job.fetched_at)}{_PURGED}"
        case Result.UNWANTED:
            return f"nobody wanted its result{_PURGED}"
        case Result.NONE | Result.HELD:
            return "it has none"


def _last(moments: list[Moment], event: str) -> str:
    return _at(next((each.at for each in reversed(moments) if each.event == event), None))


def _at(moment: int | None) -> str:
    return "" if moment is None else f" at {iso(moment)}"
