"""Read the store for people: page by page, so that nothing that runs has to wait for it."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from jobstore.model.clock import SECOND
from jobstore.model.errors import JobNotFound
from jobstore.model.job import Attempt, Failure, Job, Moment, Replay
from jobstore.model.lifecycle import AWAITED, ENDED, Result
from jobstore.model.message import Body, Headers, Request, Response, Stream
from jobstore.store import bodies, claiming, definitions, jobs
from jobstore.store import history_statements as sql
from jobstore.store.bodies import Side, Spooled, StoredBody
from jobstore.store.codec import decode_headers, decode_job, decode_reason, encode_ids
from jobstore.store.expressions import Statement
from jobstore.store.search import Search
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.budget import Budget, TimeIsUp, rows_within
from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.lock import held

P = ParamSpec("P")
T = TypeVar("T")

# How many jobs one statement looks at, found or not: each is a read transaction, and while one
# lasts, the WAL cannot be cut back.
WINDOW: Final = 2000
# Where nothing is found, the next one may be larger, up to this: it is read in some 20 ms.
WIDEST: Final = 10 * WINDOW
# How many jobs a page looks at first, however long that takes: on a disk that has to be asked for
# each page of the file it is a dozen of them.
FIRST: Final = 128
# From how many earlier runs the duration of the next one is guessed.
USUAL_RUNS: Final = 10

# What has the same time was committed together; this is the order in which it came about.
_IN_ORDER: Final = ("submitted", "started", "warned", "cancel asked", *ENDED, "fetched")


@dataclass(frozen=True, slots=True)
class Beginning:
    """The first bytes of a request, and what is kept of its headers."""

    headers: Headers
    content: bytes


@asynccontextmanager
async def open_history(path: Path) -> AsyncIterator["History"]:
    """Open a store for reading, beside its server or without one.

    Args:
        path: an existing store of this schema version.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    with held(path):
        sqlite.require(path)
        async with sqlite.reader(path) as reader:
            yield History(reader, path)


@dataclass(frozen=True, slots=True)
class Page:
    """Some of the jobs that were looked for.

    Args:
        jobs: the newest first.
        searched_to: of all jobs with this id or a higher one, there are no others; None if there
            are none at all.
    """

    jobs: list[Job]
    searched_to: int | None


class History:
    """All that is kept of all jobs, whoever may still ask for them.

    Args:
        searcher: where to search and list, so that nobody who knows what to read has to wait for
            that; None for the same connection.
    """

    def __init__(self, reader: Connection, path: Path, searcher: Connection | None = None) -> None:
        self._reader = reader
        self._path = path
        self.searcher = searcher or reader

    async def job(self, job_id: int, scope: int | None = None) -> Job:
        """Look at a job.

        Args:
            scope: the account whose it has to be, or None for anybody's.

        Raises:
            JobNotFound: there is none, or it is no longer in the history.
        """
        row = await self._job(job_id)
        job = decode_job(row) if row else None
        if job is None or scope not in {None, job.account}:
            raise JobNotFound(job_id)
        return job

    async def visible(self, job_id: int, scope: int | None = None) -> Job:
        """Look at a job that was not deleted.

        Args:
            scope: the account whose it has to be, or None for anybody's.

        Raises:
            JobNotFound: there is none.
        """
        return jobs.if_visible(job_id, await self._job(job_id), scope)

    async def _job(self, job_id: int) -> Any:
        if not 0 < job_id <= jobs.LARGEST_ID:
            return None
        return await self._row(jobs.GET_JOB, job_id=job_id)

    async def runs(
        self, definition: int, length: int, start: int = 0, scope: int | None = None
    ) -> list[Job]:
        """List the runs of a definition, the newest first.

        Args:
            definition: its id.
            length: how many at most.
            start: how many of the newest to leave out.
            scope: whose, or None for anybody's.
        """
        values = {"definition": definition, "limit": length, "start": start, "scope": scope}
        return [decode_job(row) for row in await self._searched(None, sql.RUNS, **values)]

    async def usual_duration(self, job: Job) -> float | None:
        """Tell how long the latest runs of a job's definition took on average before it.

        Returns:
            seconds, or None if there were none.
        """
        rows = await self._rows(
            sql.DURATIONS, definition=job.definition, before=job.id, limit=USUAL_RUNS
        )
        return fmean(row[0] for row in rows) / SECOND if rows else None

    async def definition_name(self, definition: int) -> str | None:
        """Tell the name of a definition, deleted or not; None if it has left with its runs."""
        row = await self._row(definitions.NAME, definition=definition)
        return str(row[0]) if row else None

    async def awaited(
        self, limit: int, scope: int | None = None, results: Collection[Result] = AWAITED
    ) -> list[Job]:
        """List the jobs that can still be asked for.

        Args:
            limit: how many of them; the newest ones are listed.
            scope: whose, or None for anybody's.
            results: where their results stand, if not anywhere that lets them be asked for.

        Returns:
            the jobs, the newest last.
        """
        jobs = [
            decode_job(row)
            for result in results
            for row in await self._searched(
                None, sql.NEWEST_AWAITED[result], limit=limit, scope=scope
            )
        ]
        # A job whose work ended between the two statements is in both of them.
        found = {job.id: job for job in jobs}
        return [found[job_id] for job_id in sorted(found)[-limit:]]

    async def sources(self, ids: Collection[int]) -> dict[int, str]:
        """Tell the addresses that jobs came from, by id, as far as they are known."""
        return dict(await self._rows(sql.SOURCES, ids=encode_ids(ids)))

    async def beginnings(self, ids: Collection[int], size: int) -> dict[int, Beginning]:
        """Read how requests begin, by id, as far as they are kept and no large ones.

        Args:
            ids: those of the jobs; all of it is read at once.
            size: how many bytes of each are read.
        """
        rows = await self._rows(sql.BEGINNINGS, ids=encode_ids(ids), size=size)
        return {
            job_id: Beginning(decode_headers(headers), content) for job_id, headers, content in rows
        }

    async def active(self, limit: int, scope: int | None = None) -> list[Job]:
        """List the jobs that run or wait, and whose result can still be asked for.

        Args:
            limit: how many of them; those that run come before those that wait, and the oldest of
                these before the others.
            scope: whose, or None for anybody's.

        Returns:
            the jobs, the newest last.
        """
        jobs = [
            decode_job(row)
            for statement in sql.ACTIVE
            for row in await self._searched(None, statement, limit=limit, scope=scope)
        ]
        # A job that runs is in both statements; what was found first stays in front.
        found = {job.id: job for job in jobs}
        return sorted([*found.values()][:limit], key=lambda job: job.id)

    async def page(self, search: Search, limit: int, before: int, budget: Budget) -> Page:
        """List some of the jobs that are looked for, the newest first.

        Args:
            limit: how many at most.
            before: the id of the job that they come after, or a larger one than there is.
            budget: how long to look for them; there may be no job on the page, and others behind.
        """
        values, jobs, reached = search.values, list[Job](), before
        statement = sql.looked_for(frozenset(values))
        try:
            async for window in self._windows(values, FIRST, before, budget):
                left = limit - len(jobs)
                rows = await self._searched(
                    budget, statement, **window.bounds, limit=left, **values
                )
                jobs += [decode_job(row) for row in rows]
                if len(rows) == left:
                    return Page(jobs, jobs[-1].id)
                reached, window.found = window.first, False  # the next one may always be larger
                budget.begin()
        except TimeIsUp:
            return Page(jobs, reached if reached > 1 else None)
        return Page(jobs, None)

    async def pages(
        self, search: Search, limit: int | None = None, before: int = jobs.LARGEST_ID
    ) -> AsyncIterator[list[Job]]:
        """Go through the history, the newest jobs first.

        Ids are in order of submission, so the search ends where everything is too old. A clock
        that was set back by less than a window of jobs takes hides none of them.

        Args:
            limit: how many at most, or None for all.
            before: the id of the job that they come after, or a larger one than there is.
        """
        values, left = search.values, limit
        statement = sql.looked_for(frozenset(values))
        async for window in self._windows(values, before=before):
            size = window.size if left is None else min(left, window.size)
            rows = await self._searched(None, statement, **window.bounds, limit=size, **values)
            window.found = bool(rows)
            if rows:
                yield [decode_job(row) for row in rows]
            left = None if left is None else left - len(rows)
            if left == 0:
                return

    async def parts(
        self,
        statement: Statement,
        search: Search,
        changing: Mapping[str, object] | None = None,
        *,
        widest: int = WIDEST,
        **values: object,
    ) -> AsyncIterator[list[Any]]:
        """Execute a statement for one part of the history after the other, the newest first.

        Args:
            statement: what `history_statements.in_window` has made for this search.
            changing: parameters that the caller may change between two parts.
            widest: how many jobs each part has at most.
            values: further parameters.

        Yields:
            the rows of each part.
        """
        looked_for = search.values
        async for window in self._windows(looked_for, widest):
            now = changing or {}
            yield await self._searched(
                None, statement, **window.bounds, **looked_for, **values, **now
            )

    async def _windows(
        self,
        values: Mapping[str, Any],
        size: int = WINDOW,
        before: int = jobs.LARGEST_ID,
        budget: Budget | None = None,
    ) -> AsyncIterator["_Window"]:
        last = before - 1
        while True:
            if "since" in values:
                ((first, newest),) = await self._searched(budget, sql.WINDOW, last=last, limit=size)
                if first is None or newest < values["since"]:
                    return
            else:  # then an id tells all there is to know, and nothing has to be looked at twice
                ((newest,),) = await self._searched(budget, sql.NEWEST, last=last)
                if newest is None:
                    return
                first = newest - size + 1
            yield (window := _Window(first, last, size))
            last, size = first - 1, window.next_size

    async def attempts(self, job: Job) -> list[Attempt]:
        """List the attempts at a job, in order; the last one may still run."""
        found = [_attempt(*row[1:]) for row in await self._rows(sql.ATTEMPTS, job_id=job.id)]
        if job.started_at is not None:
            last = (job.attempt, job.started_at, job.finished_at)
            found.append(Attempt(*last, job.status, job.failure, job.detail))
        return found

    async def request(self, job: Job) -> Request | None:
        """Read a job's request, without its secrets; None if it is no longer kept."""
        row = await self._row(sql.KEPT_REQUEST, job_id=job.id)
        body = await self._body(job.id, "request", row[-1]) if row else None
        if body is None:
            return None
        headers = decode_headers(row[0])
        return Request(method=job.method, path=job.path, headers=headers, body=body)

    async def response(self, job: Job) -> Response | None:
        """Read the target's answer; None if there was none, or it is no longer kept."""
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

    async def terms(self, job_id: int) -> tuple[float | None, Replay | None, int | None]:
        """Tell a job's own timeout, in seconds, its own replay and its own number of retries."""
        row = await self._row(sql.TERMS, job_id=job_id)
        timeout, replay, retries = row or (None, None, None)
        return timeout, Replay(replay) if replay else None, retries

    async def timeline(self, job_id: int) -> list[Moment]:
        """Tell what happened to a job, in order."""
        moments = [
            Moment(job_id=of_job, at=at, event=event, detail=detail)
            for of_job, at, event, detail in await self._rows(sql.TIMELINE, job_id=job_id)
        ]
        return sorted(moments, key=_when)

    async def counters(self) -> dict[tuple[str, str], int]:
        """Tell how many jobs are in each state of each machine."""
        return {(machine, state): n for machine, state, n in await self._rows(claiming.COUNTERS)}

    async def _body(self, job_id: int, side: Side, content: bytes | None) -> Body | None:
        if content is not None:
            return content
        row = await self._row(bodies.FIND_BODY, job_id=job_id, side=side)
        return self.stored(Spooled(*row)) if row else None

    def stored(self, spooled: Spooled) -> Stream:
        """Give a large body for reading."""
        return StoredBody(self._reader, spooled)

    async def call(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function with the connection; it has to be a short one."""
        return await self._reader.call(function, *args, **kwargs)

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement that looks at a bounded number of rows."""
        return await self._rows(statement, **values)

    async def _searched(
        self, budget: Budget | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement that looks at many rows.

        Raises:
            TimeIsUp: the budget does not last.
        """
        with sqlite.translated(self._path):
            left = budget.left() if budget else None
            return await rows_within(self.searcher, left, statement, **values)

    async def _row(self, statement: Statement, **values: object) -> Any:
        return next(iter(await self._rows(statement, **values)), None)

    async def _rows(self, statement: Statement, **values: object) -> list[Any]:
        return await self._reader.rows(statement, **values)


@dataclass(slots=True)
class _Window:
    """Some jobs of the history that are next to each other.

    Args:
        first: the lowest id.
        last: the highest.
        size: how many jobs there are at most.
        found: whether there is one that was looked for.
    """

    first: int
    last: int
    size: int
    found: bool = True

    @property
    def bounds(self) -> dict[str, int]:
        return {"first": self.first, "last": self.last}

    @property
    def next_size(self) -> int:
        return self.size if self.found else min(2 * self.size, WIDEST)


def _attempt(number: int, started_at: int, ended_at: int, *ended: Any) -> Attempt:
    status, failure, detail = ended
    why = Failure(failure) if failure else None
    return Attempt(number, started_at, ended_at, status, why, detail)


def _when(moment: Moment) -> tuple[int, int]:
    event = moment.event
    return moment.at, _IN_ORDER.index(event) if event in _IN_ORDER else len(_IN_ORDER)
