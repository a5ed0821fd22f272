"""Look after a store: expire, purge, check, back up and restore."""

import asyncio
from pathlib import Path

import click
from rich.filesize import decimal

from jobstore.cli.options import FILE, configured, duration, json_option, time
from jobstore.cli.places import Place, place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.tending import tended
from jobstore.cli.terminal import progress
from jobstore.config import Config
from jobstore.live.purging import Purged
from jobstore.model.clock import SECOND, iso, now
from jobstore.model.words import plural
from jobstore.store.checks import CheckReport
from jobstore.store.sqlite.replacing import Replaced


@click.command("expire")
@configured
@click.option("--before", type=time, help="Jobs that ended before TIME: a moment, or how long ago.")
@click.option("--older-than", type=duration, help="Jobs that ended longer ago: 24h, 7d.")
@json_option
def expire_command(
    config: Config, before: int | None, older_than: int | None, *, as_json: bool
) -> None:
    """Expire results that were not fetched.

    Without an option, those older than [retention] unfetched, as the server does by itself.
    """
    moment = _moment("unfetched", config.retention.unfetched, before, older_than)
    expired = asyncio.run(_expire(place_of(config), moment))
    if as_json:
        write_json({"expired": expired, "before": iso(moment)})
    else:
        click.echo(f"{plural(expired, 'result')} of jobs that ended before {iso(moment)} expired.")


async def _expire(place: Place, before: int) -> int:
    async with place.store() as store:
        with progress() as report:
            report("expiring results", 0, 0)
            return await store.results.expire(before)


def _moment(name: str, kept: float | None, before: int | None, older_than: int | None) -> int:
    """Choose the moment that options give, or else the configuration."""
    if before is not None and older_than is not None:
        raise click.UsageError("--before and --older-than cannot be used together")
    moment = older_than if before is None else before
    if moment is not None:
        return moment
    if kept is None:
        raise click.UsageError(f"[retention] {name} is never; give --before or --older-than")
    return now() - int(kept * SECOND)


@click.command("purge")
@configured
@click.option(
    "--before", type=time, help="Payloads unavailable since before TIME, or how long ago."
)
@click.option(
    "--older-than", type=duration, help="Payloads unavailable for longer than that: 24h, 7d."
)
@click.option(
    "--rebuild", is_flag=True, help="Rebuild the file afterwards; no server may be running."
)
@json_option
def purge_command(
    config: Config, before: int | None, older_than: int | None, *, rebuild: bool, as_json: bool
) -> None:
    """Delete the payloads of results that were fetched or deleted, or have expired.

    Without an option, those older than [retention] fetched, as the server does by itself. If no
    server is running, the file shrinks as far as possible; a database reuses the space.
    """
    place = tended(config)
    moment = _moment("fetched", config.retention.fetched, before, older_than)
    with progress() as report:
        report("purging", 0, 0)
        purged = asyncio.run(place.purge(moment, rebuild=rebuild))
    if as_json:
        facts = {"purged": purged.payloads, "given_back": purged.given_back}
        write_json({**facts, "before": iso(moment)})
        return
    payloads = plural(purged.payloads, "payload")
    click.echo(f"{payloads} from before {iso(moment)} purged; {_given(place, purged)}")


def _given(place: Place, purged: Purged) -> str:
    if place.file is None:
        return "autovacuum makes their space free for others."
    if purged.given_back is None:
        return "the server makes the file smaller in a quiet moment."
    return f"{decimal(purged.given_back)} given back."


@click.command("check")
@configured
@json_option
def check_command(config: Config, *, as_json: bool) -> None:
    """Check the store for damage.

    The exit code is 1 if there is any. The whole file is read; the server may be running. In a
    database, only references and counters are checked: PostgreSQL checks its own files.
    """
    place = tended(config)
    with progress("checks") as progressed:
        report = asyncio.run(
            place.check(lambda name, done, of: progressed(f"checking {name}", done, of))
        )
    if as_json:
        write_json(_as_json(place, report), pretty=True)
    elif report.problems:
        click.echo(f"{place}: {plural(len(report.problems), 'problem')}")
        for problem in report.problems:
            tell(f"  {problem}")
    else:
        click.echo(f"{place}: ok; {_summary(report)}")
        if report.stiff:
            click.echo(
                "  It never gets smaller by itself; `jobstore purge --rebuild` changes that."
            )
    if report.problems:
        raise click.exceptions.Exit(1)


def _summary(report: CheckReport) -> str:
    states = ", ".join(f"{n:,} {state}" for state, n in report.jobs.items() if n)
    jobs = sum(report.jobs.values())
    words = [
        f"schema version {report.schema_version}",
        decimal(report.size) + (f" ({decimal(report.free)} free)" if report.free else ""),
        plural(jobs, "job") + (f" ({states})" if states else ""),
    ]
    if report.loose:
        bodies = plural(report.loose, "body", "bodies")
        words.append(f"{bodies} being received or to be swept away")
    return ", ".join(words)


def _as_json(place: Place, report: CheckReport) -> dict[str, object]:
    return {
        "store": str(place),
        "ok": not report.problems,
        "problems": report.problems,
        "schema_version": report.schema_version,
        "size": report.size,
        "free": report.free,
        "stiff": report.stiff,
        "jobs": report.jobs,
        "loose_bodies": report.loose,
    }


@click.command("backup")
@configured
@click.argument("file", type=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def backup_command(config: Config, file: Path, *, force: bool, as_json: bool) -> None:
    """Copy the store to FILE, consistent at one moment; the server may be running.

    FILE appears only when the copy is complete and synced. Back up a database with pg_dump; this
    command prints how.
    """
    place = tended(config)
    with progress("pages") as report:
        size = asyncio.run(
            place.back_up(file, lambda done, pages: report("copying", done, pages), replace=force)
        )
    if as_json:
        write_json({"store": str(place), "backup": str(file), "size": size})
    else:
        click.echo(f"{file}: {decimal(size)}, a complete copy of {place}")


@click.command("restore-backup")
@configured
@click.argument("file", type=FILE)
@click.option("--discard", is_flag=True, help="Delete the old store instead of keeping it.")
@json_option
def restore_backup_command(config: Config, file: Path, *, discard: bool, as_json: bool) -> None:
    """Replace the store with a copy of the backup FILE; no server may be running.

    The old store is kept under another name, unless you say --discard. Never copy a backup over a
    store by hand: SQLite would apply the log of the old store to it.
    """
    place = tended(config)
    if place.file is not None:
        file.stat()  # a missing backup is no store that a command creates
    with progress("pages") as report:
        replaced = asyncio.run(
            place.restore(file, lambda done, pages: report("copying", done, pages), discard=discard)
        )
    if as_json:
        aside = None if replaced.aside is None else str(replaced.aside)
        facts = {"size": replaced.size, "kept": aside, "ids_known": replaced.ids_known}
        write_json({"store": str(place), "backup": str(file)} | facts)
    else:
        _tell_replaced(place, file, replaced)


def _tell_replaced(place: Place, file: Path, replaced: Replaced) -> None:
    click.echo(f"{place}: {decimal(replaced.size)}, a complete copy of {file}")
    if replaced.aside is not None:
        click.echo(f"The old store is kept as {replaced.aside.name}")
    if not replaced.ids_known:
        click.echo("Job ids given out since the backup are unknown, and will be used again.")
