"""Check whether a server accepts jobs: for scripts, and for images without curl."""

import http.client
import json
import re
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

import click

from jobstore.cli.options import FILE
from jobstore.cli.plain import Complaint, printable, tell
from jobstore.config import load
from jobstore.model.kinds import kind_of
from jobstore.model.written import Duration

# How long one answer may take, and how long to wait before asking again, in seconds.
_PATIENCE: Final = 5.0
_PAUSE: Final = 0.2
# The longest answer that is read, in bytes.
_LONGEST: Final = 64 * 1024
_PRINTABLE: Final = re.compile("[!-~]+")
_DURATION: Final = kind_of(Duration)
# What a server that listens on all addresses is asked by.
_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here
_SCHEMES: Final[dict[str, Callable[..., http.client.HTTPConnection]]] = {
    "http": http.client.HTTPConnection,
    "https": http.client.HTTPSConnection,
}


def _seconds(value: str) -> float:
    """Read a duration.

    Raises:
        BadParameter: it is invalid.
    """
    try:
        return float(_DURATION.read(value))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a duration such as 500ms, 30s or 2m.") from None


def _url(value: str) -> SplitResult:
    """Read the URL of a server.

    Raises:
        BadParameter: it is invalid.
    """
    expected = "expected a URL such as http://127.0.0.1:8529"
    try:
        url = urlsplit(value)
        _ = url.port
    except ValueError:
        raise click.BadParameter(f"{expected}, not {value!r}") from None
    if url.scheme not in _SCHEMES or not url.hostname or not _PRINTABLE.fullmatch(value):
        raise click.BadParameter(f"{expected}, not {value!r}")
    return url


@click.command("ready")
@click.option("--config", "config_file", type=FILE, metavar="FILE", help="The configuration.")
@click.option(
    "--url", type=_url, metavar="URL", help="The server; default: the one in the configuration."
)
@click.option(
    "--wait",
    type=_seconds,
    default="0",
    metavar="TIME",
    help="How long to wait until it is ready: 60s.",
)
def ready_command(config_file: Path | None, url: SplitResult | None, wait: float) -> None:
    """Check whether a server accepts jobs: exit code 0 if it does, 1 if not.

    The server is the one in the configuration, or the one at --url. No login is needed.
    """
    url = url or _configured(config_file)
    end = time.monotonic() + wait
    while True:
        patience = max(_PAUSE, min(_PATIENCE, end - time.monotonic())) if wait else _PATIENCE
        trouble = _trouble(url, patience)
        if trouble is None:
            tell(f"{url.geturl()} is ready")
            return
        if time.monotonic() + _PAUSE >= end:
            raise Complaint(f"{url.geturl()} is not ready: {printable(trouble)}")
        time.sleep(_PAUSE)


def _configured(file: Path | None) -> SplitResult:
    server = load(file).server
    host = _ANY.get(server.host, server.host)
    return urlsplit(
        f"http://[{host}]:{server.port}" if ":" in host else f"http://{host}:{server.port}"
    )


def _trouble(url: SplitResult, patience: float) -> str | None:
    """Ask a server; tell why it is not ready, or None."""
    connect = _SCHEMES[url.scheme]
    try:
        with closing(connect(url.hostname, url.port, timeout=patience)) as connection:
            path = f"{url.path.rstrip('/')}/_jobs/readyz"
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            return None if answer.status == http.client.OK else _why(answer)
    except TimeoutError:
        return f"no answer came within {patience:g} s"
    except (OSError, http.client.HTTPException) as error:
        return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _why(answer: http.client.HTTPResponse) -> str:
    """Give the words of an answer, or its status where it has none."""
    try:
        return str(json.loads(answer.read(_LONGEST))["detail"])
    except (ValueError, LookupError, TypeError):
        return f"it answered {answer.status} {answer.reason}"
