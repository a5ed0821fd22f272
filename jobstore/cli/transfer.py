"""Export and import of history, as lines of JSON."""

import asyncio
import gzip
import io
import json
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click

from jobstore.cli.files import export_file
from jobstore.cli.options import FILE, configured, json_option, range_options, within
from jobstore.cli.places import Place, place_of
from jobstore.cli.plain import write_json
from jobstore.cli.tending import tended
from jobstore.cli.terminal import progress
from jobstore.config import Config
from jobstore.model.errors import ExportInvalid
from jobstore.model.words import plural
from jobstore.store.exporting import exported
from jobstore.store.search import Search

_PIPE: Final = Path("-")
_GZIP: Final = b"\x1f\x8b"  # RFC 1952 section 2.3.1
# Longer than what the largest body that stands in one line takes, in base64.
_LONGEST_LINE: Final = 256 * 2**20
# Names that promise what is not kept.
_OTHERS: Final = frozenset({".zst", ".xz", ".bz2", ".zip", ".7z", ".lz4", ".br"})


@click.command("export")
@configured
@click.argument("file", type=FILE)
@range_options
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@json_option
def export_command(
    config: Config,
    file: Path,
    span: tuple[int | None, int | None] | None,
    since: int | None,
    until: int | None,
    *,
    force: bool,
    as_json: bool,
    zone: object,
) -> None:
    """Export jobs to FILE, with requests, responses and events; the server may be running.

    FILE gets one line of JSON per job. It is compressed if its name ends in .gz; - is the standard
    output. Without a range, all jobs are exported. Secret headers never are.
    """
    del zone  # the range was read with it
    if file.suffix.lower() in _OTHERS:
        raise click.UsageError(
            f"{file}: the only compression is .gz; choose a name with that ending or without any"
        )
    begin, end = within(span, since, until)
    place = place_of(config)
    search, hidden = Search(since=begin, until=end), config.privacy.secret
    jobs = asyncio.run(_export(place, hidden, file, search, force=force))
    if file == _PIPE:
        return
    if as_json:
        write_json({"store": str(place), "export": str(file), "jobs": jobs})
    else:
        click.echo(f"{file}: {plural(jobs, 'job')} of {place}")


async def _export(
    place: Place, hidden: frozenset[str], file: Path, search: Search, *, force: bool
) -> int:
    jobs = 0
    with ExitStack() as stack:
        async with place.history() as history:
            write = stack.enter_context(_written(file, place.file, force=force))
            report = stack.enter_context(progress("jobs"))
            async for record in exported(history, search, hidden):
                write(json.dumps(record, separators=(",", ":")).encode() + b"\n")
                jobs += "job" in record
                if not jobs % 100:
                    report("exporting", jobs, 0)
    return jobs


@contextmanager
def _written(file: Path, store: Path | None, *, force: bool) -> Iterator[Callable[[bytes], object]]:
    """Yield what writes into a new file, or to the standard output."""
    if file == _PIPE:
        yield sys.stdout.buffer.write
        sys.stdout.buffer.flush()
        return
    with export_file(file, store, replace=force) as plain:
        if file.suffix.lower() != ".gz":
            yield plain.write
            return
        with gzip.GzipFile(filename="", mode="wb", fileobj=plain, compresslevel=6) as compressed:
            yield compressed.write


@click.command("import")
@configured
@click.argument("file", type=FILE)
@json_option
def import_command(config: Config, file: Path, *, as_json: bool) -> None:
    """Import jobs that `jobstore export` wrote to FILE; - is the standard input.

    Either all jobs are imported or none: an id that is already in use stops the import, and so does
    a damaged file. No server may be running. Jobs that had not ended when they were exported are
    left out.
    """
    place = tended(config)
    with progress("jobs") as report, _opened(file) as lines:
        jobs, left_out = place.take_in(lines, lambda jobs: report("importing", jobs, 0))
    if as_json:
        counts = {"jobs": jobs, "left_out": left_out}
        write_json({"store": str(place), "import": str(file)} | counts)
        return
    rest = f"; left out {plural(left_out, 'job')} that had not ended" if left_out else ""
    click.echo(f"{place}: imported {plural(jobs, 'job')}{rest}")


@contextmanager
def _opened(file: Path) -> Iterator[Iterator[bytes]]:
    """Open a file for reading line by line, compressed or not."""
    with ExitStack() as stack:
        plain: Any = sys.stdin.buffer if file == _PIPE else stack.enter_context(file.open("rb"))
        buffered = plain if isinstance(plain, io.BufferedReader) else io.BufferedReader(plain)
        is_gzip = buffered.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        yield _lines(gzip.GzipFile(fileobj=buffered) if is_gzip else buffered)


def _lines(file: "gzip.GzipFile | io.BufferedReader") -> Iterator[bytes]:
    try:
        while line := file.readline(_LONGEST_LINE):
            yield line
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ExportInvalid(f"its compression is damaged ({error})") from error
