"""Ask the history: which jobs, how often and how long, what ran when."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

import click

from jobstore.cli.filters import filter_options, query_of, search_of
from jobstore.cli.formats import ColumnKind, Columns, Csv, JsonLines, RowWriter
from jobstore.cli.job_table import JobTable
from jobstore.cli.options import FILE, Where, examples, json_option, reaching
from jobstore.cli.parquet import parquet_file
from jobstore.cli.places import Place, place_of
from jobstore.cli.plain import Complaint
from jobstore.cli.terminal import say, stdout
from jobstore.cli.wording import JOB_COLUMNS, as_row
from jobstore.config import Config
from jobstore.model import clock
from jobstore.model.clock import iso
from jobstore.model.frozen import frozen
from jobstore.model.job import Job
from jobstore.model.lifecycle import State
from jobstore.store import questions
from jobstore.store.history import History
from jobstore.store.questions import By
from jobstore.store.search import Death, Search
from jobstore.store.target_states import waiting_for

if TYPE_CHECKING:
    from jobstore.cli.figures import Counted
    from jobstore.cli.remote import Remote

_ROWS: Final = 50
_NOT_BY_URL: Final = (
    "--{}: with --url, there are only lists of jobs; for statistics, use --store or --config"
    " instead of --url"
)
_MOST_LONGEST: Final = 10_000
# What is said of each job to scripts, besides what stands in its row.
_COLUMNS: Final[Columns] = dict(JOB_COLUMNS) | {
    "waits_for": ColumnKind.TEXT,
    "definition_name": ColumnKind.TEXT,
    "cancelled_by": ColumnKind.TEXT,
}


@frozen(kw_only=True)
class _Form:
    """How an answer is written.

    Args:
        as_json: as lines of JSON.
        as_csv: as CSV.
        parquet: into a Parquet file of this name.
        force: whether that may replace another file.
        zone: in which times are written for people.
        limit: how many rows, if that was said.
    """

    as_json: bool
    as_csv: bool
    parquet: Path | None
    force: bool
    zone: ZoneInfo
    limit: int | None

    def __post_init__(self) -> None:
        if self.as_json + self.as_csv + (self.parquet is not None) > 1:
            raise click.UsageError("--json, --csv and --parquet cannot be used together")

    @property
    def for_people(self) -> bool:
        return not (self.as_json or self.as_csv or self.parquet)

    @property
    def most(self) -> int | None:
        """How many rows to ask for: for people one more than are shown, which tells of others."""
        return (self.limit or _ROWS) + 1 if self.for_people else self.limit

    @contextmanager
    def writer(self, columns: Columns, place: Place) -> Iterator[RowWriter]:
        """Yield what writes the rows of an answer for scripts."""
        if self.parquet is None:
            yield JsonLines(columns) if self.as_json else Csv(columns)
            return
        with parquet_file(self.parquet, place.file, columns, replace=self.force) as parquet:
            yield parquet


@click.command(
    "history",
    epilog=examples(
        "jobstore history --errors --since 24h",
        "jobstore history --path /reports --range 'since yesterday 18:00'",
        "jobstore history --stats=route --range 'last 7 days'",
    ),
)
@reaching
@filter_options
@click.option("--longest", is_flag=True, help="The longest runs instead of the newest jobs.")
@click.option(
    "--stats",
    type=click.Choice([by.value for by in By]),
    is_flag=False,
    flag_value=By.PATH.value,
    help=(
        "Counts and durations by path; --stats=route groups paths as /reports/{},"
        " --stats=definition the runs of each definition."
    ),
)
@click.option("--activity", is_flag=True, help="Jobs submitted per hour or per day.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"How many rows; {_ROWS} if not given, all with --json, --csv and --parquet.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, for spreadsheets.")
@click.option(
    "--parquet", type=FILE, metavar="FILE", help="Write a Parquet file; needs jobstore[parquet]."
)
@click.option("--force", is_flag=True, help="Replace that file if it exists.")
def history_command(where: Where, /, **asked: Any) -> None:
    """Search all jobs in the store, newest first.

    Write a time as 2025-01-31, 2025-01-31T12:00, 2025-01-31T12:00+01:00, 18:00, 'yesterday 18:00',
    in UTC unless it has an offset or --zone names a zone, or as how long ago it was: 90s, 15m, 24h,
    7d. Write a range as today, yesterday, 2025-01-31, 2025-01, 'since yesterday 18:00', 'last 7
    days', 2025-01-01..2025-01-31 (both days included).
    """
    kinds = [name for name in ("longest", "stats", "activity") if asked[name]]
    if len(kinds) > 1:
        raise click.UsageError("--longest, --stats and --activity cannot be used together")
    form = _Form(**{name: asked.pop(name) for name in _Form.__dataclass_fields__})
    if isinstance(where, Config):
        asyncio.run(_answer(place_of(where), form, asked))
    elif kinds:
        raise Complaint(_NOT_BY_URL.format(kinds[0]))
    else:
        _answer_from_afar(where, form, query_of(asked))


async def _answer(place: Place, form: _Form, asked: dict[str, Any]) -> None:
    async with place.history() as history:
        search = await search_of(history, place, asked)
        if asked["stats"] or asked["activity"]:
            _write(form, place, await _counted(history, form, search, asked))
        elif asked["longest"]:
            await _jobs(history, place, form, search, _longest(history, form, search))
        else:
            await _jobs(history, place, form, search, _newest(history, form, search))


async def _counted(
    history: History, form: _Form, search: Search, asked: dict[str, Any]
) -> "Counted":
    """Count jobs: statistics of them, or how many there were in each span of time."""
    from jobstore.cli import figures  # lists of jobs are asked for more often

    if asked["stats"]:
        by = By(asked["stats"])
        found = await questions.figures(history, search, by)
        return figures.of_figures(found, by, form.limit, plain=form.for_people)
    spans = await questions.activity(history, search)
    bars = figures.bars(spans, search, form.zone, clock.now())
    return figures.of_bars(bars, form.zone, plain=form.for_people)


def _answer_from_afar(remote: "Remote", form: _Form, query: dict[str, str]) -> None:
    """Write the jobs that a server on another machine lists."""
    from jobstore.cli.remote_jobs import RemoteJobs  # few need it

    if form.parquet is not None:
        raise Complaint("--parquet: this works on a store only, not with --url")
    there = RemoteJobs(remote)
    pages = there.pages(query, form.most)
    if not form.for_people:
        columns = {**JOB_COLUMNS, "waits_for": ColumnKind.TEXT}
        writer = JsonLines(columns) if form.as_json else Csv(columns)
        for jobs in pages:
            writer.write([[*as_row(job), there.waits_for(job)] for job in jobs])
        return
    limit = left = form.limit or _ROWS
    table = JobTable(stdout(), form.zone, waits_for=there.waits_for)
    for jobs in pages:
        if jobs[:left]:
            table.write(jobs[:left])
        left -= len(jobs)
    if left == limit:
        say("No matching jobs." if query else "No jobs in the store.")
    elif left < 0:
        say(f"There are more than {limit:,}; --limit lists more.")


# --- lists of jobs ------------------------------------------------------------------------------


def _newest(history: History, form: _Form, search: Search) -> AsyncIterator[list[Job]]:
    return history.pages(search, form.most)


async def _longest(history: History, form: _Form, search: Search) -> AsyncIterator[list[Job]]:
    limit = min(form.most or _MOST_LONGEST, _MOST_LONGEST)
    yield await questions.longest(history, search, clock.now(), limit)


async def _jobs(
    history: History, place: Place, form: _Form, search: Search, pages: AsyncIterator[list[Job]]
) -> None:
    if form.for_people:
        if search.died is not None:
            _tell_death(search.died, shared=place.file is None)
        await _write_table(history, form, search, pages)
        return
    with form.writer(_COLUMNS, place) as writer:
        names, waits_for = await questions.names(history), await waiting_for(history)
        async for jobs in pages:
            by = await questions.askers(history, jobs)
            writer.write(
                [
                    [*as_row(job), waits_for(job), names.get(job.definition), by.get(job.id)]
                    for job in jobs
                ]
            )


async def _write_table(
    history: History, form: _Form, search: Search, pages: AsyncIterator[list[Job]]
) -> None:
    limit = left = form.limit or _ROWS
    askers: dict[int, str] | None = {} if _about_cancelled(search) else None
    table = JobTable(stdout(), form.zone, askers, waits_for=await waiting_for(history))
    async for jobs in pages:
        if askers is not None:
            askers |= await questions.askers(history, jobs)
        if jobs[:left]:
            table.write(jobs[:left])
        left -= len(jobs)
    if left == limit:
        say(_none(search))
    elif left < 0:
        say(f"There are more than {limit:,}; --limit lists more.")


def _none(search: Search) -> str:
    if search.died is not None:
        return "No job was running then."
    return "No matching jobs." if search.values else "No jobs in the store."


def _about_cancelled(search: Search) -> bool:
    return search.cancelled_by is not None or search.states == (State.CANCELLED,)


def _tell_death(death: Death, *, shared: bool) -> None:
    if not death.boot:
        say("No server of this store has died.")
        return
    who = f"with process id {death.pid}, started {iso(death.started_at)}, was killed or lost power"
    at = death.restarted_at and iso(death.restarted_at)
    if shared:  # or it was silent for other reasons, which nobody can tell from here
        say(f"Node {death.boot} {who}, or was cut off" + (f"; noticed {at}." if at else "."))
    else:
        say(f"The server {who}" + (f"; the next one started {at}." if at else "."))


# --- figures ------------------------------------------------------------------------------------


def _write(form: _Form, place: Place, answer: "Counted") -> None:
    if form.for_people:
        answer.print(stdout())
        return
    with form.writer(answer.columns, place) as writer:
        writer.write(answer.rows)
