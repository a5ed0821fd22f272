"""Servers to put through something, each a process of its own."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

# How long a server may take to stop once it is asked to.
STOP_SECONDS: Final = 300.0
_URL: Final = re.compile(r"http://\S+?:(\d+)")


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answers on a port of 127.0.0.1.

    Args:
        process: its process.
        port: where it listens.
    """

    process: "subprocess.Popen[str]"
    port: int

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    def kill(self) -> None:
        """Kill it as kill -9 does, and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)


def start(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> Server:
    """Start a Python program that prints its URL once it answers.

    Args:
        arguments: what follows ``python``.
        folder: where it runs.
        environment: its whole environment, or None for ours.

    Raises:
        ChildProcessError: it ended without having printed one.
    """
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=None if environment is None else dict(environment),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := _URL.search(line):
            return Server(process, int(found[1]))
    raise ChildProcessError(f"{' '.join(arguments)} ended with {process.wait()}")


@contextmanager
def serving(
    *arguments: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server as `start` does while the context lasts."""
    server = start(*arguments, folder=folder, environment=environment)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        if server.process.stdout:
            server.process.stdout.close()


def jobstore(store: Path, *options: str) -> tuple[str, ...]:
    """Write the arguments that serve a store, on any free port."""
    return ("-m", "jobstore", "serve", "--port", "0", "--store", str(store), *options)
