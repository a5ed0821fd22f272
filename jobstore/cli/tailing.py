"""Follow new jobs, or the events of some jobs."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import click

from jobstore.cli import filters
from jobstore.cli.formats import JsonLines
from jobstore.cli.job_table import JobTable
from jobstore.cli.options import Where, json_option, reaching
from jobstore.cli.places import place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.terminal import stdout
from jobstore.cli.wording import JOB_COLUMNS, as_row
from jobstore.config import Config
from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.model.job import Job, Moment
from jobstore.model.lifecycle import ENDED, State
from jobstore.store import jobs as job_sql
from jobstore.store import search as search_sql
from jobstore.store.codec import decode_job
from jobstore.store.history import History
from jobstore.store.search import Search

if TYPE_CHECKING:
    from jobstore.cli.remote_jobs import RemoteJobs

_LOOK_SECONDS: Final = 0.5
_ROWS: Final = 10
_MOST: Final = 1000
_GOING: Final = ",".join(state for state in State if state not in ENDED)


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
    where: Where,
    /,
    ids: tuple[int, ...],
    limit: int,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Show jobs as they are submitted, and again when they have ended, until Ctrl-C.

    The newest come last. With ids, show what happens to these jobs, until all of them have ended.
    """
    if ids and filters.given(asked):
        raise click.UsageError("ids and filters cannot be used together")
    asyncio.run(_tail(where, ids, limit, asked, as_json=as_json))


async def _tail(
    where: Where,
    ids: Sequence[int],
    limit: int,
    asked: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    shown = _Shown(asked=asked, limit=limit, as_json=as_json)
    if not isinstance(where, Config):
        from jobstore.cli.remote_jobs import RemoteJobs  # few need it

        asked_for = {} if ids else filters.query_of(asked)
        lasting = {} if ids else filters.query_of(shown.lasting)
        await _follow(_ServerSource(RemoteJobs(where), asked_for, lasting), ids, shown)
        return
    place = place_of(where)
    async with place.history() as history:
        if ids:
            await _follow(_StoreSource(history, Search(), Search()), ids, shown)
            return
        search = await filters.search_of(history, place, asked)
        without_outcome = await filters.search_of(history, place, shown.lasting)
        await _follow(_StoreSource(history, search, without_outcome), ids, shown)


@frozen(kw_only=True)
class _Shown:
    """Which jobs are shown, and how.

    Args:
        asked: the options of the command.
        limit: how many earlier jobs come first.
    """

    asked: Mapping[str, Any]
    limit: int
    as_json: bool

    @property
    def lasting(self) -> Mapping[str, Any]:
        """The filters without those for the outcome, which no job meets before it has ended."""
        return {**self.asked, "states": (), "status": None, "errors": False}

    def by_outcome(self, job: Job) -> bool:
        """Return whether a job is one to show, as far as its outcome goes."""
        states, status = self.asked["states"], self.asked["status"]
        if states and job.state not in states:
            return False
        if status and (job.status is None or not status[0] <= job.status <= status[1]):
            return False
        wrong = job.state in {State.DONE, State.FAILED} and not job.succeeded
        return wrong or not self.asked["errors"]


class _Source(Protocol):
    """Where jobs are seen."""

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""

    async def last(self) -> int:
        """Return the id of the newest job, whatever its outcome, or 0."""

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, whatever their outcome, the newest last."""

    async def going(self) -> set[int]:
        """Return the ids of jobs that have not ended."""

    async def ended(self, ids: set[int]) -> list[Job]:
        """List those of some jobs that have ended."""

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""


async def _follow(source: _Source, ids: Sequence[int], shown: _Shown) -> None:
    if ids:
        await _follow_some(source, dict.fromkeys(ids, 0), as_json=shown.as_json)
        return
    table = JsonLines(JOB_COLUMNS) if shown.as_json else JobTable(stdout())
    last, going = await source.last(), await source.going()
    if shown.limit:
        _write(table, (await source.newest(shown.limit))[::-1])
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        ended = await source.ended(going)
        later = await source.later(last)
        last = max([last, *(job.id for job in later)])
        going |= {job.id for job in later if job.state not in ENDED}
        going -= {job.id for job in ended}
        _write(table, [job for job in (*ended, *later) if shown.by_outcome(job)])


def _write(table: JsonLines | JobTable, found: Sequence[Job]) -> None:
    if not found:
        return
    if isinstance(table, JobTable):
        table.write(found)
    else:
        table.write([as_row(job) for job in found])


async def _follow_some(source: _Source, shown: dict[int, int], *, as_json: bool) -> None:
    """Show new events of jobs as they happen, until all jobs have ended."""
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

    def __init__(self, history: History, search: Search, lasting: Search) -> None:
        self._history = history
        self._search = search
        self._lasting = lasting

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""
        return await self._found(self._search, limit)

    async def last(self) -> int:
        """Return the id of the newest job, whatever its outcome, or 0."""
        return max((job.id for job in await self._found(self._lasting, 1)), default=0)

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, the newest last."""
        values = self._lasting.values
        statement = search_sql.looked_for(frozenset(values))
        bounds = {"first": job_id + 1, "last": job_sql.LARGEST_ID}
        rows = await self._history.rows(statement, **bounds, limit=_MOST, **values)
        return [decode_job(row) for row in rows][::-1]

    async def going(self) -> set[int]:
        """Return the ids of jobs that have not ended."""
        active = tuple(job.id for job in await self._history.active(_MOST))
        return {job.id for job in await self._found(replace(self._lasting, ids=active))}

    async def ended(self, ids: set[int]) -> list[Job]:
        """List those of some jobs that have ended."""
        return (await self._found(Search(ids=tuple(ids), states=tuple(ENDED))))[::-1]

    async def _found(self, search: Search, limit: int | None = None) -> list[Job]:
        return [job async for page in self._history.pages(search, limit) for job in page]

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""
        job = await self._history.job(job_id)
        return job, await self._history.timeline(job_id)


class _ServerSource:
    """A server on another machine; see `_Source`."""

    def __init__(
        self, jobs: "RemoteJobs", query: Mapping[str, object], lasting: Mapping[str, object]
    ) -> None:
        self._jobs = jobs
        self._query = query
        self._lasting = lasting

    async def newest(self, limit: int) -> list[Job]:
        """List the newest jobs, the newest first."""
        return self._found(self._query, limit)

    def _found(self, query: Mapping[str, object], limit: int) -> list[Job]:
        return [job for page in self._jobs.pages(query, limit) for job in page]

    async def last(self) -> int:
        """Return the id of the newest job, whatever its outcome, or 0."""
        return max((job.id for job in self._found(self._lasting, 1)), default=0)

    async def later(self, job_id: int) -> list[Job]:
        """List jobs that came after one, the newest last."""
        return [*self._until(job_id)][::-1]

    def _until(self, job_id: int) -> Iterator[Job]:
        for page in self._jobs.pages(self._lasting, _MOST):
            for job in page:
                if job.id <= job_id:
                    return
                yield job

    async def going(self) -> set[int]:
        """Return the ids of jobs that have not ended."""
        return {job.id for job in self._going()}

    def _going(self) -> list[Job]:
        return self._found({**self._lasting, "state": _GOING}, _MOST)

    async def ended(self, ids: set[int]) -> list[Job]:
        """List those of some jobs that have ended."""
        going = self._going() if ids else []
        # There may be older ones that are not on the list, and they go on.
        oldest = min(job.id for job in going) if len(going) == _MOST else 0
        left = ids - {job.id for job in going}
        return [
            job
            for job in (self._jobs.one(each) for each in sorted(left) if each >= oldest)
            if job.state in ENDED
        ]

    async def job(self, job_id: int) -> tuple[Job, list[Moment]]:
        """Look at a job, and at what has happened to it."""
        job = self._jobs.one(job_id)
        return job, self._jobs.timeline(job_id)
