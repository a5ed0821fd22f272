"""What goes to the terminal, or into a pipe in its place."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

Report = Callable[[str, int, int], None]


class Complaint(click.ClickException):
    """Something cannot be done, and the user is told so."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Write the message, each line of it with the program's name."""
        for line in self.message.splitlines():
            click.echo(f"jobstore: {printable(line)}", file=file or sys.stderr)


def stdout() -> Console:
    """Open the standard output; in a pipe it has no colours."""
    return Console(highlight=False, markup=False, emoji=False)


def printable(text: str, keep: str = "") -> str:
    """Escape what a terminal would obey instead of show: it comes from strangers.

    Args:
        text: any text.
        keep: characters to leave as they are all the same.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)


def tell(words: str, *, err: bool = False) -> None:
    """Write a line for people, whoever named what stands in it.

    Args:
        words: the line, or several.
        err: whether it goes to the standard error.
    """
    click.echo(printable(words, keep="\n"), err=err)


def write(console: Console, text: Text, indent: int = 0) -> None:
    """Write text as it is: a line that is too long for a terminal is the terminal's to wrap."""
    for line in text.split(allow_blank=True):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def say(words: str) -> None:
    """Say something beside the rows, where no script takes it for one of them."""
    write(stdout(), Text(printable(words), "dim"))


def write_json(value: object, *, pretty: bool = False) -> None:
    """Write a value as JSON, on one line or for people."""
    sys.stdout.write(json.dumps(value, indent=2 if pretty else None) + "\n")


@contextmanager
def progress(unit: str = "") -> Iterator[Report]:
    """Show how far something is, unless nobody looks; nothing of it stays on the screen.

    Args:
        unit: what is counted, if that can be told.

    Yields:
        a function that takes what is being done, how much of it is done, and how much there is;
        0 if that is not known.
    """
    console = Console(stderr=True)
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(f"{{task.completed:,}}/{{task.total:,}} {unit}" if unit else ""),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def report(doing: str, done: int, total: int) -> None:
            bar.update(task, description=doing, completed=done, total=total or None)

        yield report
