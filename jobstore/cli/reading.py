"""Look at jobs: those that can be asked for, one in all its parts, or all that ever were."""

import asyncio
from typing import Any, Final, Literal

import click
from rich.text import Text

from jobstore.cli import content
from jobstore.cli.facts import why_no_response
from jobstore.cli.options import configured, json_option, status, text, time
from jobstore.cli.sheet import Part, Sheet
from jobstore.cli.tables import Csv, JobTable, JsonLines, Writer
from jobstore.cli.terminal import Complaint, stdout, write, write_json
from jobstore.config import Config
from jobstore.job import Job
from jobstore.lifecycle import AWAITED, State
from jobstore.message import REDACTED, Body, Headers, Request, Response
from jobstore.store import SECRET_HEADERS
from jobstore.store.history import History, Search, open_history

_ROWS: Final = 50
_MOST_LISTED: Final = 100_000
_MOST_OF_BODY: Final = 4096


@click.command("list")
@configured
@click.option(
    "--limit",
    type=click.IntRange(1, _MOST_LISTED),
    default=_ROWS,
    show_default=True,
    metavar="N",
    help="How many to list; the newest are listed.",
)
@json_option
def list_command(config: Config, limit: int, *, as_json: bool) -> None:
    """List the jobs that can still be asked for: pending, or with a result that is held.

    The newest come last. `jobstore history` lists all others too.
    """
    asyncio.run(_list(config, limit, as_json=as_json))


async def _list(config: Config, limit: int, *, as_json: bool) -> None:
    async with open_history(config.store.path) as history:
        jobs = await history.awaited(limit)
        counters = await history.counters()
    if as_json:
        JsonLines().write(jobs)
        return
    if jobs:
        JobTable(stdout()).write(jobs)
    in_all = max(len(jobs), sum(counters.get(("result", state), 0) for state in AWAITED))
    if not jobs:
        _say("No job can be asked for.")
    elif in_all > len(jobs):
        _say(f"The newest {len(jobs):,} of {in_all:,} jobs; --limit lists more.")


@click.command("show")
@configured
@click.argument("job_id", metavar="ID", type=int)
@click.option(
    "--max-body",
    type=click.IntRange(0),
    metavar="N",
    help=f"How many bytes of each body to show; {_MOST_OF_BODY} if not given, all with --json.",
)
@click.option(
    "--body",
    "side",
    type=click.Choice(["request", "response"]),
    help="Write nothing but this body, as it is.",
)
@json_option
def show_command(
    config: Config,
    job_id: int,
    max_body: int | None,
    side: Literal["request", "response"] | None,
    *,
    as_json: bool,
) -> None:
    """Show one job: its request, its response, and what happened to it.

    Secret headers are never shown. Looking at a result does not fetch it.
    """
    if side and as_json:
        raise click.UsageError("--body and --json exclude each other")
    if side:
        asyncio.run(_write_body(config, job_id, side))
    else:
        most = _MOST_OF_BODY if max_body is None and not as_json else max_body
        sheet = asyncio.run(_sheet(config, job_id, most))
        if as_json:
            write_json(sheet.as_json(), pretty=True)
        else:
            sheet.print(stdout())


async def _sheet(config: Config, job_id: int, most: int | None) -> Sheet:
    async with open_history(config.store.path) as history:
        job = await history.job(job_id)
        return Sheet(
            job=job,
            request=await _part(await history.request(job), config, most),
            response=await _part(await history.response(job), config, most),
            timeline=await history.timeline(job_id),
        )


async def _part(
    message: Request | Response | None, config: Config, most: int | None
) -> Part | None:
    if message is None:
        return None
    headers = _without_secrets(message.headers, config)
    reason = message.reason if isinstance(message, Response) else None
    return Part(headers, await content.excerpt(message.body, most), reason)


def _without_secrets(headers: Headers, config: Config) -> Headers:
    """Hide also what became secret only after it was stored."""
    secret = SECRET_HEADERS.union(config.privacy.redact)
    return tuple((name, REDACTED if name.lower() in secret else value) for name, value in headers)


async def _write_body(config: Config, job_id: int, side: Literal["request", "response"]) -> None:
    async with open_history(config.store.path) as history:
        job = await history.job(job_id)
        await content.write_raw(await _body(history, job, side))


async def _body(history: History, job: Job, side: Literal["request", "response"]) -> Body:
    message = await (history.request(job) if side == "request" else history.response(job))
    if message is None:
        why = "no longer kept" if side == "request" else why_no_response(job)
        raise Complaint(f"the {side} of job {job.id}: {why}")
    return message.body


@click.command("history")
@configured
@click.option(
    "--state",
    "states",
    type=click.Choice([state.value for state in State]),
    multiple=True,
    help="Where the work stands; may be repeated.",
)
@click.option("--owner", type=text, metavar="NAME", help="Whose jobs.")
@click.option("--path", type=text, metavar="PREFIX", help="What the path begins with.")
@click.option("--since", type=time, help="Submitted then or later: 2025-01-31T12:00, or 24h.")
@click.option("--until", type=time, help="Submitted before: a time, or how long ago it was.")
@click.option("--status", type=status, help="The answer's status: 404, or a class such as 5xx.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help=f"How many to list; {_ROWS} if not given, all with --json and --csv.",
)
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV, for spreadsheets.")
def history_command(
    config: Config, /, limit: int | None, *, as_json: bool, as_csv: bool, **wanted: Any
) -> None:
    """Look through all jobs that are in the store, newest first.

    Times are written as 2025-01-31, 2025-01-31T12:00, 2025-01-31T12:00+01:00, and are in UTC unless
    they say otherwise; or as how long ago it was: 90s, 15m, 24h, 7d.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other")
    lowest, highest = wanted.pop("status") or (None, None)
    search = Search(
        states=tuple(State(state) for state in wanted.pop("states")) or None,
        lowest_status=lowest,
        highest_status=highest,
        **wanted,
    )
    if as_json or as_csv:
        asyncio.run(_write_all(config, search, limit, JsonLines() if as_json else Csv()))
    else:
        asyncio.run(_write_table(config, search, limit or _ROWS))


async def _write_all(config: Config, search: Search, limit: int | None, writer: Writer) -> None:
    async with open_history(config.store.path) as history:
        async for jobs in history.pages(search, limit):
            writer.write(jobs)


async def _write_table(config: Config, search: Search, limit: int) -> None:
    table, left = JobTable(stdout()), limit
    async with open_history(config.store.path) as history:
        async for jobs in history.pages(search, limit + 1):
            if jobs[:left]:
                table.write(jobs[:left])
            left -= len(jobs)
    if left == limit:
        _say("No job is like this." if search.values else "No job is in the store.")
    elif left < 0:
        _say(f"There are more than {limit:,}; --limit lists more.")


def _say(words: str) -> None:
    """Say something beside the rows, where no script takes it for one of them."""
    write(stdout(), Text(words, "dim"))
