"""What most tests need: a server in this process, or a real one that can be killed."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import ClientSession

from jobstore.config import load
from jobstore.server import Server, serving
from tests import cheap, engines
from tests.databases import Databases
from tests.peers import Services
from tests.stores import prepare
from trials.clients import client
from trials.nursery import ForkedServer, open_nursery
from trials.serving import ServerProcess

# A shell that starts something in the background lets it ignore Ctrl-C, and whatever that starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# These have the files that take longest: begun last, one of them would be waited for alone.
LONGEST = ("trials", "test_openapi", "docs", "browser", "whole", "web", "store", "dialects", "live")

# How many new objects let the garbage collector look for cycles. Each server of a test leaves tens
# of thousands at its end; by Python's own number, a quarter of a test's CPU time is spent on that.
GARBAGE: Final = 100_000

# What lies here is about a store, whatever engine it is on.
ON_BOTH: Final = ("store", "dialects", "live", "model")

Overrides = Mapping[str, Any]
Serve = Callable[..., Awaitable[Server]]
Start = Callable[..., Awaitable[ServerProcess]]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let tests be chosen by the engine that their store is on."""
    parser.addoption(
        "--engines",
        choices=[*engines.ENGINES, "all"],
        help="run only the tests whose store is on this engine; it has to be there then (default:"
        " all, but where there is no PostgreSQL and CI is not set, its tests are skipped)",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Prepare for a run, in the first of its processes."""
    gc.set_threshold(GARBAGE)
    if not hasattr(config, "workerinput"):
        engines.begin_run()
        needed = config.getoption("engines") in {"all", "postgresql"} or "CI" in os.environ
        if needed and (missing := engines.missing()) is not None:
            raise pytest.UsageError(missing)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of what a run has used; in the first of its processes, clean up after it."""
    engines.leave()
    if not hasattr(config, "workerinput"):
        engines.end_run()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run what is about a store on each engine."""
    definition = metafunc.definition
    on_both = definition.path.parent.name in ON_BOTH and not definition.get_closest_marker("file")
    if on_both and "store_path" in metafunc.fixturenames:
        metafunc.parametrize("store_path", engines.ENGINES, indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; within a file, the order stays."""
    chosen = config.getoption("engines") or ("file" if engines.missing() else "all")
    kept = [item for item in items if chosen in {"all", _engine(item)}]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item not in {*kept}])
    items[:] = sorted(kept, key=lambda item: _place(item.path))


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what was collected: it stays until the end.

    It would look through ten thousand tests, and all that they import, time and again.
    """
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what was left out, and why."""
    missing = engines.missing()
    if missing is not None and config.getoption("engines") != "file":
        terminalreporter.write_line(f"not tested on PostgreSQL: {missing}")


def _engine(item: pytest.Item) -> str:
    """Tell what the store of a test is on; one without a store counts as one on a file."""
    assert isinstance(item, pytest.Function)
    if "postgresql" in item.fixturenames:
        return "postgresql"
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "postgresql" if "postgresql" in values else "file"


def _place(file: Path) -> int:
    places = [LONGEST.index(each) for each in (file.stem, file.parent.name) if each in LONGEST]
    return min(places, default=len(LONGEST))


@pytest.fixture(scope="module", autouse=True)
def garbage() -> Iterator[None]:
    """Collect what the tests of a file have left: there it is told what they have not closed."""
    yield
    gc.collect()


@pytest.fixture
def store_path(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Name a store that does not exist yet."""
    with engines.named(tmp_path / "jobs.db", getattr(request, "param", "file")) as path:
        yield path


@pytest.fixture(scope="session")
def postgresql() -> Databases:
    """Give the server of the databases, for what is about that engine only."""
    return engines.server()


@pytest.fixture
def database(postgresql: Databases, tmp_path: Path) -> Iterator[engines.Place]:
    """Give an empty store in a database."""
    try:
        yield engines.Place(tmp_path / "shared.db")
    finally:
        postgresql.release()


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
    if "listen" in sections["server"]:
        del sections["server"]["port"]
    if "path" in sections["store"]:
        store_path = Path(sections["store"]["path"])
    prepare(store_path)
    sections["store"] = {**sections["store"], **engines.configured(store_path)}
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
    return open_nursery("pytest", cheap.__name__, "tests.gates", "tests.warm")


@pytest.fixture
async def server_process(nursery: Path | None, store_path: Path) -> AsyncIterator[Start]:
    """Give a function that starts a server in a process of its own, which can be killed.

    Its arguments are those of ``jobstore serve``. The process is forked off, and finds an empty
    store: how the real command starts, also for the first time, is not the question, for which
    there is `real_server`.
    """
    del nursery  # which only has to be there
    async with started(engines.process(ForkedServer, store_path)) as start:

        async def start_on_store(*arguments: str) -> ServerProcess:
            prepare(store_path)
            return await start(*arguments)

        yield start_on_store


@pytest.fixture
async def real_server(store_path: Path) -> AsyncIterator[Start]:
    """Give a function that starts a server by the real command, with these arguments."""
    async with started(engines.process(ServerProcess, store_path)) as start:
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
