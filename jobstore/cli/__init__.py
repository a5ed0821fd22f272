"""The command ``jobstore``: for people at a terminal, and for their scripts."""

import io
import os
import signal
import sys
from typing import Final, NoReturn, TextIO

from jobstore.service import memory
from jobstore.service.hangup import remember_hangup

INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as shells count


def main() -> None:
    """Run the command line; the exit code is 0, 1 for what cannot be done, or 2 for wrong usage."""
    memory.while_loading()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    if sys.argv[1:2] == ["serve"]:  # which takes a while to load, and reads its configuration
        remember_hangup()
    try:
        # Loading takes a while, in which somebody may press Ctrl-C already.
        from jobstore.cli.commands import cli
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="jobstore")


def discard_output(stream: TextIO | None = None) -> None:
    """Discard everything else that is written to a stream; to the standard output by default.

    So no write blocks or fails any more, the interpreter's last flush included:
    https://docs.python.org/3/library/signal.html#note-on-sigpipe
    """
    try:
        written = (stream or sys.stdout).fileno()
    except io.UnsupportedOperation:
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, written)
    os.close(nowhere)


def _interrupt(_: int, __: object) -> NoReturn:
    """Interrupt the program, as Python's own handler does.

    With that one, asyncio would put one of its own in its place, which only cancels the task: a
    write that waits for a full pipe would go on waiting. So would one on the way out.
    """
    discard_output()
    raise KeyboardInterrupt
