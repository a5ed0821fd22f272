"""The command line, called in this process or as the real command."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import pytest
from click.testing import CliRunner, Result

from jobstore.cli.commands import cli
from tests.engines import Place

REAL: Final = (sys.executable, "-m", "jobstore")


def jobstore(*arguments: object, **options: Any) -> Result:
    """Call a command in this process; whatever it raises is no bug but an exit code."""
    result = CliRunner().invoke(cli, [written(each) for each in arguments], **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(argument: object) -> str:
    """Write an argument; a store that is in a database is named by its URL."""
    return argument.url if isinstance(argument, Place) else str(argument)


def said(*arguments: object, **options: Any) -> str:
    """Call a command that does what it is asked, and return its output."""
    result = jobstore(*arguments, **options)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    return result.stdout


def refused(*arguments: object, code: int = 1, **options: Any) -> str:
    """Call a command that cannot do what it is asked, and return its complaint."""
    result = jobstore(*arguments, **options)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    return result.stderr


def start(
    *arguments: object,
    stdout: IO[bytes] | int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    program: Sequence[str | Path] = REAL,
) -> "subprocess.Popen[bytes]":
    """Start the real command, or one that is told."""
    command = [*program, *map(written, arguments)]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr)


def be_beside(path: Path, patch: pytest.MonkeyPatch) -> None:
    """Work where commands find a store that nobody names to them."""
    patch.chdir(path.parent)
    if isinstance(path, Place):
        patch.setenv("JOBSTORE_STORE__URL", path.url)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Damage a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
