"""Read for people what is kept of one job: its attempts, its events and its messages."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import bindparam, select

from jobstore.model.errors import JobNotFound
from jobstore.model.frozen import frozen
from jobstore.model.job import Attempt, Failure, Job, Moment, Policy
from jobstore.model.lifecycle import ENDED
from jobstore.model.message import Body, Request, Response, Stream
from jobstore.store import bodies, jobs, schema
from jobstore.store.bodies import Side, Spooled, StoredBody
from jobstore.store.codec import decode_headers, decode_job, decode_policy, decode_reason
from jobstore.store.events import RETRY_OF
from jobstore.store.expressions import Statement
from jobstore.store.windows import Windows

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
_attempt: Final = schema.ATTEMPT.c

ATTEMPTS: Final = Statement(
    select(*schema.ATTEMPT.columns)
    .where(_attempt.job_id == bindparam("job_id"))
    .order_by(_attempt.number)
)

POLICY: Final = Statement(
    select(_job.timeout, _job.replay, _job.retries).where(_job.id == bindparam("job_id"))
)

KEPT_REQUEST: Final = Statement(
    select(_request.headers, _request.content).where(_request.job_id == bindparam("job_id"))
)

TIMELINE: Final = Statement(
    select(
        schema.TIMELINE.c.job_id,
        schema.TIMELINE.c.at,
        schema.TIMELINE.c.event,
        schema.TIMELINE.c.detail,
    )
    .where(schema.TIMELINE.c.job_id == bindparam("job_id"))
    .order_by(schema.TIMELINE.c.at)
)

# What has the same time was committed together; this is the order in which it came about.
_IN_ORDER: Final = (
    "submitted",
    RETRY_OF,
    "recovered",
    "started",
    "warned",
    "cancel asked",
    *ENDED,
    "fetched",
)


@frozen
class RecordedJob:
    """A job with all that happened to it, as it was at one moment.

    Args:
        attempts: in order; the last one may still be running.
        timeline: its events, in order.
    """

    job: Job
    attempts: list[Attempt]
    timeline: list[Moment]


class JobRecords(Windows):
    """Single jobs, as far as they are kept."""

    async def job(self, job_id: int, scope: int | None = None) -> Job:
        """Return a job.

        Args:
            scope: only if it belongs to this account; None for any.

        Raises:
            JobNotFound: it does not exist, or is no longer in the history.
        """
        return _if_in_scope(job_id, await self._job(job_id), scope)

    async def record(self, job_id: int, scope: int | None = None) -> RecordedJob:
        """Return a job, its attempts and its timeline, none of them newer than the others.

        Args:
            scope: only if it belongs to this account; None for any.

        Raises:
            JobNotFound: it does not exist, or is no longer in the history.
        """
        if not 0 < job_id <= jobs.LARGEST_ID:
            raise JobNotFound(job_id)
        statements = (jobs.GET_JOB, ATTEMPTS, TIMELINE)
        found, attempts, timeline = await self.together(statements, job_id=job_id)
        job = _if_in_scope(job_id, next(iter(found), None), scope)
        return RecordedJob(job, _attempts(job, attempts), _in_order(timeline))

    async def visible(self, job_id: int, scope: int | None = None) -> Job:
        """Return a job whose result was not deleted.

        Args:
            scope: only if it belongs to this account; None for any.

        Raises:
            JobNotFound: it does not exist.
        """
        return jobs.if_visible(job_id, await self._job(job_id), scope)

    async def _job(self, job_id: int) -> Any:
        if not 0 < job_id <= jobs.LARGEST_ID:
            return None
        return await self._row(jobs.GET_JOB, job_id=job_id)

    async def request(self, job: Job) -> Request | None:
        """Read a job's request, without its secrets; None if it is no longer kept."""
        row = await self._row(KEPT_REQUEST, job_id=job.id)
        body = await self._body(job.id, "request", row[-1]) if row else None
        if body is None:
            return None
        headers = decode_headers(row[0])
        return Request(method=job.method, path=job.path, headers=headers, body=body)

    async def response(self, job: Job) -> Response | None:
        """Read the target's answer; None if there is none, or it is no longer kept."""
        row = await self._row(jobs.GET_RESPONSE, job_id=job.id)
        body = await self._body(job.id, "response", row[-1]) if row else None
        if body is None or job.status is None:
            return None
        reason, headers, _ = row
        return Response(
            status=job.status,
            reason=decode_reason(reason),
            headers=decode_headers(headers),
            body=body,
        )

    async def policy(self, job_id: int) -> Policy:
        """Return a job's own policy for its attempts."""
        return decode_policy(*(await self._row(POLICY, job_id=job_id) or (None, None, None)))

    async def timeline(self, job_id: int) -> list[Moment]:
        """List the events of a job, in order."""
        return _in_order(await self.rows(TIMELINE, job_id=job_id))

    async def _body(self, job_id: int, side: Side, content: bytes | None) -> Body | None:
        if content is not None:
            return content
        row = await self._row(bodies.FIND_BODY, job_id=job_id, side=side)
        return self.stored(Spooled(*row)) if row else None

    def stored(self, spooled: Spooled) -> Stream:
        """Return a large body for reading."""
        return StoredBody(self._reader, spooled)


def _if_in_scope(job_id: int, row: Sequence[Any] | None, scope: int | None) -> Job:
    """Return the job in a row, if the caller may see it.

    Raises:
        JobNotFound: there is none, or it belongs to another account.
    """
    job = decode_job(row) if row else None
    if job is None or scope not in {None, job.account}:
        raise JobNotFound(job_id)
    return job


def _attempts(job: Job, rows: Sequence[Sequence[Any]]) -> list[Attempt]:
    """Return the earlier attempts, which are rows, and the last one, which is in the job."""
    found = [_decoded_attempt(*row[1:]) for row in rows]
    if job.started_at is not None:
        last = (job.attempt, job.started_at, job.finished_at)
        found.append(Attempt(*last, job.status, job.failure, job.detail))
    return found


def _in_order(rows: Sequence[Sequence[Any]]) -> list[Moment]:
    moments = [
        Moment(job_id=of_job, at=at, event=event, detail=detail)
        for of_job, at, event, detail in rows
    ]
    begun = min((each.at for each in moments), default=0)
    # A retry is one from the beginning, though that is noted a moment after it was submitted.
    at_once = [replace(each, at=begun) if each.event == RETRY_OF else each for each in moments]
    return sorted(at_once, key=_when)


def _decoded_attempt(number: int, started_at: int, ended_at: int, *ended: Any) -> Attempt:
    status, failure, detail = ended
    why = Failure(failure) if failure else None
    return Attempt(number, started_at, ended_at, status, why, detail)


def _when(moment: Moment) -> tuple[int, int]:
    event = moment.event
    return moment.at, _IN_ORDER.index(event) if event in _IN_ORDER else len(_IN_ORDER)
