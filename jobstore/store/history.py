"""Read the store for people: page by page, so that nothing that runs has to wait for it."""

import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean
from typing import Any, Final

from jobstore.clock import SECOND
from jobstore.errors import JobNotFound
from jobstore.job import Job, Moment
from jobstore.lifecycle import AWAITED, ENDED, Result, State
from jobstore.message import Body, Request, Response
from jobstore.store import definition_statements as definitions
from jobstore.store import history_statements as sql
from jobstore.store import sqlite, statements, transitions
from jobstore.store.bodies import Side, Spooled, StoredBody
from jobstore.store.codec import decode_headers, decode_job
from jobstore.store.sqlite import Connection, Statement
from jobstore.store.transitions import LARGEST_ID

# How many jobs one statement looks at, found or not: each is a read transaction, and while one
# lasts, the WAL cannot be cut back.
WINDOW: Final = 2000
# From how many earlier runs the duration of the next one is guessed.
USUAL_RUNS: Final = 10

# What has the same time was committed together; this is the order in which it came about.
_IN_ORDER: Final = ("submitted", "started", "warned", "cancel asked", *ENDED, "fetched")


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Which jobs to look for; None is any.

    Args:
        states: where their work stands.
        owner: the name that the client gave.
        path: what the path begins with.
        since: submitted then or later, in microseconds since 1970.
        until: submitted before.
        lowest_status: the least status code of the answer.
        highest_status: the greatest.
    """

    states: tuple[State, ...] | None = None
    owner: str | None = None
    path: str | None = None
    since: int | None = None
    until: int | None = None
    lowest_status: int | None = None
    highest_status: int | None = None

    @property
    def values(self) -> dict[str, Any]:
        """What is looked for, by the names of the statement's parameters."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        given["states"] = json.dumps(self.states) if self.states else None
        return {name: value for name, value in given.items() if value is not None}


@asynccontextmanager
async def open_history(path: Path) -> AsyncIterator["History"]:
    """Open a store for reading, beside its server or without one.

    Args:
        path: an existing store of this schema version.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    sqlite.require(path)
    async with sqlite.reader(path) as reader:
        yield History(reader, path)


class History:
    """All that is kept of all jobs, whoever may still ask for them.

    Args:
        reader: where to read.
        path: the store's file, for messages.
    """

    def __init__(self, reader: Connection, path: Path) -> None:
        self._reader = reader
        self._path = path

    async def job(self, job_id: int) -> Job:
        """Look at a job.

        Raises:
            JobNotFound: there is none, or it is no longer in the history.
        """
        row = await self._job(job_id)
        if row is None:
            raise JobNotFound(job_id)
        return decode_job(row)

    async def visible(self, job_id: int, scope: str | None = None) -> Job:
        """Look at a job that was not deleted.

        Args:
            job_id: the job.
            scope: whose it has to be, or None for anybody's.

        Raises:
            JobNotFound: there is none.
        """
        return transitions.if_visible(job_id, await self._job(job_id), scope)

    async def _job(self, job_id: int) -> Any:
        if not 0 < job_id <= LARGEST_ID:
            return None
        return await self._row(statements.GET_JOB, job_id=job_id)

    async def runs(
        self, definition: int, length: int, start: int = 0, scope: str | None = None
    ) -> list[Job]:
        """List the runs of a definition, the newest first.

        Args:
            definition: its id.
            length: how many at most.
            start: how many of the newest to leave out.
            scope: whose, or None for anybody's.
        """
        values = {"definition": definition, "limit": length, "start": start, "scope": scope}
        return [decode_job(row) for row in await self._rows(sql.RUNS, **values)]

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
        self, limit: int, scope: str | None = None, results: Collection[Result] = AWAITED
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
            for row in await self._rows(sql.NEWEST_AWAITED[result], limit=limit, scope=scope)
        ]
        # A job whose work ended between the two statements is in both of them.
        found = {job.id: job for job in jobs}
        return [found[job_id] for job_id in sorted(found)[-limit:]]

    async def active(self, limit: int, scope: str | None = None) -> list[Job]:
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
            for row in await self._rows(statement, limit=limit, scope=scope)
        ]
        # A job that runs is in both statements; what was found first stays in front.
        found = {job.id: job for job in jobs}
        return sorted([*found.values()][:limit], key=lambda job: job.id)

    async def pages(self, search: Search, limit: int | None = None) -> AsyncIterator[list[Job]]:
        """Go through the history, the newest jobs first.

        Ids are in order of submission, so the search ends where everything is too old. A clock
        that was set back by less than a window of jobs takes hides none of them.

        Args:
            search: which jobs.
            limit: how many at most, or None for all.
        """
        values = search.values
        statement = sql.looked_for(frozenset(values))
        last, left = LARGEST_ID, limit
        while left is None or left > 0:
            first, newest = await self._row(sql.WINDOW, last=last, limit=WINDOW)
            if first is None or newest < values.get("since", newest):
                return
            size = WINDOW if left is None else min(left, WINDOW)
            rows = await self._rows(statement, first=first, last=last, limit=size, **values)
            if rows:
                yield [decode_job(row) for row in rows]
            last, left = first - 1, None if left is None else left - len(rows)

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
        row = await self._row(statements.GET_RESPONSE, job_id=job.id)
        body = await self._body(job.id, "response", row[-1]) if row else None
        if body is None or job.status is None:
            return None
        reason, headers, _ = row
        return Response(
            status=job.status, reason=reason, headers=decode_headers(headers), body=body
        )

    async def timeline(self, job_id: int) -> list[Moment]:
        """Tell what happened to a job, in order."""
        moments = [
            Moment(job_id=of_job, at=at, event=event, detail=detail)
            for of_job, at, event, detail in await self._rows(sql.TIMELINE, job_id=job_id)
        ]
        return sorted(moments, key=_when)

    async def counters(self) -> dict[tuple[str, str], int]:
        """Tell how many jobs are in each state of each machine."""
        return {(machine, state): n for machine, state, n in await self._rows(statements.COUNTERS)}

    async def _body(self, job_id: int, side: Side, content: bytes | None) -> Body | None:
        if content is not None:
            return content
        row = await self._row(statements.FIND_BODY, job_id=job_id, side=side)
        return _KeptBody(StoredBody(self._reader, Spooled(*row)), self._path) if row else None

    async def _row(self, statement: Statement, **values: object) -> Any:
        return next(iter(await self._rows(statement, **values)), None)

    async def _rows(self, statement: Statement, **values: object) -> list[Any]:
        with sqlite.translated(self._path):
            return list(await self._reader.execute_fetchall(statement.sql, values))


class _KeptBody:
    """A large body, whose damage is the store's.

    Args:
        body: the body.
        path: the store's file.
    """

    def __init__(self, body: StoredBody, path: Path) -> None:
        self._body = body
        self._path = path

    @property
    def size(self) -> int:
        return self._body.size

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with sqlite.translated(self._path):
            async for chunk in self._body:
                yield chunk


def _when(moment: Moment) -> tuple[int, int]:
    event = moment.event
    return moment.at, _IN_ORDER.index(event) if event in _IN_ORDER else len(_IN_ORDER)
