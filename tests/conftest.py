"""What most tests need: a server in this process, or a real one that can be killed."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from jobstore.config import load
from jobstore.server import Server, serving
from tests import engines
from tests.peers import Services
from tests.stores import prepare
from trials.clients import client
from trials.nursery import ForkedServer, open_nursery
from trials.serving import ServerProcess

# A shell that starts something in the background lets it ignore Ctrl-C, and whatever that starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# These have the files that take longest: begun last, one of them would be waited for alone.
LONGEST = ("trials", "test_openapi", "docs", "whole", "web", "store", "dialects", "live")

Overrides = Mapping[str, Any]
Serve = Callable[..., Awaitable[Server]]
Start = Callable[..., Awaitable[ServerProcess]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; within a file, the order stays."""
    items.sort(key=lambda item: _place(item.path))


def _place(file: Path) -> int:
    places = [LONGEST.index(each) for each in (file.stem, file.parent.name) if each in LONGEST]
    return min(places, default=len(LONGEST))


@pytest.fixture
def store_path(tmp_path: Path) -> Iterator[Path]:
    """Name a store that does not exist yet."""
    if not engines.URL:
        yield tmp_path / "jobs.db"
        return
    with engines.place(tmp_path / "jobs.db") as place:
        yield place


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
    if isinstance(store_path, engines.Place):
        database = store_path.database
        sections["store"] = {"url": database.url, "schema": database.schema, **sections["store"]}
    else:
        sections["store"] = {"path": store_path, **sections["store"]}
        prepare(Path(sections["store"]["path"]))
    async with serving(load(None, sections, environ={})) as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[ClientSession]:
    """Give an HTTP client that changes nothing on its own account."""
    async with client() as session:
        yield session


@pytest.fixture
async def services() -> AsyncIterator[Services]:
    """Give a way to start services that the server shall stand in front of."""
    async with AsyncExitStack() as stack:
        yield Services(stack)


@pytest.fixture(scope="session")
def nursery() -> Path | None:
    """Have what servers are forked off; give what lets their disks fail, unless it is missing."""
    return open_nursery("pytest", "tests.gates")


@pytest.fixture
async def server_process(nursery: Path | None, store_path: Path) -> AsyncIterator[Start]:
    """Give a function that starts a server in a process of its own, which can be killed.

    Its arguments are those of ``jobstore serve``. The process is forked off: how the real command
    starts is not the question, for which there is `real_server`.
    """
    del nursery  # which only has to be there
    async with started(partial(ForkedServer, store_path)) as start:
        yield start


@pytest.fixture
async def real_server(store_path: Path) -> AsyncIterator[Start]:
    """Give a function that starts a server by the real command, with these arguments."""
    async with started(partial(ServerProcess, store_path)) as start:
        yield start


@asynccontextmanager
async def started(server: Callable[..., ServerProcess]) -> AsyncIterator[Start]:
    """Give a function that starts servers, which are killed in the end."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str) -> ServerProcess:
            made = server(*arguments)
            stack.push_async_callback(made.kill)
            await made.start()
            return made

        yield start
