"""Servers to put through something, each a process of its own."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

# How long a server may take to stop once it is asked to.
STOP_SECONDS: Final = 300.0
# What a server prints once it answers.
URL: Final = re.compile(r"http://\S+?:(\d+)")


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


def start(
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    program: str | Path = sys.executable,
) -> Server:
    """Start a program that prints its URL once it answers.

    Args:
        arguments: what follows the program.
        folder: where it runs.
        environment: its whole environment, or None for ours.
        program: which one, if not Python.

    Raises:
        ChildProcessError: it ended without having printed one.
    """
    process = subprocess.Popen(
        [program, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=None if environment is None else dict(environment),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if found := URL.search(line):
            return Server(process, int(found[1]))
    raise ChildProcessError(f"{' '.join(arguments)} ended with {process.wait()}")


@contextmanager
def serving(*arguments: str, folder: Path, **options: Any) -> Iterator[Server]:
    """Run a server as `start` does while the context lasts."""
    server = start(*arguments, folder=folder, **options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.kill()
        if server.process.stdout:
            server.process.stdout.close()


def jobstore(store: Path | str, *options: str) -> tuple[str, ...]:
    """Write the arguments that serve a store, on any free port."""
    return ("-m", "jobstore", "serve", "--port", "0", "--store", str(store), *options)


class Running(Protocol):
    """A process, as asyncio has them."""

    @property
    def pid(self) -> int:
        """Its number."""

    @property
    def returncode(self) -> int | None:
        """Its exit code, which is negative after a signal; None while it runs."""

    def send_signal(self, number: int, /) -> None:
        """Send it a signal."""

    async def wait(self) -> int:
        """Wait until it has ended, and return its exit code."""


class ServerProcess:
    """A server that is started by the real command, and that is watched while others are at work.

    Args:
        store: its file, or the URL of its database.
        arguments: further arguments of ``jobstore serve``.
    """

    def __init__(self, store: Path | str, *arguments: str) -> None:
        self.arguments = jobstore(store, *arguments)[2:]
        self.url = ""
        self._process: Running | None = None
        self._reading: asyncio.Task[None] | None = None
        self.output: list[str] = []
        self._said = asyncio.Event()

    @property
    def process(self) -> Running:
        """The process that runs."""
        assert self._process is not None
        return self._process

    @property
    def command(self) -> list[str]:
        """What starts it."""
        return [sys.executable, "-m", "jobstore", *self.arguments]

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return dict(os.environ)

    async def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            ChildProcessError: it ended before.
        """
        self._process, lines = await self.launched()
        self.url = await self._announced_url(lines)
        self._reading = asyncio.create_task(self._read_on(lines))

    async def launched(self) -> tuple[Running, asyncio.StreamReader]:
        """Start the process; return it, and all that it prints."""
        process = await asyncio.create_subprocess_exec(
            *self.command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
        )
        assert process.stdout is not None
        return process, process.stdout

    async def _announced_url(self, lines: asyncio.StreamReader) -> str:
        while line := await self._line(lines):
            if found := URL.search(line):
                return found[0]
        raise ChildProcessError("the server did not start:\n" + "".join(self.output))

    async def _line(self, lines: asyncio.StreamReader) -> str:
        line = (await lines.readline()).decode()
        self.output.append(line)
        self._said.set()
        return line

    async def logged(self, words: str) -> str:
        """Wait until it has logged something, and give the line."""
        while True:
            for line in self.output:
                if words in line:
                    return line
            self._said.clear()
            await self._said.wait()

    async def _read_on(self, lines: asyncio.StreamReader) -> None:
        while await self._line(lines):
            pass

    async def kill(self) -> None:
        """Kill it as a power cut would."""
        await self._signal(signal.SIGKILL)

    async def terminate(self) -> int:
        """Ask it to stop, and return its exit code."""
        return await self._signal(signal.SIGTERM)

    async def _signal(self, number: int) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        code = await self.process.wait()
        if self._reading is not None:
            await self._reading
        return code
