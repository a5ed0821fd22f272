"""The engines that a store may be on: one file, or a PostgreSQL that the tests start themselves.

A test asks for `store_path` and gets the name of a store that does not exist yet. On PostgreSQL
that is a `Place`, a path as well: whatever takes a path here also takes one of those, and finds the
database behind it. Each store is a database of its own, copied from an empty one.

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
from contextlib import closing, contextmanager, suppress
from functools import cache, cached_property, partial
from pathlib import Path, PosixPath
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest

from jobstore.live.joining import Database
from jobstore.store.postgresql.migrate import migrate
from trials.postgres import NoPostgres, Postgres
from trials.serving import ServerProcess

ENGINES: Final = ("file", "postgresql")
# A server that is there already, whose user may create databases.
GIVEN: Final = "JOBSTORE_TEST_POSTGRESQL"
# What the processes of a run have in common; the first of them names it to the others.
_RUN: Final = "JOBSTORE_TEST_RUN"
_SCHEMA: Final = "jobstore"
_SEVERAL_STRATEGIES: Final = 150_000  # the first version of PostgreSQL with a choice
_PLACEHOLDER: Final = re.compile(r"%|\?")

S = TypeVar("S", bound=ServerProcess)


class Place(PosixPath):
    """A store on PostgreSQL, by the name that a file would have."""

    @property
    def name_there(self) -> str:
        """The name of its database."""
        return f"jobstore_test_{hashlib.sha256(bytes(self)).hexdigest()[:16]}"

    @property
    def url(self) -> str:
        """Where it is."""
        return server().url_of(self.name_there)

    @property
    def database(self) -> Database:
        """The same, for a node."""
        return Database(url=self.url, schema=_SCHEMA)


class Given:
    """A server that somebody else has started."""

    def __init__(self, url: str) -> None:
        self.url = url


class Databases:
    """The databases of the tests, on one server.

    Args:
        url: of a database there, from which others are made.
        empty: the name of one with a store that nobody has used.
    """

    def __init__(self, url: str, empty: str) -> None:
        self._url = url
        self._empty = empty
        self._made: set[str] = set()

    def url_of(self, name: str) -> str:
        """Tell where a database is."""
        return _url_of(self._url, name)

    def make(self, name: str) -> None:
        """Make a database with an empty store, unless it is there."""
        if name not in self._made:
            self._run(f"CREATE DATABASE {name} TEMPLATE {self._empty} {self._quickly}")
            self._made.add(name)

    def drop_made(self) -> None:
        """Drop those that were made here, whoever is still connected."""
        for name in self._made:
            self.drop(name)
        self._made.clear()

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self._run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def close(self) -> None:
        """Make and drop nothing any more."""
        self._link.close()

    def _run(self, statement: str) -> None:
        self._link.execute(statement.encode())

    @cached_property
    def _link(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._url, autocommit=True)

    @cached_property
    def _quickly(self) -> str:
        return "STRATEGY file_copy" if self._link.info.server_version >= _SEVERAL_STRATEGIES else ""


def begin_run() -> None:
    """Prepare for a run, in the first of its processes."""
    os.environ[_RUN] = tempfile.mkdtemp(prefix="jobstore-test-run-")


def leave() -> None:
    """Let go of the server, in each process of a run."""
    if server.cache_info().currsize:
        server().close()


def end_run() -> None:
    """Clean up after a run, in the first of its processes: stop the server that was started."""
    folder = Path(os.environ.pop(_RUN))
    if (running := _found(folder)) is not None:
        with closing(Databases(running.url, _empty(folder))) as databases:
            databases.drop(_empty(folder))
        if isinstance(running, Postgres):
            running.__exit__()
    shutil.rmtree(folder)


@cache
def server() -> Databases:
    """Give the server of this run, which is started if it is not there yet.

    Raises:
        NoPostgres: there is none on this machine.
    """
    folder = Path(os.environ[_RUN])
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = _found(folder) or _started(folder)
    return Databases(running.url, _empty(folder))


def _found(run: Path) -> Given | Postgres | None:
    with suppress(FileNotFoundError):
        running: Given | Postgres = pickle.loads((run / "server").read_bytes())  # noqa: S301 - ours
        return running
    return None


def _started(run: Path) -> Given | Postgres:
    """Start a server that has one database with an empty store."""
    running = _running()
    (run / "server").write_bytes(pickle.dumps(running))
    with closing(psycopg.connect(running.url, autocommit=True)) as link:
        link.execute(f"CREATE DATABASE {_empty(run)}".encode())
    migrate(_url_of(running.url, _empty(run)), _SCHEMA)
    return running


def _running() -> Given | Postgres:
    if url := os.environ.get(GIVEN):
        return Given(url)
    return Postgres().__enter__()


def _url_of(url: str, database: str) -> str:
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _empty(run: Path) -> str:
    return f"jobstore_test_empty_{hashlib.sha256(bytes(run)).hexdigest()[:8]}"


def configured(path: Path) -> dict[str, Any]:
    """Say in words of the configuration which store a server shall have."""
    if isinstance(path, Place):
        return {"url": path.url, "schema": _SCHEMA}
    return {"path": path}


def process(kind: type[S], path: Path) -> Callable[..., S]:
    """Make servers of a store that are processes of their own; arguments are those of the kind."""
    if not isinstance(path, Place):
        return partial(kind, path)
    prepare(path)
    url = path.url

    class OnDatabase(kind):  # type: ignore[misc, valid-type]
        def __init__(self, *arguments: str) -> None:
            super().__init__(path, *arguments)
            place = self.arguments.index("--store")
            self.arguments = (*self.arguments[:place], *self.arguments[place + 2 :])

        @property
        def environment(self) -> dict[str, str]:
            return {**super().environment, "JOBSTORE_STORE__URL": url}

    return OnDatabase


@contextmanager
def named(path: Path, engine: str) -> Iterator[Path]:
    """Name a store that does not exist yet, on one of the engines."""
    if engine == "file":
        yield path
        return
    try:
        databases = server()
    except NoPostgres as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"{error}; install PostgreSQL, or set {GIVEN} to the URL of one")
    try:
        yield Place(path)
    finally:
        databases.drop_made()


def prepare(place: Place) -> None:
    """Make an empty store, if there is none."""
    server().make(place.name_there)


def rows(place: Place, statement: str, *values: object) -> list[Any]:
    """Read from a store as any stranger may."""
    with closing(connected(place)) as link:
        link.execute("SET default_transaction_read_only TO on")
        text = _PLACEHOLDER.sub(lambda found: "%%" if found[0] == "%" else "%s", statement)
        return [tuple(row) for row in link.execute(text.encode(), values or None).fetchall()]


def connected(place: Place) -> psycopg.Connection[tuple[Any, ...]]:
    """Connect to a store past all of its code."""
    link = psycopg.connect(place.url, autocommit=True)
    link.execute(f"SET search_path TO {_SCHEMA}")
    return link
