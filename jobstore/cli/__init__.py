"""The command ``jobstore``: for people at a terminal, and for their scripts."""

import io
import sys
from typing import Final

INTERRUPTED: Final = 130  # 128 and the number of SIGINT, as shells count


def main() -> None:
    """Run the command line; the exit code is 0, 1 for what cannot be done, or 2 for wrong usage."""
    try:
        # Loading takes a while, in which somebody may press Ctrl-C already.
        from jobstore.cli.commands import cli  # noqa: PLC0415
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli(prog_name="jobstore")
