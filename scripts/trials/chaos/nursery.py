"""Server processes, started a hundred times as fast as a new Python could be.

Each is a fork of a process that has imported jobstore and done nothing else; it runs the ordinary
command from there.
"""

import asyncio
import atexit
import multiprocessing
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from trials import disk
from trials.chaos import doomed
from trials.serving import URL

# On a machine however busy.
_STOP_SECONDS: Final = 300.0
_START_SECONDS: Final = 300.0
_FORKS: Final = multiprocessing.get_context("forkserver")
_IMPORTED: Final = (
    "jobstore.cli.commands",
    "jobstore.server",
    "jobstore.store.sqlite.migrate",
    "alembic.command",
    "alembic.config",
    "alembic.runtime.environment",
    "trials.chaos.nursery",
    "trials.chaos.worker",
)


class NotStartedError(Exception):
    """The server ended before it answered."""


@dataclass(slots=True)
class Life:
    """A server from its start to its end.

    Args:
        process: its process.
        url: where it answers.
        output: what it prints.
        over: set when the process has ended.
    """

    process: ForkServerProcess
    url: str
    output: Connection
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        asyncio.get_running_loop().add_reader(self.process.sentinel, self._end)

    @property
    def pid(self) -> int:
        """The number of its process."""
        assert self.process.pid is not None
        return self.process.pid

    def kill(self) -> None:
        """Kill it as kill -9 does."""
        self.process.kill()

    async def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_SECONDS):
                await self.over.wait()
        self.kill()
        return await self.ended()

    async def ended(self) -> int:
        """Wait until it has ended, and return its exit code; it is negative after a signal."""
        await self.over.wait()
        code = self.process.exitcode
        assert code is not None
        return code

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self.process.sentinel)
        self.process.join()
        self.output.close()
        self.over.set()


def prepare() -> None:
    """Say what every server process starts with: a disk that can fail is among it, if possible."""
    _FORKS.set_forkserver_preload(list(_IMPORTED))
    folder = Path(tempfile.mkdtemp(prefix="chaos-disk-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    built = disk.library(folder)
    if built is not None:
        os.environ["LD_PRELOAD"] = str(built)
        forkserver.ensure_running()
        del os.environ["LD_PRELOAD"]


async def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
    """Run ``jobstore``, and return when it answers.

    Args:
        arguments: those of the command.
        environment: what is added to its environment.
        log: the file that its standard error goes to.

    Raises:
        NotStartedError: it has ended before.
    """
    reading, writing = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_serve, args=(arguments, dict(environment), log, writing))
    await asyncio.to_thread(process.start)
    writing.close()
    url = await asyncio.to_thread(_announced, reading)
    if url is None:
        reading.close()
        process.kill()
        process.join()
        raise NotStartedError(process.exitcode)
    return Life(process, url, reading)


def _announced(output: Connection) -> str | None:
    """Read where a server answers; None if it ends before it says so, or says nothing."""
    said = b""
    while output.poll(_START_SECONDS) and (piece := os.read(output.fileno(), 4096)):
        said += piece
        if found := URL.search(said.decode(errors="replace")):
            return found[0]
    return None


def _serve(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, output: Connection
) -> None:
    """Become the command, in a process of its own."""
    os.environ.update(environment)
    errors = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.dup2(output.fileno(), 1)
    os.dup2(errors, 2)
    os.close(errors)
    output.close()
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    doomed.run(list(arguments))
