"""Follow new jobs, or the events of some jobs."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, Union

import click

from jobstore.cli import filters
from jobstore.cli.formats import JsonLines
from jobstore.cli.job_table import JobTable
from jobstore.cli.options import json_option, reaching
from jobstore.cli.places import place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.terminal import stdout
from jobstore.cli.wording import JOB_COLUMNS, as_row
from jobstore.config import Config
from jobstore.model.clock import iso
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import ENDED
from jobstore.store import jobs as job_sql
from jobstore.store import search as search_sql
from jobstore.store.codec import decode_job
from jobstore.store.history import History
from jobstore.store.search import Search

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote
    from jobstore.cli.remote_jobs import RemoteJobs

_LOOK_SECONDS: Final = 0.5
_ROWS: Final = 10
_MOST: Final = 1000


@click.command("tail")
@reaching
@click.argument("ids", metavar="[ID]...", nargs=-1, type=int)
@filters.filter_options
@click.option(
    "--limit",
    type=click.IntRange(0, _MOST),
    default=_ROWS,
    show_default=True,
    metavar="N",
    help="How many earlier jobs to show first.",
)
@json_option
def tail_command(
    where: Union[Config, "Remote"],
    /,
    ids: tuple[int, ...],
    limit: int,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show jobs as they are submitted, until Ctrl-C; the newest come last.

    With ids, show what happens to these jobs, until all of them have ended.
    """
    if ids and filters.given(asked):
        raise click.UsageError("ids and filters cannot be used together")
    asyncio.run(_tail(where, ids, limit, asked, as_json=as_json))


async def _tail(
    where: Union[Config, "Remote"],
    ids: Sequence[int],
    limit: int,
    asked: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    if not isinstance(where, Config):
        from jobstore.cli.remote_jobs import RemoteJobs  # noqa: PLC0415 - few need it

        query = {} if ids else filters.query_of(asked)
        await _follow(_ServerSource(RemoteJobs(where), query), ids, limit, as_json=as_json)
        return
    place = place_of(where)
    async with place.history() as history:
        search = Search() if ids else await filters.search_of(history, place, asked)
        await _follow(_StoreSource(history, search), ids, limit, as_json=as_json)


class _Source(Protocol):
    """Where jobs are seen."""

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, the newest last."""

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""


async def _follow(source: _Source, ids: Sequence[int], limit: int, *, as_json: bool) -> None:
    if ids:
        await _follow_some(source, dict.fromkeys(ids, 0), as_json=as_json)
        return
    table = JsonLines(JOB_COLUMNS) if as_json else JobTable(stdout())
    found = (await source.newest(max(limit, 1)))[::-1]
    last = found[-1].id if found else 0
    found = found[-limit:] if limit else []
    while True:
        if found:
            _write(table, found)
            last = max(last, found[-1].id)
        await asyncio.sleep(_LOOK_SECONDS)
        found = await source.later(last)


def _write(table: JsonLines | JobTable, found: Sequence[Job]) -> None:
    if isinstance(table, JobTable):
        table.write(found)
    else:
        table.write([as_row(job) for job in found])


async def _follow_some(source: _Source, shown: dict[int, int], *, as_json: bool) -> None:
    """Show the moments of jobs that were not shown so far, until all have ended."""
    going = [*shown]
    while going:
        for job_id in [*going]:
            job, moments = await source.job(job_id)
            for moment in moments[shown[job_id] :]:
                _write_moment(moment, as_json=as_json)
            shown[job_id] = len(moments)
            if job.state in ENDED:
                going.remove(job_id)
        if going:
            await asyncio.sleep(_LOOK_SECONDS)


def _write_moment(moment: Moment, *, as_json: bool) -> None:
    at = iso(moment.at)
    if as_json:
        write_json({"id": moment.job_id, "at": at, "event": moment.event, "detail": moment.detail})
    else:
        detail = f": {moment.detail}" if moment.detail else ""
        tell(f"{at}  {moment.job_id}  {moment.event}{detail}")


class _StoreSource:
    """A store; see `_Source`."""

    def __init__(self, history: History, search: Search) -> None:
        self._history = history
        self._search = search

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""
        return [job async for page in self._history.pages(self._search, limit) for job in page]

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, the newest last."""
        values = self._search.values
        statement = search_sql.looked_for(frozenset(values))
        bounds = {"first": job_id + 1, "last": job_sql.LARGEST_ID}
        rows = await self._history.rows(statement, **bounds, limit=_MOST, **values)
        return [decode_job(row) for row in rows][::-1]

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""
        job = await self._history.job(job_id)
        return job, await self._history.timeline(job_id)


class _ServerSource:
    """A server on another machine; see `_Source`."""

    def __init__(self, jobs: "RemoteJobs", query: Mapping[str, object]) -> None:
        self._jobs = jobs
        self._query = query

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""
        return [job for page in self._jobs.pages(self._query, limit) for job in page]

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, the newest last."""
        return [*self._until(job_id)][::-1]

    def _until(self, job_id: int) -> Iterator[Job]:
        for page in self._jobs.pages(self._query, _MOST):
            for job in page:
                if job.id <= job_id:
                    return
                yield job

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""
        job = self._jobs.one(job_id)
        return job, self._jobs.timeline(job_id)
