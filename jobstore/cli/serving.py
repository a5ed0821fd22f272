"""Run the server, and bring its store up to date."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import click

from jobstore import __version__
from jobstore.cli.logs import start_logging
from jobstore.cli.options import configured, files, json_option
from jobstore.cli.places import place_of
from jobstore.cli.plain import Complaint, suppress_closed, tell, write_json
from jobstore.config import Config, load
from jobstore.config.sections import TargetSection
from jobstore.model.kinds import kind_of
from jobstore.model.written import BaseUrl

_NEXT: Final = """
The demo endpoints answer, since no target is configured. In another terminal, try:

  curl -i -H 'x-arango-async: store' '{url}/_admin/sleep?duration=3'
  curl -i -X PUT {url}/_api/job/1    # its id; 204: not done yet; a result is given once

Put it in front of a service of yours:  jobstore serve --upstream http://127.0.0.1:9000
Ctrl-C stops the server; jobs and results stay in the store.
"""


def _upstream(value: str) -> str:
    """Read the URL of a service; what else may be wrong with it is said as in a file.

    Raises:
        Complaint: it has no scheme.
    """
    if "://" not in value and not _is_url(value) and _is_url(f"http://{value}"):
        raise Complaint(f"--upstream: {value} has no scheme; did you mean http://{value}?")
    return value


def _is_url(value: str) -> bool:
    try:
        kind_of(BaseUrl).read(value)
    except ValueError:
        return False
    return True


@click.command("serve")
@files
@click.option("--host", metavar="H", help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="P", help="The port; 0 for any free one."
)
@click.option(
    "--upstream", type=_upstream, metavar="URL", help="The service that answers all requests."
)
@click.option(
    "--app", metavar="MODULE:FACTORY", help="The aiohttp application that answers all requests."
)
@click.option(
    "--open",
    "is_open",
    is_flag=True,
    help="Listen anywhere without accounts: everybody may do everything.",
)
@click.option(
    "--forward-credentials", is_flag=True, help="Forward the Authorization header to targets."
)
def serve_command(
    config_file: Path | None,
    store: dict[str, str | Path] | None,
    *,
    is_open: bool,
    forward_credentials: bool,
    **given: Any,
) -> None:
    """Run the server until it gets SIGTERM or Ctrl-C.

    The server creates the store or upgrades its schema when it starts. The demo endpoints answer if
    there is no target, here or in the configuration.
    """
    kinds = ("upstream", "app")
    answers = {kind: given[kind] for kind in kinds if given[kind] is not None}
    if len(answers) > 1:
        raise click.UsageError("--upstream and --app cannot be used together")
    overrides: dict[str, Any] = {
        "server": {"host": given["host"], "port": given["port"], "open": is_open or None},
        "store": store,
        "executor": {"forward_credentials": forward_credentials or None},
        "target": [{"prefix": "/", **answers}] if answers else None,
    }
    _serve(lambda: load(config_file, overrides))


def _serve(read: Callable[[], Config]) -> None:
    # Only this command needs the web server, and loading it takes a while.
    from jobstore.server import Server, run
    from jobstore.service import heap

    config = read()
    start_logging(config.log)
    heap.prepare()
    place = place_of(config)

    def announce(server: Server) -> None:
        urls = server.urls
        with suppress_closed():
            where = place if place.file is None else place.file.absolute()
            tell(f"jobstore {__version__} listens on {' and '.join(urls)}, its store is {where}")
            if server.dashboard:
                tell(f"The dashboard: {server.dashboard}")
            for line in _who_answers(config.target):
                tell(line)
            if not config.target:
                tell(_NEXT.format(url=next((url for url in urls if "://" in url), urls[0])))

    run(config, announce, read)


def _who_answers(targets: Sequence[TargetSection]) -> Iterator[str]:
    """Say which service or application gets which requests."""
    for target in sorted(targets, key=lambda target: target.prefix, reverse=True):
        which = f"Requests to {target.prefix} are" if target.prefix != "/" else "All requests are"
        if target.prefix == "/" and len(targets) > 1:
            which = "All other requests are"
        where = target.upstream or f"the application {target.app}"
        yield f"{which} answered by {where}"


@click.command("migrate")
@configured
@json_option
def migrate_command(config: Config, *, as_json: bool) -> None:
    """Create the store, or upgrade its schema.

    The server does this itself when it starts.
    """
    place = place_of(config)
    before, after = place.migrate()
    if as_json:
        write_json({"store": str(place), "before": before, "after": after})
    elif before == 0:
        tell(f"{place}: created with schema version {after}")
    elif before == after:
        tell(f"{place}: schema version {after}, nothing to do")
    else:
        tell(f"{place}: migrated from schema version {before} to {after}")
