"""Operations on many jobs: list them, look at one, stop one."""

import asyncio
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from jobstore.cli.beside import beside, operator
from jobstore.cli.options import Where, json_option, limited, reaching
from jobstore.cli.places import place_of
from jobstore.cli.plain import tell, write_json
from jobstore.cli.table import Listed
from jobstore.cli.wording import without_fraction
from jobstore.config import Config
from jobstore.model.bulk import BulkState, described
from jobstore.model.errors import OperationNotFound
from jobstore.model.words import plural
from jobstore.store import bulk
from jobstore.store.jobs import LARGEST_ID

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote

# An operation as the API describes it.
_Described = Mapping[str, Any]

_CALLS: Final = "/_jobs/operations"
_PAGE: Final = 100


class _ListsByDefault(click.Group):
    """A group of commands whose default is ``list``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; options without a command are those of ``list``."""
        if not args or (args[0].startswith("-") and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group("operations", cls=_ListsByDefault)
def operations_command() -> None:
    """List, show or stop operations on many jobs.

    They are created by `jobstore cancel`, `retry`, `delete` and `restore`, and over HTTP.
    """


@operations_command.command("list")
@reaching
@limited("operations")
@json_option
def list_command(where: Where, limit: int, *, as_json: bool) -> None:
    """List operations, the newest first."""
    found = asyncio.run(_page(where, limit)) if isinstance(where, Config) else _pages(where, limit)
    listed: Listed[_Described] = Listed(
        heads=("ID", "ACTION", "JOBS", "DONE", "SKIPPED", "STATE", "CREATED", "OWNER"),
        row=lambda each: (
            *(each[name] for name in ("id", "action", "count", "done", "skipped")),
            _state(each),
            without_fraction(each["created_at"]),
            each["owner"],
        ),
        fields=lambda each: each,
        none="There are no operations.",
    )
    listed.write(found, as_json=as_json)


async def _page(config: Config, limit: int) -> list[_Described]:
    async with place_of(config).history() as history:
        rows = await history.rows(bulk.PAGE, before=LARGEST_ID, scope=None, limit=limit)
    return [described(bulk.decoded(row)) for row in rows]


def _pages(remote: "Remote", limit: int) -> list[_Described]:
    found: list[_Described] = []
    before: Mapping[str, object] = {}
    while len(found) < limit:
        query = {"limit": min(_PAGE, limit - len(found)), **before}
        page = remote.ask("GET", _CALLS, query=query)
        found += page["operations"]
        if page["next"] is None:
            break
        before = {"before": page["next"]}
    return found


@operations_command.command("show")
@reaching
@click.argument("operation", metavar="ID", type=int)
@json_option
def show_command(where: Where, operation: int, *, as_json: bool) -> None:
    """Show the progress of an operation, and why jobs were skipped."""
    _tell(_get(where, operation), as_json=as_json)


@operations_command.command("stop")
@reaching
@click.argument("operation", metavar="ID", type=int)
@json_option
def stop_command(where: Where, operation: int, *, as_json: bool) -> None:
    """Stop an operation that has not ended; what it has done stays done."""
    if isinstance(where, Config):
        asyncio.run(_stop(where, operation))
    else:
        where.ask("DELETE", f"{_CALLS}/{operation}")
    _tell(_get(where, operation), as_json=as_json)


async def _stop(config: Config, operation: int) -> None:
    async with beside(config) as store:
        await store.operations.stop(operation, by=operator())


def _get(where: Where, operation: int) -> _Described:
    if isinstance(where, Config):
        return asyncio.run(_found(where, operation))
    found: _Described = where.ask("GET", f"{_CALLS}/{operation}")
    return found


async def _found(config: Config, operation: int) -> _Described:
    rows = []
    if 0 < operation <= LARGEST_ID:
        async with place_of(config).history() as history:
            rows = await history.rows(bulk.GET, operation=operation, scope=None)
    if not rows:
        raise OperationNotFound(operation)
    return described(bulk.decoded(rows[0]))


def _tell(operation: _Described, *, as_json: bool) -> None:
    if as_json:
        write_json(operation)
        return
    which = "" if operation["filter"] is None else f" {json.dumps(operation['filter'])}"
    tell(f"Operation {operation['id']}: {operation['action']}{which}, {_state(operation)}")
    done, skipped = operation["done"], operation["skipped"]
    tell(f"{done:,} done and {skipped:,} skipped of {plural(operation['count'], 'job')}")
    for reason, number in operation["reasons"].items():
        tell(f"{number:,} skipped: {reason}")


def _state(operation: _Described) -> str:
    if operation["state"] == BulkState.STOPPED and operation["stopped_by"]:
        return f"stopped by {operation['stopped_by']}"
    return f"waits: {operation['waits']}" if operation["waits"] else str(operation["state"])
