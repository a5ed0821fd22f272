"""What a run of the benchmark has to go by, and the servers that it measures."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from trials import process, serving
from trials.bench.driver import Outcome, drive
from trials.bench.figures import Sample
from trials.bench.scripts import Load
from trials.serving import Server

# What is said of the load client itself: its processor time for a request.
CLIENT_CPU: Final = "client_cpu_us"


# As many jobs at once as the workers of the peers may run.
_SLOTS: Final = {"executor__concurrency": 64}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was asked for.

    Args:
        rows: the keys of the rows to measure.
        rounds: how often.
        seconds: how long one round of a rate is.
        scale: what numbers of jobs and the size of large bodies are multiplied by.
        connections: how many ask at the same time.
        growth: how many finished jobs lie in the file.
        folder: where the files lie.
        driving: a process of its own that puts loads on servers.
    """

    rows: frozenset[str]
    rounds: int
    seconds: float
    scale: float
    connections: Sequence[int]
    growth: Sequence[int]
    folder: Path
    driving: Executor

    def wants(self, *keys: str) -> bool:
        """Tell whether any of these rows is to be measured."""
        return not self.rows.isdisjoint(keys)

    @property
    def most(self) -> int:
        """The most connections."""
        return max(self.connections)

    def many(self, number: int) -> int:
        """Scale a number of jobs or bytes."""
        return max(1, round(number * self.scale))

    def drive(self, load: Load) -> Outcome:
        """Put a load on a server, from the other process."""
        return self.driving.submit(drive, load).result()

    def rate(self, load: Load, *pids: int) -> Sample:
        """Do one round of a rate, and look at what it costs the processes that serve it.

        What it costs the client, for each request, shows whether it was the client that was slow.
        """
        before = processor_time(pids)
        outcome = self.drive(load)
        cpu = processor_time(pids) - before
        return Sample(
            outcome.per_second,
            cpu / outcome.operations * 1e6,
            outcome.p50,
            outcome.p99,
            {CLIENT_CPU: outcome.cpu / outcome.requests * 1e6},
        )

    @contextmanager
    def yard(self) -> Iterator["Yard"]:
        """Give a place for servers and their files, which are gone in the end."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        try:
            with ExitStack() as stack:
                yield Yard(folder, stack)
        finally:
            shutil.rmtree(folder)


@dataclass(frozen=True, slots=True)
class Yard:
    """A place for servers and their files.

    Args:
        folder: where the files lie.
        stack: keeps the servers.
    """

    folder: Path
    stack: ExitStack

    def file(self, name: str) -> Path:
        """Name the file of a store."""
        return self.folder / f"{name}.db"

    def bare(self) -> Server:
        """Start a bare aiohttp server."""
        return self.program("-m", "trials.bench.bare")

    def program(self, *arguments: str) -> Server:
        """Start a Python program that serves."""
        return self.stack.enter_context(serving.serving(*arguments, folder=self.folder))

    def jobstore(self, name: str, *options: str, **settings: object) -> Server:
        """Start jobstore on a file.

        Args:
            name: of the file.
            options: further arguments of ``jobstore serve``.
            settings: of the configuration, such as ``executor__concurrency``.
        """
        return self.stack.enter_context(self.serving(name, *options, **settings))

    def serving(
        self, name: str, *options: str, **settings: object
    ) -> AbstractContextManager[Server]:
        """Run jobstore as `jobstore` does, but only while the context lasts."""
        return serving.serving(
            *serving.jobstore(self.file(name), *options),
            folder=self.folder,
            environment=_environment(**{"log__level": "error", **_SLOTS, **settings}),
        )

    def node(self, url: str, **settings: object) -> Server:
        """Start jobstore as one of the nodes on a database."""
        settings = {"log__level": "error", **_SLOTS, **settings, "store__url": url}
        arguments = ("-m", "jobstore", "serve", "--port", "0")
        node = serving.serving(*arguments, folder=self.folder, environment=_environment(**settings))
        return self.stack.enter_context(node)

    def says(self, *arguments: str, given: str = "") -> str:
        """Run a command of jobstore to its end, and return what it says."""
        return self.python("-m", "jobstore", *arguments, given=given)

    def python(self, *arguments: str, given: str = "") -> str:
        """Run a Python program to its end, and return what it says.

        Raises:
            ChildProcessError: it failed.
        """
        command = [sys.executable, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, input=given, text=True, check=False, capture_output=True
        )
        if done.returncode:
            raise ChildProcessError(done.stderr)
        return done.stdout


def processor_time(pids: Iterable[int]) -> float:
    """Add up the processor time of processes and of those that they have started."""
    return sum(_own_time(one) for pid in pids for one in (pid, *process.children(pid)))


def _own_time(pid: int) -> float:
    try:
        return process.cpu_seconds(pid)
    except (FileNotFoundError, ProcessLookupError):  # it has ended since it was named
        return 0.0


def _environment(**settings: object) -> dict[str, str]:
    """Write settings of the configuration as the environment has them."""
    return dict(os.environ) | {f"JOBSTORE_{name.upper()}": str(settings[name]) for name in settings}
