"""What is drawn for people, by rich: on the terminal, or into a pipe in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.text import Text

from jobstore.cli.plain import printable

Report = Callable[[str, int, int], None]


class _Quiet(Console):
    """A console whose reader may stop early, which is no failure: see `commands`."""

    def on_broken_pipe(self) -> None:
        """Leave handling to the caller."""
        raise  # noqa: PLE0704 - rich calls this while it handles that error


def stdout() -> Console:
    """Open the standard output; in a pipe it has no colours."""
    return _Quiet(highlight=False, markup=False, emoji=False)


def write(console: Console, text: Text, indent: int = 0) -> None:
    """Write text unchanged: the terminal wraps long lines."""
    for line in text.split(allow_blank=True):
        console.print(Text(" " * indent) + line, soft_wrap=True)


def say(words: str) -> None:
    """Say something beside the rows, where no script takes it for one of them."""
    write(stdout(), Text(printable(words), "dim"))


@contextmanager
def progress(unit: str = "") -> Iterator[Report]:
    """Show progress on a terminal, and remove it at the end.

    Args:
        unit: what is counted, if that can be told.

    Yields:
        a function that takes what is being done, how much of it is done, and how much there is;
        0 if that is not known.
    """
    # Few commands take so long, and this is half of rich.
    from rich.progress import (
        BarColumn,
        Progress,
        SpinnerColumn,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
    )

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
