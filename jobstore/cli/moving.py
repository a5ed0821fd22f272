"""Move a store between a file and a database."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from jobstore.cli.options import FILE, json_option, located
from jobstore.cli.plain import tell, write_json
from jobstore.cli.tending import Tended, tended
from jobstore.cli.terminal import Report, progress
from jobstore.config import load
from jobstore.store.moving import move

# What is told of what was moved.
_TOLD: Final = {
    "job": ("job", "jobs"),
    "response": ("answer", "answers"),
    "definition": ("definition", "definitions"),
    "account": ("account", "accounts"),
}


@click.command("move")
@click.option(
    "--config", "config_file", type=FILE, metavar="FILE", help="The configuration, in TOML."
)
@click.argument("source", metavar="FROM", type=located)
@click.argument("destination", metavar="TO", type=located)
@json_option
def move_command(
    config_file: Path | None,
    source: dict[str, str | Path],
    destination: dict[str, str | Path],
    *,
    as_json: bool,
) -> None:
    """Move a store from a file into a database, or from a database into a file.

    FROM and TO are a file and the URL of a PostgreSQL database; [store] schema and lease are read
    from the configuration. No server may be using either of them. Queued jobs, unfetched results,
    definitions, accounts and history are all moved, and keep their ids. TO has to be empty or new,
    and gets everything or nothing. FROM is not changed.
    """
    if source.keys() == destination.keys():
        raise click.UsageError(
            "expected a file and a database; `jobstore backup` copies a file, pg_dump a database"
        )
    # Of one and the same configuration, that bound holds for the file alone.
    before = tended(load(config_file, {"store": {**source, "max_size": 0}}))
    after = tended(load(config_file, {"store": {**destination, "max_size": 0}}))
    with progress("rows") as report:
        moved = _moved(before, after, report)
    if as_json:
        write_json({"from": str(before), "to": str(after), "rows": dict(moved)})
    else:
        _tell(before, after, moved)


def _moved(source: Tended, destination: Tended, report: Report) -> Mapping[str, int]:
    with source.read_whole() as rows, destination.written_whole() as empty:
        return move(rows, empty, lambda name, done, of: report(f"moving {name}", done, of))


def _tell(source: Tended, destination: Tended, moved: Mapping[str, int]) -> None:
    counts = [f"{moved[name]:,} {_of(name, moved[name])}" for name in _TOLD]
    tell(f"{destination}: {', '.join(counts)}, everything in {source}, which was not changed.")
    tell(f"Now change the configuration:\n\n[store]\n{destination.as_written()}")


def _of(name: str, count: int) -> str:
    return _TOLD[name][count != 1]
