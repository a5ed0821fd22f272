"""The engines that a store may be on: one file, or a PostgreSQL that the tests start themselves.

A test asks for `store_path` and gets the name of a store that does not exist yet. On PostgreSQL
that is a `Place`, a path as well: whatever takes a path here also takes one of those, and finds the
database behind it.

The server is that of ``JOBSTORE_TEST_POSTGRESQL`` if there is one, else the newest on the machine,
else the one that a wheel brings. The first test that needs it starts it, for all processes of the
run; that of a single file never does.
"""

import fcntl
import hashlib
import os
import pickle
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path, PosixPath
from typing import Any, Final, TypeVar

from jobstore.live.joining import Database
from tests import databases
from tests.databases import SCHEMA, Databases
from trials.postgres import NoPostgres, Postgres, programs
from trials.serving import ServerProcess

ENGINES: Final = ("file", "postgresql")
# A server that is there already, whose user may create databases.
GIVEN: Final = "JOBSTORE_TEST_POSTGRESQL"
# The folder that the processes of a run have in common; the first of them names it to the others.
_RUN: Final = "TESTS_OF_JOBSTORE"
# After which a server that was killed is missed by the next one. Nobody else looks for it.
_LEASE: Final = "1s"
# For how long a database may say nothing on a busy machine, and so may a node, in seconds. At its
# beats, which are five in that time, a node looks for jobs that others have queued, and claims none
# of its own at once.
PATIENCE: Final = 60.0
_PLACEHOLDER: Final = re.compile(r"%|\?")

S = TypeVar("S", bound=ServerProcess)


class Place(PosixPath):
    """A store on PostgreSQL, by the name that a file would have."""

    @property
    def url(self) -> str:
        """Where it is."""
        return server().of(str(self)).url

    @property
    def database(self) -> Database:
        """The same, for a node."""
        return Database(url=self.url, schema=SCHEMA, lease=PATIENCE, patience=PATIENCE)


@dataclass(frozen=True, slots=True)
class Given:
    """A server that somebody else has started.

    Args:
        url: where it is.
    """

    url: str


def begin_run() -> None:
    """Prepare for a run, in the first of its processes."""
    run = Path(tempfile.mkdtemp(prefix="jobstore-test-run-"))
    os.environ[_RUN] = str(run)
    if url := os.environ.pop(GIVEN, ""):  # servers take what is called like this for their own
        (run / "given").write_text(url)


def missing() -> str | None:
    """Say what to do about it if there is no PostgreSQL."""
    if not (Path(os.environ[_RUN]) / "given").exists():
        try:
            programs()
        except NoPostgres as error:
            return f"{error}; install PostgreSQL, or set {GIVEN} to the URL of a server"
    return None


def leave() -> None:
    """Let go of the server, in each process of a run."""
    if server.cache_info().currsize:
        server().close()


def end_run() -> None:
    """Clean up after a run, in the first of its processes: stop the server that was started."""
    run = Path(os.environ.pop(_RUN))
    running = _found(run)
    if isinstance(running, Postgres):
        running.__exit__()
    elif running is not None:
        databases.drop_all(running.url, _prefix(run))
    shutil.rmtree(run)


@cache
def server() -> Databases:
    """Give the server of this run, which is started if it is not there yet."""
    run = Path(os.environ[_RUN])
    with (run / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = _found(run) or _started(run)
    return Databases(running.url, _prefix(run), str(os.getpid()))


def _found(run: Path) -> Given | Postgres | None:
    with suppress(FileNotFoundError):
        running: Given | Postgres = pickle.loads((run / "server").read_bytes())  # noqa: S301 - ours
        return running
    return None


def _started(run: Path) -> Given | Postgres:
    """Start a server, or find the one that is there, and tell the other processes."""
    given = run / "given"
    running = Given(given.read_text()) if given.exists() else Postgres().__enter__()
    (run / "server").write_bytes(pickle.dumps(running))
    databases.make_empty(running.url, _prefix(run))
    return running


def _prefix(run: Path) -> str:
    return f"jobstore_test_{hashlib.sha256(bytes(run)).hexdigest()[:8]}"


@contextmanager
def named(path: Path, engine: str) -> Iterator[Path]:
    """Name a store that does not exist yet, on one of the engines."""
    if engine == "file":
        yield path
        return
    try:
        yield Place(path)
    finally:
        server().release()


def engine(path: Path) -> str:
    """Tell which engine a store is on."""
    return "postgresql" if isinstance(path, Place) else "file"


def configured(path: Path) -> dict[str, Any]:
    """Say in words of the configuration which store a server shall have."""
    if isinstance(path, Place):
        return {"url": path.url, "schema": SCHEMA, "patience": PATIENCE}
    return {"path": path}


def process(kind: type[S], path: Path) -> Callable[..., S]:
    """Make servers of a store that are processes of their own; arguments are those of the kind."""
    if not isinstance(path, Place):
        return partial(kind, path)
    url = path.url

    class OnDatabase(kind):  # type: ignore[misc, valid-type]
        arguments: tuple[str, ...]

        def __init__(self, *arguments: str) -> None:
            super().__init__(url, *arguments)

        @property
        def environment(self) -> dict[str, str]:
            own = {"JOBSTORE_STORE__LEASE": _LEASE, "JOBSTORE_STORE__PATIENCE": f"{PATIENCE:g}s"}
            return {**super().environment, **own}

    return OnDatabase


def rows(place: Place, statement: str, *values: object) -> list[Any]:
    """Read from a store as any stranger may; parameters are marked as SQLite does."""
    return server().of(str(place)).rows(*_in_words(statement, values))


def columns(place: Place, table: str) -> list[str]:
    """Name the columns of a table or view of a store."""
    description = server().of(str(place)).execute(f"TABLE {table}").description
    return [column.name for column in description or ()]


def execute(place: Place, statement: str, *values: object) -> None:
    """Change a store past all of its code; likewise."""
    server().of(str(place)).execute(*_in_words(statement, values))


def _in_words(statement: str, values: tuple[object, ...]) -> tuple[str, tuple[object, ...] | None]:
    """Mark the parameters of a statement as psycopg wants them."""
    if not values:
        return statement, None
    return _PLACEHOLDER.sub(lambda found: "%%" if found[0] == "%" else "%s", statement), values


def connected(place: Place) -> databases.Link:
    """Connect to a store past all of its code."""
    return databases.connected(place.url)
