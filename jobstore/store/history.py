"""Read lists of jobs for people, and what is told of several at once."""

from collections.abc import Collection, Mapping
from typing import Final

from sqlalchemy import bindparam, func, select

from jobstore.model.clock import SECOND
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import AWAITED, Result, State
from jobstore.model.message import Headers
from jobstore.store import jobs, schema
from jobstore.store.codec import decode_headers, decode_job, encode_ids
from jobstore.store.counters import COUNTERS
from jobstore.store.expressions import Statement, constant, listed
from jobstore.store.guards import JOB_COLUMNS, ONE, ZERO, in_scope, in_state, limit, with_result
from jobstore.store.job_records import JobRecords

_job: Final = schema.JOB.c
_request: Final = schema.REQUEST.c

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


@frozen
class Beginning:
    """The first bytes of a request, and its stored headers."""

    headers: Headers
    content: bytes


class History(JobRecords):
    """All jobs that are kept, even if their results are gone."""

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
        rows = await self.rows(
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
        found = await self.rows(THOSE, ids=encode_ids(ids), scope=scope) if ids else ()
        return [decode_job(row) for row in found]

    async def sources(self, ids: Collection[int]) -> dict[int, str]:
        """Return the addresses that jobs came from, by id, as far as known."""
        return dict(await self.rows(SOURCES, ids=encode_ids(ids)))

    async def among(self, ids: Collection[int], account: int) -> list[int]:
        """Return which of some jobs belong to an account."""
        rows = await self.rows(AMONG, ids=encode_ids(ids), account=account) if ids else ()
        return sorted(row[0] for row in rows)

    async def beginnings(self, ids: Collection[int], size: int) -> dict[int, Beginning]:
        """Read the first bytes of requests, by id; large and deleted ones are left out.

        Args:
            ids: the jobs' ids; all are read at once.
            size: how many bytes to read of each.
        """
        rows = await self.rows(BEGINNINGS, ids=encode_ids(ids), size=size)
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

    async def counters(self) -> dict[tuple[str, str], int]:
        """Return how many jobs and results are in each state."""
        return {(machine, state): n for machine, state, n in await self.rows(COUNTERS)}
