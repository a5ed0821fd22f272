"""Targets: their state, and what operators set."""

import asyncio
import getpass
import os
from collections.abc import Mapping
from typing import Final

import click

from jobstore.cli.beside import beside
from jobstore.cli.options import configured, json_option, text
from jobstore.cli.places import place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.table import Listed
from jobstore.cli.wording import to_the_second
from jobstore.config import Config
from jobstore.model.target_state import TargetChange, TargetSeen, described
from jobstore.store import audit, target_states
from jobstore.store.audit import AuditEntry

_ROWS: Final = 50


@click.command("targets")
@configured
@json_option
def targets_command(config: Config, *, as_json: bool) -> None:
    """List the targets: how many of their jobs run and wait, and why none starts.

    A target is held while it cannot be reached, and paused between `jobstore pause` and `jobstore
    resume`: its jobs wait. A star marks a concurrency that an operator has set.
    """
    found = asyncio.run(_seen(config))
    listed: Listed[TargetSeen] = Listed(
        heads=("TARGET", "RUNNING", "CONCURRENCY", "WAITING", "STATE"),
        row=_row,
        fields=described,
        none="There is no target.",
    )
    listed.write(found, as_json=as_json)


async def _seen(config: Config) -> list[TargetSeen]:
    async with place_of(config).history() as history:
        found = await history.together(target_states.LOOKED_AT)
    return target_states.seen(found, _configured(config, served=bool(found[1])))


def _configured(config: Config, *, served: bool) -> Mapping[str, int]:
    """Return the targets that are configured here; the demo only if no server has others."""
    targets = config.target if served else config.targets
    return {target.prefix: target.concurrency for target in targets}


def _row(target: TargetSeen) -> tuple[object, ...]:
    slots = "" if target.concurrency is None else str(target.concurrency)
    if target.state.concurrency is not None:
        slots += f"* (configured: {target.configured})" if target.configured else "*"
    return (target.name, target.running, slots, target.waiting, _words(target))


def _words(target: TargetSeen) -> str:
    """Say why no job of a target starts, if none does."""
    state, hold, words = target.state, target.hold, []
    if state.paused_at is not None:
        why = f": {state.reason}" if state.reason else ""
        words.append(f"paused by {state.paused_by} since {to_the_second(state.paused_at)}{why}")
    if hold is not None:
        words.append(f"held since {to_the_second(hold.since)}: {hold.why}")
    return "; ".join(words) or "open"


@click.command("pause")
@configured
@click.argument("target", type=text)
@click.option("--reason", type=text, metavar="TEXT", help="The reason, shown to other operators.")
@json_option
def pause_command(config: Config, target: str, reason: str | None, *, as_json: bool) -> None:
    """Start no more jobs of TARGET, named by its prefix, until it is resumed.

    New jobs are accepted and wait; running ones go on. If the server is down, the pause holds from
    its next start. A target that is already paused gets the new reason.
    """
    asyncio.run(_change(config, target, TargetChange(paused=True, reason=reason)))
    if as_json:
        write_json({"paused": target, "reason": reason})
    else:
        tell(f"{target} is paused: its jobs wait. `jobstore resume {target}` lets them run.")


@click.command("resume")
@configured
@click.argument("target", type=text)
@json_option
def resume_command(config: Config, target: str, *, as_json: bool) -> None:
    """Let the jobs of a paused TARGET run again."""
    asyncio.run(_change(config, target, TargetChange(paused=False)))
    if as_json:
        write_json({"resumed": target})
    else:
        tell(f"{target} is not paused: its jobs run.")


async def _change(config: Config, target: str, wanted: TargetChange) -> None:
    known = _configured(config, served=any(seen.configured for seen in await _seen(config)))
    async with beside(config) as store:
        await store.targets.change(target, wanted, _operator(), known)


def _operator() -> str:
    """Return the user who runs the command, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


@click.command("audit")
@configured
@click.option(
    "--limit",
    type=click.IntRange(1, 10_000),
    default=_ROWS,
    show_default=True,
    metavar="N",
    help="The most entries to list, newest first.",
)
@json_option
def audit_command(config: Config, limit: int, *, as_json: bool) -> None:
    """List what operators did to targets, and when; the newest last."""
    listed: Listed[AuditEntry] = Listed(
        heads=("AT", "WHO", "WHAT", "SUBJECT", "DETAIL"),
        row=lambda each: (
            to_the_second(each.at),
            each.who,
            each.what,
            each.subject,
            each.detail or "",
        ),
        fields=lambda each: each.described,
        none="No entries yet.",
    )
    listed.write(asyncio.run(_trail(config, limit))[::-1], as_json=as_json)


async def _trail(config: Config, limit: int) -> list[AuditEntry]:
    async with place_of(config).history() as history:
        return [AuditEntry(*row) for row in await history.rows(audit.ENTRIES, limit=limit)]
