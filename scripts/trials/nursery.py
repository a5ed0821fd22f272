"""Server processes, started far faster than a new Python could be.

Each is a fork of a process that has imported jobstore and done nothing else; it runs the ordinary
command from there.
"""

import asyncio
import atexit
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, Final

from trials import disk, doomed
from trials.serving import ServerProcess

_FORKS: Final = multiprocessing.get_context("forkserver")
_IMPORTED: Final = (
    "jobstore.cli.commands",
    "jobstore.demo",
    "jobstore.server",
    "jobstore.store.sqlite.migrate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    "trials.nursery",
)


class Child:
    """A process that was forked off; it can be used as one of asyncio's.

    Attributes:
        over: set when it has ended.
    """

    def __init__(self, process: ForkServerProcess) -> None:
        self._process = process
        self.over = asyncio.Event()
        asyncio.get_running_loop().add_reader(process.sentinel, self._end)

    @property
    def pid(self) -> int:
        """The number of the process."""
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit code, which is negative after a signal; None while it runs."""
        return self._process.exitcode if self.over.is_set() else None

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if not self.over.is_set():
            with suppress(ProcessLookupError):  # it may have ended just now
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""
        await self.over.wait()
        code = self._process.exitcode
        assert code is not None
        return code

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._process.join()
        self.over.set()


def open_nursery(*imported: str) -> Path | None:
    """Start what all others are forks of; return what lets their disks fail if a plan says so.

    It is None where there is no C compiler.

    Args:
        imported: the modules that it imports besides jobstore.
    """
    folder = Path(tempfile.mkdtemp(prefix="nursery-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = disk.library(folder)
    preload = {} if built is None else {"LD_PRELOAD": str(built)}
    _FORKS.set_forkserver_preload([*_IMPORTED, *imported])
    with _environment({"PYTHONPATH": os.pathsep.join(sys.path), **preload}):
        forkserver.ensure_running()
    return built


@contextmanager
def _environment(added: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(added)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


async def fork(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path | None = None
) -> tuple[Child, Connection]:
    """Run ``jobstore``; return the process, and what it prints.

    Args:
        arguments: those of the command.
        environment: its whole environment.
        log: the file that its standard error goes to, if it is not printed as well.
    """
    process, output = await asyncio.to_thread(_started, arguments, environment, log)
    return Child(process), output


def ran(arguments: Sequence[str], log: Path) -> tuple[int, bytes]:
    """Run ``jobstore`` to its end; return its exit code, and what it prints.

    Args:
        arguments: those of the command.
        log: the file that its standard error goes to.
    """
    process, output = _started(arguments, os.environ, log)
    with output, os.fdopen(os.dup(output.fileno()), "rb") as file:
        printed = file.read()
    process.join()
    assert process.exitcode is not None
    return process.exitcode, printed


def _started(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path | None
) -> tuple[ForkServerProcess, Connection]:
    reading, writing = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_run, args=(arguments, dict(environment), log, writing))
    process.start()
    writing.close()
    return process, reading


def _run(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path | None, output: Connection
) -> None:
    """Become the command, in a process of its own."""
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(output.fileno(), 1)
    os.dup2(output.fileno() if log is None else _appending(log), 2)
    output.close()
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    doomed.run(list(arguments))


def _appending(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


class ForkedServer(ServerProcess):
    """A server that was forked off: all but its start is as if the real command had started it."""

    async def launched(self) -> tuple[Child, asyncio.StreamReader]:
        """Start the process; return it, and all that it prints."""
        child, output = await fork(self.arguments, self.environment)
        said = asyncio.StreamReader()
        pipe: Any = output  # which has all that asyncio needs of a file
        protocol = asyncio.StreamReaderProtocol(said)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        return child, said
