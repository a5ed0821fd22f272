"""What most tests need: a server in this process, or a real one that can be killed."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession, DummyCookieJar

from jobstore.config import load
from jobstore.server import Server, serving
from tests.peers import Services
from tests.stores import prepare

# A shell that starts something in the background lets it ignore Ctrl-C, and whatever that starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# These folders have the files that take longest: begun last, one of them would be waited for alone.
LONGEST = ("trials", "docs", "whole", "web", "store", "dialects", "live")

Overrides = Mapping[str, Any]
Serve = Callable[..., Awaitable[Server]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; within a file, the order stays."""
    items.sort(key=lambda item: _place(item.path.parent.name))


def _place(folder: str) -> int:
    return LONGEST.index(folder) if folder in LONGEST else len(LONGEST)


@pytest.fixture
def store_path(tmp_path: Path) -> Path:
    """Name a store that does not exist yet."""
    return tmp_path / "jobs.db"


@pytest.fixture
async def serve(store_path: Path) -> AsyncIterator[Serve]:
    """Give a function that starts a server in this process, on any free port.

    Its arguments are the sections of the configuration that differ from the defaults.
    """
    async with AsyncExitStack() as stack:

        async def start(**sections: Any) -> Server:
            return await stack.enter_async_context(running(store_path, **sections))

        yield start


@asynccontextmanager
async def running(store_path: Path, **sections: Any) -> AsyncIterator[Server]:
    """Serve a store in this process while the context lasts."""
    everywhere = {"port": 0, "dialects": ["kinetica", "datameer"]}  # also before a service
    sections = {"store": {}, **sections, "server": {**everywhere, **sections.get("server", {})}}
    sections["store"] = {"path": store_path, **sections["store"]}
    prepare(Path(sections["store"]["path"]))
    async with serving(load(None, sections, environ={})) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """Give an HTTP client that changes nothing on its own account."""
    async with ClientSession(auto_decompress=False, cookie_jar=DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    """Give a way to start services that the server shall stand in front of."""
    async with AsyncExitStack() as stack:
        yield Services(stack)


class ServerProcess:
    """A real server, started by the real command.

    Args:
        store_path: its store.
        arguments: further arguments of ``jobstore serve``.
    """

    def __init__(self, store_path: Path, *arguments: str) -> None:
        self._store_path = store_path
        self._arguments = arguments
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.output: list[str] = []
        self._said = asyncio.Event()

    @property
    def process(self) -> asyncio.subprocess.Process:
        """The process that runs."""
        assert self._process is not None
        return self._process

    @property
    def command(self) -> list[str]:
        """What starts it."""
        store = ("--store", str(self._store_path), "--port", "0")
        return [sys.executable, "-m", "jobstore", "serve", *store, *self._arguments]

    @property
    def environment(self) -> dict[str, str]:
        """What it finds in its environment."""
        return dict(os.environ)

    async def start(self) -> None:
        """Start it, and return when it answers."""
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environment,
        )
        self.url = await self._announced_url()
        self._reading = asyncio.create_task(self._read_on())

    async def _announced_url(self) -> str:
        while line := await self._line():
            if match := re.search(r"http://\S+:\d+", line):
                return match[0]
        raise AssertionError("the server did not start:\n" + "".join(self.output))

    async def _line(self) -> str:
        assert self.process.stdout is not None
        line = (await self.process.stdout.readline()).decode()
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

    async def _read_on(self) -> None:
        while await self._line():
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


@pytest.fixture
async def server_process(
    store_path: Path,
) -> AsyncIterator[Callable[..., Awaitable[ServerProcess]]]:
    """Give a function that starts a real server; its arguments are those of ``jobstore serve``."""
    started: list[ServerProcess] = []

    async def start(*arguments: str) -> ServerProcess:
        server = ServerProcess(store_path, *arguments)
        started.append(server)
        await server.start()
        return server

    yield start
    for server in started:
        await server.kill()
