"""Targets: their state, and what operators set."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import click

from jobstore.cli.beside import beside, operator
from jobstore.cli.options import Where, json_option, limited, reaching, text
from jobstore.cli.places import place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.table import Listed
from jobstore.cli.wording import without_fraction
from jobstore.config import Config
from jobstore.model.errors import TargetUnknown
from jobstore.model.target_state import TargetChange, described
from jobstore.store import audit, target_states
from jobstore.store.audit import AuditEntry

# A target as the API describes it.
_Described = Mapping[str, Any]

_CONFIGURED: Final = "configured"
_MOST_AT_ONCE: Final = 2**31 - 1
_CALLS: Final = "/_jobs/targets"


def _concurrency(value: str) -> TargetChange:
    """Read how many jobs of a target shall run at once.

    Raises:
        BadParameter: it is no such number.
    """
    if value == _CONFIGURED:
        return TargetChange(sizes=True)
    if not (value.isascii() and value.isdigit() and 0 < int(value[:11]) <= _MOST_AT_ONCE):
        raise click.BadParameter(f"expected a whole number from 1 on, or {_CONFIGURED}.")
    return TargetChange(sizes=True, concurrency=int(value))


@click.command("targets")
@reaching
@click.argument("name", required=False, type=text)
@click.option(
    "--concurrency",
    "change",
    type=_concurrency,
    metavar="N",
    help=f"How many jobs of NAME may run at once; '{_CONFIGURED}' resets it.",
)
@json_option
def targets_command(
    where: Where, name: str | None, change: TargetChange | None, *, as_json: bool
) -> None:
    """List the targets, or NAME alone: how many of their jobs run and wait, and why none starts.

    A target is named by its prefix. It is held while it cannot be reached, and paused between
    `jobstore pause` and `jobstore resume`: its jobs wait. A star marks a concurrency that an
    operator has set.
    """
    if change is not None:
        if name is None:
            raise click.UsageError("--concurrency: expected the NAME of a target")
        _change(where, name, change)
    found = _seen(where)
    if name is not None:
        known = [each["name"] for each in found]
        if name not in known:
            raise TargetUnknown(name, known)
        found = [each for each in found if each["name"] == name]
    _LISTED.write(found, as_json=as_json)


def _seen(where: Where) -> list[_Described]:
    """Describe the targets."""
    if not isinstance(where, Config):
        found: list[_Described] = where.ask("GET", _CALLS)["targets"]
        return found
    return asyncio.run(_seen_here(where))


async def _seen_here(config: Config) -> list[_Described]:
    async with place_of(config).history() as history:
        found = await history.together(target_states.LOOKED_AT)
    seen = target_states.seen(found, _configured(config, served=bool(found[1])))
    return [described(target) for target in seen]


def _configured(config: Config, *, served: bool) -> Mapping[str, int]:
    """Return the targets that are configured here; the demo only if no server has others."""
    targets = config.target if served else config.targets
    return {target.prefix: target.concurrency for target in targets}


def _row(target: _Described) -> tuple[object, ...]:
    slots = "" if target["concurrency"] is None else str(target["concurrency"])
    if target["concurrency_from"] == "store":
        configured = target["configured"]
        slots += f"* (configured: {configured})" if configured else "*"
    return (target["name"], target["running"], slots, target["waiting"], _words(target))


def _words(target: _Described) -> str:
    """Say why no job of a target starts, if none does."""
    words = []
    if target["paused"]:
        why = f": {target['reason']}" if target["reason"] else ""
        since = without_fraction(target["paused_at"])
        words.append(f"paused by {target['paused_by']} since {since}{why}")
    if target["held"]:
        words.append(f"held since {without_fraction(target['held_at'])}: {target['held_why']}")
    return "; ".join(words) or "open"


_LISTED: Final[Listed[_Described]] = Listed(
    heads=("TARGET", "RUNNING", "CONCURRENCY", "WAITING", "STATE"),
    row=_row,
    fields=lambda target: target,
    none="There are no targets.",
)


@click.command("pause")
@reaching
@click.argument("target", type=text)
@click.option("--reason", type=text, metavar="TEXT", help="The reason, shown to other operators.")
@json_option
def pause_command(where: Where, target: str, reason: str | None, *, as_json: bool) -> None:
    """Start no more jobs of TARGET, named by its prefix, until it is resumed.

    New jobs are accepted and wait; running ones go on. If the server is down, the pause holds from
    its next start. A target that is already paused gets the new reason.
    """
    _change(where, target, TargetChange(paused=True, reason=reason))
    if as_json:
        write_json({"paused": target, "reason": reason})
    else:
        tell(f"{target} is paused: its jobs wait. `jobstore resume {target}` lets them run.")


@click.command("resume")
@reaching
@click.argument("target", type=text)
@json_option
def resume_command(where: Where, target: str, *, as_json: bool) -> None:
    """Let the jobs of a paused TARGET run again."""
    _change(where, target, TargetChange(paused=False))
    if as_json:
        write_json({"resumed": target})
    else:
        tell(f"{target} is not paused: its jobs run.")


def _change(where: Where, target: str, wanted: TargetChange) -> None:
    if isinstance(where, Config):
        asyncio.run(_change_here(where, target, wanted))
    else:
        where.ask("PATCH", f"{_CALLS}/{quote(target, safe='')}", _as_json(wanted))


async def _change_here(config: Config, target: str, wanted: TargetChange) -> None:
    found = await _seen_here(config)
    known = _configured(config, served=any(seen["configured"] for seen in found))
    async with beside(config) as store:
        await store.targets.change(target, wanted, operator(), known)


def _as_json(wanted: TargetChange) -> Mapping[str, object]:
    """Write a change as the API has it."""
    written: dict[str, object] = {"paused": wanted.paused, "reason": wanted.reason}
    said = {name: value for name, value in written.items() if value is not None}
    return {**said, "concurrency": wanted.concurrency} if wanted.sizes else said


@click.command("audit")
@reaching
@limited("entries")
@json_option
def audit_command(where: Where, limit: int, *, as_json: bool) -> None:
    """List what operators did to targets and accounts, and when; the newest first."""
    listed: Listed[_Described] = Listed(
        heads=("AT", "WHO", "WHAT", "SUBJECT", "DETAIL"),
        row=lambda each: (
            without_fraction(each["at"]),
            each["who"],
            each["what"],
            each["subject"],
            each["detail"] or "",
        ),
        fields=lambda each: each,
        none="No entries yet.",
    )
    found = (
        asyncio.run(_trail(where, limit))
        if isinstance(where, Config)
        else where.ask("GET", "/_jobs/audit", query={"limit": limit})["audit"]
    )
    listed.write(found, as_json=as_json)


async def _trail(config: Config, limit: int) -> list[_Described]:
    async with place_of(config).history() as history:
        rows = await history.rows(audit.ENTRIES, limit=limit)
    return [AuditEntry(*row).described for row in rows]
