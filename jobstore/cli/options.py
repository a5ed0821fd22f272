"""What the commands have in common: the configuration, and how values are written."""

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Concatenate, Final, ParamSpec, TypeVar

import click
from pydantic import TypeAdapter, ValidationError

from jobstore import clock
from jobstore.clock import SECOND
from jobstore.config import Config, load
from jobstore.written import Duration

P = ParamSpec("P")
F = TypeVar("F", bound=Callable[..., object])

FILE: Final = click.Path(path_type=Path)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_STATUS: Final = re.compile(r"[1-5](xx|\d\d)", re.IGNORECASE | re.ASCII)
_DURATION: Final = TypeAdapter(Duration)
_TIMES: Final = "a time such as 2025-01-31, 2025-01-31T12:00 or 2025-01-31T12:00:00+01:00"
_AGO: Final = "how long ago it was, such as 90s, 15m, 24h or 7d"


def files(command: F) -> F:
    """Give a command the options that say which configuration and which store it works with."""
    config = click.option(
        "--config", "config_file", type=FILE, metavar="FILE", help="The configuration, in TOML."
    )
    store = click.option(
        "--store", "store_file", type=FILE, metavar="FILE", help="The store, instead of [store]."
    )
    return config(store(command))


def configured(command: Callable[Concatenate[Config, P], None]) -> Callable[..., None]:
    """Load the configuration for a command that takes it as its first argument."""

    @files
    @functools.wraps(command)
    def with_config(
        config_file: Path | None, store_file: Path | None, *args: P.args, **kwargs: P.kwargs
    ) -> None:
        command(load(config_file, {"store": {"path": store_file}}), *args, **kwargs)

    return with_config


def json_option(command: F) -> F:
    """Give a command the option to write for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for scripts.")(command)


def text(value: str) -> str:
    """Read text that can stand in the store.

    Raises:
        BadParameter: it is not UTF-8, as a command line may be.
    """
    try:
        return value.encode().decode()
    except UnicodeEncodeError:
        raise click.BadParameter("this is not UTF-8.") from None


def time(value: str) -> int:
    """Read a moment, or how long ago it was; give it in microseconds since 1970.

    Raises:
        BadParameter: it is neither.
    """
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        microseconds = _ago(value)
    else:
        utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        microseconds = (utc - _EPOCH) // _MICROSECOND
    if microseconds is None:
        raise click.BadParameter(f"{value!r} is neither {_TIMES}, nor {_AGO}.")
    return microseconds


def duration(value: str) -> int:
    """Read an age; give the moment that long ago, in microseconds since 1970.

    Raises:
        BadParameter: it is none.
    """
    microseconds = _ago(value)
    if microseconds is None:
        raise click.BadParameter(f"{value!r} is no duration such as 90s, 15m, 24h or 7d.")
    return microseconds


def status(value: str) -> tuple[int, int]:
    """Read a status code or a class of them; give the lowest and the highest of the range.

    Raises:
        BadParameter: it is neither.
    """
    if not _STATUS.fullmatch(value):
        raise click.BadParameter(f"{value!r} is neither a status such as 404 nor one such as 5xx.")
    lower = value.lower()
    return int(lower.replace("x", "0")), int(lower.replace("x", "9"))


def _ago(value: str) -> int | None:
    if value[-1:].isdigit():  # the configuration takes it for seconds, here it is a slip
        return None
    try:
        return clock.now() - int(_DURATION.validate_python(value) * SECOND)
    except ValidationError:
        return None
