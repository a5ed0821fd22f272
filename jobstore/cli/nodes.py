"""Show which servers share the store."""

import asyncio

import click

from jobstore.cli.options import configured, json_option, limited
from jobstore.cli.places import place_of
from jobstore.cli.table import Listed
from jobstore.cli.wording import to_the_second
from jobstore.config import Config
from jobstore.model.clock import iso
from jobstore.store.starts import Start


@click.command("nodes")
@configured
@limited("starts of nodes")
@json_option
def nodes_command(config: Config, limit: int, *, as_json: bool) -> None:
    """List the nodes that share a database, with a row for each start; the newest first.

    A node is alive; silent, if nothing was heard from it for [store] lease and the others are about
    to declare it dead; ended, if it was stopped; or died, if it was declared dead. A file has at
    most one server.
    """
    place = place_of(config)
    starts = asyncio.run(place.starts(limit))
    listed: Listed[Start] = Listed(
        heads=("NAME", "NODE", "HOST", "PID", "VERSION", "STARTED", "SEEN", "STATE"),
        row=_row,
        fields=_fields,
        none="No server runs." if place.file else "There has been no node so far.",
    )
    listed.write(starts, as_json=as_json)


def _row(start: Start) -> tuple[object, ...]:
    seen = "" if start.seen_at is None else to_the_second(start.seen_at)
    started = to_the_second(start.started_at)
    where = (start.name, start.boot, start.host, start.pid, start.version)
    return (*where, started, seen, start.state.value)


def _fields(start: Start) -> dict[str, object]:
    return {
        "name": start.name,
        "node": start.boot,
        "host": start.host,
        "pid": start.pid,
        "version": start.version,
        "started_at": iso(start.started_at),
        "seen_at": None if start.seen_at is None else iso(start.seen_at),
        "ended_at": None if start.ended_at is None else iso(start.ended_at),
        "state": start.state.value,
    }
