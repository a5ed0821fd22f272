"""What the commands have in common: the configuration, and how values are written."""

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, Final, ParamSpec, TypeAlias, TypeVar, Union
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import click

from jobstore.cli.ranges import Calendar, check_order, length_of
from jobstore.config import Config, load, store_key
from jobstore.model import clock
from jobstore.model.kinds import kind_of
from jobstore.model.written import SizeOrUnlimited

if TYPE_CHECKING:
    from jobstore.cli.remote import Remote

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., object])
# Where a command works: on the store of a configuration, or on a server elsewhere.
Where: TypeAlias = Union[Config, "Remote"]

FILE: Final = click.Path(path_type=Path)

_ROWS: Final = 50
_UTC: Final = ZoneInfo("UTC")
_ZONE: Final = "jobstore.zone"
_STATUS: Final = re.compile(r"[1-5](xx|\d\d)", re.IGNORECASE | re.ASCII)
_SIZE: Final = kind_of(SizeOrUnlimited)


def files(command: F) -> F:
    """Give a command the options that say which configuration and which store it works with."""
    config = click.option(
        "--config", "config_file", type=FILE, metavar="FILE", help="The configuration, in TOML."
    )
    store = click.option(
        "--store",
        "store",
        type=located,
        metavar="PLACE",
        help="The store: a file, or the URL of a PostgreSQL database; overrides [store].",
    )
    return config(store(command))


def located(value: str) -> dict[str, str | Path]:
    """Read where a store is: give the key of [store] that says so, and its value.

    Raises:
        BadParameter: it is the URL of something else than a PostgreSQL database.
    """
    found = store_key(value)
    if "path" in found and "://" in value:
        raise click.BadParameter("expected a file, or a URL such as postgresql://localhost/jobs")
    if "url" in found:
        # Few commands are given a URL, and this takes a while to load.
        from jobstore.cli.arguments import hide_passwords

        hide_passwords()
    return found


def configured(command: Callable[Concatenate[Config, P], None]) -> Callable[..., None]:
    """Load the configuration for a command that takes it as its first argument."""

    @files
    @functools.wraps(command)
    def with_config(
        config_file: Path | None,
        store: dict[str, str | Path] | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        command(load(config_file, {"store": store}), *args, **kwargs)

    return with_config


def reaching(
    command: Callable[Concatenate[Where, P], None],
) -> Callable[..., None]:
    """Give a command a remote server as its first argument, or else the configuration."""

    @click.option("--url", metavar="URL", help="Ask the server at URL instead of the store.")
    @click.option(
        "--token-file",
        type=FILE,
        metavar="FILE",
        help="A file with the token for --url; default: the one in JOBSTORE_TOKEN.",
    )
    @files
    @functools.wraps(command)
    def with_either(
        config_file: Path | None,
        store: dict[str, str | Path] | None,
        url: str | None,
        token_file: Path | None,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        if url is None:
            if token_file is not None:
                raise click.UsageError("--token-file needs --url")
            command(load(config_file, {"store": store}), *args, **kwargs)
            return
        if store is not None or config_file is not None:
            raise click.UsageError("--url cannot be used with --store or --config")
        # Few commands ask one, and HTTP takes a while to load.
        from jobstore.cli.remote import Remote

        command(Remote.at(url, token_file), *args, **kwargs)

    return with_either


def examples(*lines: str) -> str:
    """Return the end of a command's help that shows how it is called."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def json_option(command: F) -> F:
    """Give a command the option to write for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")(command)


def limited(things: str, most: int = 10_000) -> Callable[[F], F]:
    """Give a command that lists things the option to say how many; the newest come first."""
    return click.option(
        "--limit",
        type=click.IntRange(1, most),
        default=_ROWS,
        show_default=True,
        metavar="N",
        help=f"The most {things} to list, newest first.",
    )


def text(value: str) -> str:
    """Read text that can stand in the store.

    Raises:
        BadParameter: it is not UTF-8, as a command line may be.
    """
    try:
        return value.encode().decode()
    except UnicodeEncodeError:
        raise click.BadParameter("this is not UTF-8.") from None


def zone(value: str) -> ZoneInfo:
    """Read the name of a time zone.

    Raises:
        BadParameter: the IANA database does not have it.
    """
    try:
        return ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        from difflib import get_close_matches  # for an error only

        nearest = get_close_matches(value, available_timezones(), n=1)
        meant = f"; did you mean {nearest[0]}?" if nearest else ""
        expected = "expected a name of the IANA database such as UTC or Europe/Berlin"
        raise click.BadParameter(f"there is no time zone {value!r}; {expected}{meant}") from None


def zone_option(command: F) -> F:
    """Give a command the option to read and write times in a zone other than UTC."""
    option = click.option(
        "--zone",
        type=zone,
        default="UTC",
        metavar="NAME",
        is_eager=True,  # the other options are read with it
        callback=_remembered,
        help="Time zone for times without one: Europe/Berlin; default UTC.",
    )
    return option(command)


def range_options(command: F) -> F:
    """Give a command the options that say from when to when jobs were submitted."""
    for option in (
        click.option(
            "--until",
            type=time,
            help="Jobs submitted before TIME: a moment, or how long ago it was.",
        ),
        click.option(
            "--since", type=time, help="Jobs submitted since TIME: 2025-01-31T12:00, or 24h."
        ),
        click.option(
            "--range",
            "span",
            type=span,
            metavar="WORDS",
            help="Submitted in a range: today, 'since yesterday 18:00', 2025-01-01..2025-01-31.",
        ),
        zone_option,
    ):
        command = option(command)
    return command


def within(
    span: tuple[int | None, int | None] | None, since: int | None, until: int | None
) -> tuple[int | None, int | None]:
    """Return from when to when jobs have to have been submitted.

    Raises:
        UsageError: it was said twice, or the end is before the beginning.
    """
    if span is not None and (since, until) != (None, None):
        raise click.UsageError("--range cannot be used with --since or --until")
    since, until = span or (since, until)
    try:
        check_order(since, until)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return since, until


def time(value: str) -> int:
    """Read a moment, or how long ago it was; give it in microseconds since 1970.

    Raises:
        BadParameter: it is neither.
    """
    try:
        return _calendar().moment(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def span(value: str) -> tuple[int | None, int | None]:
    """Read a range of times; give when it begins and before when it ends.

    Raises:
        BadParameter: it is invalid, or ends before it begins.
    """
    try:
        return _calendar().span(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _calendar() -> Calendar:
    context = click.get_current_context(silent=True)
    zone: ZoneInfo = context.meta.get(_ZONE, _UTC) if context else _UTC
    return Calendar(clock.now(), zone)


def _remembered(context: click.Context, _: click.Parameter, value: ZoneInfo) -> ZoneInfo:
    context.meta[_ZONE] = value
    return value


def duration(value: str) -> int:
    """Read an age; give the moment that long ago, in microseconds since 1970.

    Raises:
        BadParameter: it is invalid.
    """
    length = length_of(value)
    if length is None:
        raise click.BadParameter(f"{value!r} is not a duration such as 90s, 15m, 24h or 7d.")
    return clock.now() - length


def status(value: str) -> tuple[int, int]:
    """Read a status code or a class of them; give the lowest and the highest of the range.

    Raises:
        BadParameter: it is neither.
    """
    if not _STATUS.fullmatch(value):
        raise click.BadParameter(f"{value!r} is not a status such as 404, nor a class such as 5xx.")
    lower = value.lower()
    return int(lower.replace("x", "0")), int(lower.replace("x", "9"))


def size(value: str) -> int:
    """Read a size; give it in bytes.

    Raises:
        BadParameter: it is invalid.
    """
    try:
        return int(_SIZE.read(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a size such as 4096, 64KiB or 1MiB.") from None
