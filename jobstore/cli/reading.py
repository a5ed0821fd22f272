"""Look at jobs: a list of those with results, or one in detail."""

import asyncio
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import click

from jobstore.cli import content
from jobstore.cli.formats import ColumnKind, Columns, JsonLines
from jobstore.cli.job_table import JobTable
from jobstore.cli.options import Where, json_option, limited, reaching, size
from jobstore.cli.places import place_of
from jobstore.cli.plain import Complaint, write_json
from jobstore.cli.sheet import Part, Sheet
from jobstore.cli.terminal import say, stdout
from jobstore.cli.wording import JOB_COLUMNS, as_row, why_no_response
from jobstore.config import Config
from jobstore.model.job import Job
from jobstore.model.lifecycle import AWAITED
from jobstore.model.message import REDACTED, Body, Headers, Request, Response
from jobstore.model.target_state import WaitReason
from jobstore.model.waiting_words import OF_TARGET
from jobstore.store import target_states
from jobstore.store.history import History
from jobstore.store.questions import askers
from jobstore.store.target_states import waiting_for

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote
    from jobstore.cli.remote_sheets import RemoteSheets

_MOST_LISTED: Final = 100_000
_MOST_OF_BODY: Final = 4096
WaitsFor: TypeAlias = Callable[[Job], WaitReason | None]
_COLUMNS: Final[Columns] = {**JOB_COLUMNS, "waits_for": ColumnKind.TEXT}


class _List(click.Command):
    """The command `list`, which names the one that has filters if it is given one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        typed = shlex.join(args)
        try:
            return super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if error.option_name not in _options_of_history():
                raise
            raise click.UsageError(
                f"no such option: {error.option_name}; type: jobstore history {typed}", ctx
            ) from None


def _options_of_history() -> set[str]:
    from jobstore.cli.asking import history_command  # for an error only

    return {name for option in history_command.params for name in option.opts}


@click.command("list", cls=_List)
@reaching
@limited("jobs", _MOST_LISTED)
@json_option
def list_command(where: Where, limit: int, *, as_json: bool) -> None:
    """List the jobs that wait, run or have a result that can still be fetched.

    The newest come first. `jobstore history` lists all jobs, and has filters.
    """
    in_all: int | None
    if isinstance(where, Config):
        jobs, in_all, waits_for = asyncio.run(_awaited(where, limit))
    else:
        found, waits_for = _awaited_afar(where, limit + 1)
        jobs, in_all = found[:limit], None if len(found) > limit else len(found)
    if as_json:
        JsonLines(_COLUMNS).write([[*as_row(job), waits_for(job)] for job in jobs])
        return
    if jobs:
        JobTable(stdout(), waits_for=waits_for).write(jobs)
    if not jobs:
        say("No unfinished jobs, and no results to fetch.")
    elif in_all is None:
        newest = "job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
        say(f"The newest {newest}; --limit lists more.")
    elif in_all > len(jobs):
        say(f"The newest {len(jobs):,} of {in_all:,} jobs; --limit lists more.")


async def _awaited(config: Config, limit: int) -> tuple[list[Job], int, WaitsFor]:
    """List jobs, the newest first; tell how many there are in all, and what they wait for."""
    async with place_of(config).history() as history:
        jobs = (await history.awaited(limit))[::-1]
        counters = await history.counters()
        waits_for = await waiting_for(history)
    in_all = sum(counters.get(("result", state), 0) for state in AWAITED)
    return jobs, max(len(jobs), in_all), waits_for


def _awaited_afar(remote: "Remote", limit: int) -> tuple[list[Job], WaitsFor]:
    from jobstore.cli.remote_jobs import RemoteJobs  # few need it

    there = RemoteJobs(remote)
    pages = there.pages({"result": ",".join(AWAITED)}, limit)
    return [job for page in pages for job in page], there.waits_for


@click.command("show")
@reaching
@click.argument("job_id", metavar="ID", type=int)
@click.option(
    "--body-limit",
    "--max-body",
    "max_body",
    type=size,
    metavar="SIZE",
    help="How much of each body to show: 64KiB; 4KiB if not given, all with --json.",
)
@click.option("--hex", "in_hex", is_flag=True, help="Show bodies in hexadecimal.")
@click.option(
    "--body",
    "side",
    type=click.Choice(["request", "response"]),
    help="Write only this body, unchanged.",
)
@json_option
def show_command(
    where: Where,
    job_id: int,
    max_body: int | None,
    side: Literal["request", "response"] | None,
    *,
    in_hex: bool,
    as_json: bool,
) -> None:
    """Show one job: its request, response, attempts and timeline.

    Secret headers are never shown. Looking at a result does not fetch it.
    """
    if side and (as_json or in_hex):
        raise click.UsageError("--body cannot be used with --json or --hex")
    if side is not None:
        _write_side(where, job_id, side)
        return
    most = _MOST_OF_BODY if max_body is None and not as_json else max_body
    if isinstance(where, Config):
        sheet = asyncio.run(_sheet(where, job_id, most))
    else:
        sheet = _sheets(where).sheet(job_id, most)
    if as_json:
        write_json(sheet.as_json(in_hex=in_hex), pretty=True)
    else:
        sheet.print(stdout(), in_hex=in_hex)


def _write_side(where: Where, job_id: int, side: Literal["request", "response"]) -> None:
    if isinstance(where, Config):
        asyncio.run(_write_body(where, job_id, side))
        return
    sys.stdout.buffer.write(where.body(f"/_jobs/{job_id}/{side}"))
    sys.stdout.buffer.flush()


def _sheets(remote: "Remote") -> "RemoteSheets":
    from jobstore.cli.remote_sheets import RemoteSheets  # few need it

    return RemoteSheets(remote)


async def _sheet(config: Config, job_id: int, most: int | None) -> Sheet:
    async with place_of(config).history() as history:
        record = await history.record(job_id)
        job = record.job
        waits = (await waiting_for(history))(job)
        name = None if job.definition is None else await history.definition_name(job.definition)
        return Sheet(
            job=job,
            definition=name,
            waits_for=waits,
            target=await target_states.one(history, job.target) if waits in OF_TARGET else None,
            cancelled_by=(await askers(history, [job])).get(job.id),
            attempts=record.attempts,
            request=await _part(await history.request(job), config, most),
            response=await _part(await history.response(job), config, most),
            timeline=record.timeline,
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
    secret = config.privacy.secret
    return tuple((name, REDACTED if name.lower() in secret else value) for name, value in headers)


async def _write_body(config: Config, job_id: int, side: Literal["request", "response"]) -> None:
    async with place_of(config).history() as history:
        job = await history.job(job_id)
        await content.write_raw(await _body(history, job, side))


async def _body(history: History, job: Job, side: Literal["request", "response"]) -> Body:
    message = await (history.request(job) if side == "request" else history.response(job))
    if message is None:
        why = "no longer kept" if side == "request" else why_no_response(job)
        raise Complaint(f"the {side} of job {job.id}: {why}")
    return message.body
