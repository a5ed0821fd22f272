"""Messages and JSON: plain output, without the package that draws tables."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

import click

from jobstore.cli import discard_output


class Complaint(click.ClickException):
    """An error for the user."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message, each line of it with the program's name."""
        for line in self.message.splitlines():
            click.echo(f"jobstore: {printable(line)}", file=file or sys.stderr)


def printable(text: str, keep: str = "") -> str:
    """Escape control characters of a terminal in text from clients.

    Args:
        text: any text.
        keep: characters to leave as they are all the same.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def tell(words: str, *, err: bool = False) -> None:
    """Write a line for people, safe for a terminal.

    Args:
        words: the line, or several.
        err: whether it goes to the standard error.
    """
    click.echo(printable(words, keep="\n"), err=err)


@contextmanager
def suppress_closed() -> Iterator[None]:
    """Write nothing more to a standard output whose reader, such as head, has enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()


def write_json(value: object, *, pretty: bool = False) -> None:
    """Write a value as JSON, on one line or for people."""
    sys.stdout.write(json.dumps(value, indent=2 if pretty else None) + "\n")
