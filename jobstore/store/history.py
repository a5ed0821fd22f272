"""Read the store for people: single jobs, their parts, and lists."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import bindparam, func, select

from jobstore.model.clock import SECOND
from jobstore.model.errors import JobNotFound
from jobstore.model.job import Attempt, Failure, Job, Moment, Policy
from jobstore.model.lifecycle import AWAITED, ENDED, Result, State
from jobstore.model.message import Body, Headers, Request, Response, Stream
from jobstore.store import bodies, jobs, schema
from jobstore.store.bodies import Side, Spooled, StoredBody
from jobstore.store.codec import (
    decode_headers,
    decode_job,
    decode_policy,
    decode_reason,
    encode_ids,
)
from jobstore.store.counters import COUNTERS
from jobstore.store.events import RETRY_OF
from jobstore.store.expressions import Statement, constant, listed
from jobstore.store.guards import JOB_COLUMNS, ONE, ZERO, in_scope, in_state, limit, with_result
from jobstore.store.windows import Windows

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c
_attempt: Final = schema.ATTEMPT.c

# Newest first: the limit cuts off what has waited longest.
NEWEST_AWAITED: Final[Mapping[Result, Statement]] = {
    awaited: Statement(
        select(*JOB_COLUMNS)
        .where(with_result(awaited), in_scope)
        .order_by(_job.id.desc())
        .limit(limit)
        .offset(ZERO)
    )
    for awaited in AWAITED
}

# What runs comes before what waits: of too many, the limit cuts off what came last.
ACTIVE: Final = tuple(
    Statement(
        select(*JOB_COLUMNS)
        .where(with_result(Result.NONE), in_scope, *condition)
        .order_by(*order)
        .limit(limit)
        .offset(ZERO)
    )
    for condition, order in (
        ((in_state(State.RUNNING),), (_job.boot, _job.id)),
        ((), (_job.id,)),
    )
)

# Deleted ones too: the history still names them.
DEFINITION_NAME: Final = Statement(
    select(schema.DEFINITION.c.name).where(schema.DEFINITION.c.id == bindparam("definition"))
)
# Where jobs came from.
SOURCES: Final = Statement(
    select(_job.id, _job.source).where(_job.id.in_(listed("ids")), _job.source.is_not(None))
)

# Which of some jobs are somebody's.
AMONG: Final = Statement(
    select(_job.id).where(_job.id.in_(listed("ids")), _job.account == bindparam("account"))
)

THOSE: Final = Statement(select(*JOB_COLUMNS).where(_job.id.in_(listed("ids")), in_scope))

# How the requests of jobs begin, but for large ones.
BEGINNINGS: Final = Statement(
    select(
        _request.job_id,
        _request.headers,
        func.substr(_request.content, ONE, bindparam("size")),
    ).where(_request.job_id.in_(listed("ids")), _request.content.is_not(None))
)

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

_run: Final = _job.definition == bindparam("definition")

# Newest first. What was deleted is no longer shown.
RUNS: Final = Statement(
    select(*JOB_COLUMNS)
    .where(_run, _job.id < bindparam("before"), _job.result != constant(Result.DELETED), in_scope)
    .order_by(_job.id.desc())
    .limit(limit)
    .offset(bindparam("start"))
)

# How long the latest runs took, in microseconds.
DURATIONS: Final = Statement(
    select(_job.finished_at - _job.started_at)
    .where(_run, in_state(State.DONE), _job.id < bindparam("before"))
    .order_by(_job.id.desc())
    .limit(limit)
    .offset(ZERO)
)

# From how many earlier runs the duration of the next one is guessed.
USUAL_RUNS: Final = 10

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


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first bytes of a request, and its stored headers."""

    headers: Headers
    content: bytes


@dataclass(frozen=True, slots=True)
class RecordedJob:
    """A job with all that happened to it, as it was at one moment.

    Args:
        attempts: in order; the last one may still be running.
        timeline: its events, in order.
    """

    job: Job
    attempts: list[Attempt]
    timeline: list[Moment]


class History(Windows):
    """All jobs that are kept, even if their results are gone."""

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

    async def runs(
        self,
        definition: int,
        length: int,
        start: int = 0,
        scope: int | None = None,
        *,
        before: int = jobs.LARGEST_ID,
    ) -> list[Job]:
        """List the runs of a definition, the newest first.

        Args:
            definition: its id.
            length: how many at most.
            start: how many of the newest to skip.
            scope: only those of this account; None for all.
            before: the id of the job that they come after.
        """
        values = {"definition": definition, "limit": length, "start": start, "scope": scope}
        rows = await self._searched(None, RUNS, **values, before=before)
        return [decode_job(row) for row in rows]

    async def usual_duration(self, job: Job) -> float | None:
        """Return the average duration of the latest runs of a job's definition before it.

        Returns:
            seconds, or None if there were none.
        """
        rows = await self._rows(
            DURATIONS, definition=job.definition, before=job.id, limit=USUAL_RUNS
        )
        return sum(row[0] for row in rows) / len(rows) / SECOND if rows else None

    async def definition_name(self, definition: int) -> str | None:
        """Return the name of a definition, deleted or not; None if it is gone with its runs."""
        row = await self._row(DEFINITION_NAME, definition=definition)
        return str(row[0]) if row else None

    async def awaited(
        self, limit: int, scope: int | None = None, results: Collection[Result] = AWAITED
    ) -> list[Job]:
        """List the jobs whose results are available.

        Args:
            limit: how many at most; the newest are listed.
            scope: only those of this account; None for all.
            results: the states of their results; by default, all states in which they can be
                fetched.

        Returns:
            the jobs, the newest last.
        """
        jobs = [
            decode_job(row)
            for result in results
            for row in await self._searched(None, NEWEST_AWAITED[result], limit=limit, scope=scope)
        ]
        # A job whose work ended between the two statements is in both of them.
        found = {job.id: job for job in jobs}
        return [found[job_id] for job_id in sorted(found)[-limit:]]

    async def those(self, ids: Collection[int], scope: int | None = None) -> list[Job]:
        """Look at jobs by their ids, as far as they are in the history.

        Args:
            scope: the account whose they have to be, or None for anybody's.
        """
        found = await self._rows(THOSE, ids=encode_ids(ids), scope=scope) if ids else ()
        return [decode_job(row) for row in found]

    async def sources(self, ids: Collection[int]) -> dict[int, str]:
        """Return the addresses that jobs came from, by id, as far as known."""
        return dict(await self._rows(SOURCES, ids=encode_ids(ids)))

    async def among(self, ids: Collection[int], account: int) -> list[int]:
        """Return which of some jobs belong to an account."""
        rows = await self._rows(AMONG, ids=encode_ids(ids), account=account) if ids else ()
        return sorted(row[0] for row in rows)

    async def beginnings(self, ids: Collection[int], size: int) -> dict[int, Beginning]:
        """Read the first bytes of requests, by id; large and deleted ones are left out.

        Args:
            ids: the jobs' ids; all are read at once.
            size: how many bytes to read of each.
        """
        rows = await self._rows(BEGINNINGS, ids=encode_ids(ids), size=size)
        return {
            job_id: Beginning(decode_headers(headers), content) for job_id, headers, content in rows
        }

    async def active(self, limit: int, scope: int | None = None) -> list[Job]:
        """List queued and running jobs.

        Args:
            limit: how many at most: running jobs first, then queued ones, the oldest first.
            scope: only those of this account; None for all.

        Returns:
            the jobs, the newest last.
        """
        jobs = [
            decode_job(row)
            for statement in ACTIVE
            for row in await self._searched(None, statement, limit=limit, scope=scope)
        ]
        # A job that runs is in both statements; what was found first stays in front.
        found = {job.id: job for job in jobs}
        return sorted([*found.values()][:limit], key=lambda job: job.id)

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
        return _in_order(await self._rows(TIMELINE, job_id=job_id))

    async def counters(self) -> dict[tuple[str, str], int]:
        """Return how many jobs and results are in each state."""
        return {(machine, state): n for machine, state, n in await self._rows(COUNTERS)}

    async def _body(self, job_id: int, side: Side, content: bytes | None) -> Body | None:
        if content is not None:
            return content
        row = await self._row(bodies.FIND_BODY, job_id=job_id, side=side)
        return self.stored(Spooled(*row)) if row else None

    def stored(self, spooled: Spooled) -> Stream:
        """Return a large body for reading."""
        return StoredBody(self._reader, spooled)

    async def together(self, statements: Sequence[Statement], **values: object) -> list[list[Any]]:
        """Execute statements that see the store at one moment; return their rows."""
        return await self._reader.together(statements, **values)

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement that reads a bounded number of rows."""
        return await self._rows(statement, **values)

    async def _row(self, statement: Statement, **values: object) -> Any:
        return next(iter(await self._rows(statement, **values)), None)

    async def _rows(self, statement: Statement, **values: object) -> list[Any]:
        return await self._reader.rows(statement, **values)


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
