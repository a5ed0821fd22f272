"""The ordinary ``jobstore`` command, in a process that kills itself at a chosen moment.

Nothing of jobstore is changed: SQLite tells of each statement, and Python of each connection. The
machine's clock can be set as well, for this process alone.
"""

import json
import mmap
import os
import re
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

from jobstore.cli import main

# The names in the environment.
DOOM: Final = "CHAOS_DOOM"
CLOCK: Final = "CHAOS_CLOCK"

_OFFSET: Final = struct.Struct("q")  # nanoseconds by which the clock is ahead


class When(StrEnum):
    """On which side of a statement the process dies."""

    BEFORE = "before"
    DURING = "during"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Doom:
    """The moment at which the process kills itself.

    Args:
        when: on which side of the statement.
        statement: a regular expression that the statement's beginning matches.
        nth: the how manieth such statement it is, whichever connection runs it.
        microseconds: how long after the statement's beginning, if it is during the statement.
    """

    when: When
    statement: str
    nth: int
    microseconds: int = 0

    def environment(self) -> dict[str, str]:
        """Write it down for the process."""
        return {DOOM: json.dumps(asdict(self))}


class Clock:
    """The machine's clock, as a process sees it that is started with `environment`.

    Args:
        path: a file that carries by how much it is ahead.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step_to(0.0)

    def step_to(self, seconds: float) -> None:
        """Set the clock ahead of the real one, or behind it."""
        self._path.touch()
        with self._path.open("r+b") as file:
            file.write(_OFFSET.pack(int(seconds * 1e9)))

    def environment(self) -> dict[str, str]:
        """Write down for a process where its clock is."""
        return {CLOCK: str(self._path)}


def run(arguments: list[str]) -> None:
    """Run the command as the environment says."""
    if CLOCK in os.environ:
        _set_clock(Path(os.environ[CLOCK]))
    if DOOM in os.environ:
        doom = json.loads(os.environ[DOOM])
        _watch(_Executioner(Doom(**{**doom, "when": When(doom["when"])})))
    sys.argv = ["jobstore", *arguments]
    main()


def _set_clock(path: Path) -> None:
    real = time.time_ns
    with path.open("rb") as file:
        ahead = mmap.mmap(file.fileno(), _OFFSET.size, prot=mmap.PROT_READ)
    time.time_ns = lambda: real() + int(_OFFSET.unpack_from(ahead)[0])


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


class _Executioner:
    """Count statements, and end the process at the chosen one."""

    def __init__(self, doom: Doom) -> None:
        self._doom = doom
        self._pattern = re.compile(doom.statement, re.IGNORECASE)
        self._left = doom.nth
        self._begun = threading.Event()
        if doom.when is When.DURING:
            threading.Thread(target=self._wait, daemon=True).start()

    def trace(self, statement: str) -> None:
        """Learn of a statement that is about to run."""
        if not self._pattern.match(statement):
            return
        self._left -= 1
        if self._left == 0:
            self._strike()

    def _strike(self) -> None:
        match self._doom.when:
            case When.BEFORE:
                _die()
            case When.DURING:
                self._begun.set()
            case When.AFTER:
                _at_next_step(_die)

    def _wait(self) -> None:
        self._begun.wait()
        time.sleep(self._doom.microseconds / 1e6)
        _die()


def _watch(executioner: _Executioner) -> None:
    """Have an executioner told of each statement on any connection."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "sqlite3.connect/handle":
            (connection,) = arguments
            # Before Python 3.12 the connection cannot be used yet when this event comes.
            _at_next_step(lambda: connection.set_trace_callback(executioner.trace))

    sys.addaudithook(audit)


def _at_next_step(act: Callable[[], None]) -> None:
    """Act as soon as this thread has returned from C to code that is not in this module."""

    def step(frame: FrameType, event: str, argument: object) -> None:
        del event, argument
        if frame.f_code.co_filename != __file__:
            sys.setprofile(None)
            act()

    sys.setprofile(step)
