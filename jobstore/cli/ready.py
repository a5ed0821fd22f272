"""Check whether a server accepts jobs: for scripts, and for images without curl."""

import time
from http import HTTPStatus
from pathlib import Path
from typing import Final

import click

from jobstore.cli.options import FILE
from jobstore.cli.plain import Complaint, printable, tell
from jobstore.cli.whereabouts import (
    NO_JOBSTORE,
    RemoteAnswer,
    RemoteRequest,
    Unanswered,
    Whereabouts,
)
from jobstore.config import load
from jobstore.model.kinds import kind_of
from jobstore.model.written import Duration

# How long one answer may take, and how long to wait before asking again, in seconds.
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.2
# The longest answer that is read, in bytes.
_LONGEST: Final = 64 * 1024
_DURATION: Final = kind_of(Duration)


def _seconds(value: str) -> float:
    """Read a duration.

    Raises:
        BadParameter: it is invalid.
    """
    try:
        return float(_DURATION.read(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a duration such as 500ms, 30s or 2m.") from None


def _place(value: str) -> Whereabouts:
    """Read the URL of a server.

    Raises:
        BadParameter: it is invalid.
    """
    try:
        return Whereabouts.named(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("ready")
@click.option("--config", "config_file", type=FILE, metavar="FILE", help="The configuration.")
@click.option(
    "--url",
    "place",
    type=_place,
    metavar="URL",
    help="The server; default: the one in the configuration.",
)
@click.option(
    "--wait",
    type=_seconds,
    default="0",
    metavar="TIME",
    help="How long to wait until it is ready: 60s.",
)
def ready_command(config_file: Path | None, place: Whereabouts | None, wait: float) -> None:
    """Check whether a server accepts jobs: exit code 0 if it does, 1 if not.

    The server is the one in the configuration, or the one at --url. No login is needed.
    """
    place = place or Whereabouts.probed(load(config_file))
    end = time.monotonic() + wait
    while True:
        patience = max(_PAUSE, min(_PATIENCE, end - time.monotonic())) if wait else _PATIENCE
        trouble = _trouble(place, patience)
        if trouble is None:
            tell(f"{place.url} is ready")
            return
        if time.monotonic() + _PAUSE >= end:
            raise Complaint(f"{place.url} is not ready: {printable(trouble)}")
        time.sleep(_PAUSE)


def _trouble(place: Whereabouts, patience: float) -> str | None:
    """Ask a server; tell why it is not ready, or None."""
    probe = RemoteRequest("GET", "/_jobs/readyz", {"Accept": "application/json"})
    try:
        answer = place.exchange(probe, patience=patience, longest=_LONGEST)
    except Unanswered as error:
        return str(error)
    if answer.status != HTTPStatus.OK:
        return _why(answer)
    said = answer.document
    return None if isinstance(said, dict) and said.get("ready") else NO_JOBSTORE


def _why(answer: RemoteAnswer) -> str:
    """Return the words of an answer, or its status where it has none."""
    try:
        return str(answer.document["detail"])
    except (LookupError, TypeError):
        return f"it answered {answer.status} {answer.reason}"
