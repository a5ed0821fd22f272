"""A server from its start to its end."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

from trials import nursery
from trials.nursery import Child
from trials.serving import URL

# On a machine however busy.
_STOP_SECONDS: Final = 300.0
_START_SECONDS: Final = 300.0


class NotStartedError(Exception):
    """The server ended before it answered."""


@dataclass(frozen=True, slots=True)
class Life:
    """A server from its start to its end.

    Args:
        process: its process.
        url: where it answers.
        output: what it prints.
    """

    process: Child
    url: str
    output: Connection

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self.process.pid

    @property
    def over(self) -> asyncio.Event:
        """What is set when the process has ended."""
        return self.process.over

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
        code = await self.process.wait()
        self.output.close()
        return code


async def start(arguments: Sequence[str], environment: Mapping[str, str], log: Path) -> Life:
    """Run ``jobstore``, and return when it answers.

    Args:
        arguments: those of the command.
        environment: what is added to its environment.
        log: the file that its standard error goes to.

    Raises:
        NotStartedError: it has ended before.
    """
    process, output = await nursery.fork(arguments, {**os.environ, **environment}, log)
    url = await asyncio.to_thread(_announced, output)
    if url is None:
        output.close()
        process.kill()
        raise NotStartedError(await process.wait())
    return Life(process, url, output)


def _announced(output: Connection) -> str | None:
    """Read where a server answers; None if it ends before it says so, or says nothing."""
    said = b""
    while output.poll(_START_SECONDS) and (piece := os.read(output.fileno(), 4096)):
        said += piece
        if found := URL.search(said.decode(errors="replace")):
            return found[0]
    return None
