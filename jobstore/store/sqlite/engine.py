"""Connections to a file, their pragmas, and the schema version of a file."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar
from urllib.parse import quote

import aiosqlite

from jobstore.model.errors import (
    StoreDamaged,
    StoreError,
    StoreForeign,
    StoreMissing,
    StoreNewer,
    StoreOutdated,
)
from jobstore.store.expressions import Statement
from jobstore.store.sqlite import mixture
from jobstore.store.sqlite.lock import beginning
from jobstore.store.sqlite.names import beside
from jobstore.store.sqlite.presence import Presence
from jobstore.store.sqlite.stopping import Stoppable
from jobstore.store.sqlite.translation import primary_code, translate, translated

APPLICATION_ID: Final = (
    0x6A_6F_62_73  # "jobs", https://www.sqlite.org/pragma.html#pragma_application_id
)
SCHEMA_VERSION: Final = 10
LIBRARY_VERSION: Final = sqlite3.sqlite_version
PAGE_SIZE: Final = 4096
_MAGIC: Final = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#the_database_header

# How long to wait for another process's transaction, such as a command of the CLI.
BUSY_TIMEOUT_MS: Final = 10_000
# Measured: at the default of 1000 pages a commit's p99 is 13.6 ms, at 4000 it is 0.8 ms.
AUTOCHECKPOINT_PAGES: Final = 4000
# What the WAL is cut back to once it has been checkpointed.
JOURNAL_SIZE_LIMIT: Final = 64 * 1024 * 1024

WRITER_PRAGMAS: Final = (
    "PRAGMA foreign_keys = ON",
    "PRAGMA synchronous = FULL",
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT_PAGES}",
    f"PRAGMA journal_size_limit = {JOURNAL_SIZE_LIMIT}",
    # What is deleted is overwritten where that costs no further I/O.
    "PRAGMA secure_delete = FAST",
)
READER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA query_only = ON",
)

P = ParamSpec("P")
T = TypeVar("T")


class Connection(aiosqlite.Connection):
    """An aiosqlite connection that can run a whole function in its thread.

    It raises the store's own errors, and none of SQLite's.

    Args:
        mode: see `connect`.
        pragmas: see `connect`.

    Attributes:
        presence: checks the files for each answer, once known.
    """

    def __init__(self, path: Path, mode: str, pragmas: Iterable[str]) -> None:
        super().__init__(lambda: connect(path, mode, pragmas), iter_chunk_size=64)
        self._path = path
        self.presence: Presence | None = None

    @property
    def here(self) -> sqlite3.Connection:
        """The connection, for use in the caller's own thread while none of its calls is running."""
        return self._conn

    async def call(
        self,
        function: Callable[Concatenate[sqlite3.Connection, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Run a function with the connection in the connection's own thread.

        One hop between threads costs more than most statements, so a transaction of many
        statements is sent over as one function.
        """
        try:  # and not `translated`, which costs more than some statements
            result: T = await self._execute(function, self._conn, *args, **kwargs)  # type: ignore[no-untyped-call]  # aiosqlite has no annotations here
        except (sqlite3.Error, OSError) as error:
            raise translate(self._path, error) from error
        if self.presence is not None:
            self.presence.require()
        return result

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and return all its rows."""
        return await self.call(_fetched, statement, values)

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and return its first row, or None."""
        return next(iter(await self.rows(statement, **values)), None)

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Execute statements that see the store at one moment; return their rows."""
        return await self.call(_fetched_together, statements, values)

    async def within(
        self, seconds: float | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement as `rows` does, and stop it when its time is over.

        It is also stopped when its caller is cancelled.

        Args:
            seconds: how long it may take, the wait for the connection included, or None.

        Raises:
            TimeIsUp: it was stopped.
        """
        step = Stoppable(statement, values)
        timer = None
        if seconds is not None:
            timer = asyncio.get_running_loop().call_later(seconds, step.stop)
        try:
            return await self.call(step.run)
        finally:
            if timer is not None:
                timer.cancel()
            step.stop()  # whoever asked may have left

    async def __aenter__(self) -> Self:
        """Start the thread and connect."""
        await super().__aenter__()
        return self


def _fetched(
    connection: sqlite3.Connection, statement: Statement, values: Mapping[str, object]
) -> list[Any]:
    return connection.execute(statement.sql, statement.bound(values)).fetchall()


def _fetched_together(
    connection: sqlite3.Connection, statements: Sequence[Statement], values: Mapping[str, object]
) -> list[list[Any]]:
    connection.execute("BEGIN")
    try:
        return [_fetched(connection, statement, values) for statement in statements]
    finally:
        connection.execute("COMMIT")


def writer(path: Path, max_size: int = 0, *, external: bool = False) -> Connection:
    """Open the one connection that writes; await it.

    Args:
        path: an existing store.
        max_size: the largest size of the file in bytes; 0 means no limit.
        external: whether another program checkpoints the WAL.
    """
    # A backup that has come into use is in rollback mode still, see `mixture`. The last pragma:
    # see `begin_patiently`.
    pragmas = [*WRITER_PRAGMAS, "PRAGMA journal_mode = WAL", "PRAGMA busy_timeout = 0"]
    if external:
        pragmas.append("PRAGMA wal_autocheckpoint = 0")
    if max_size:
        pragmas.append(f"PRAGMA max_page_count = {max(1, max_size // PAGE_SIZE)}")
    return Connection(path, "rw", pragmas)


def open_log(connection: sqlite3.Connection) -> None:
    """Read something, so that SQLite opens the WAL."""
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def checkpointer(path: Path) -> Connection:
    """Open a connection for checkpoints; await it."""
    return Connection(path, "rw", WRITER_PRAGMAS)


def reader(path: Path) -> Connection:
    """Open a connection that cannot write; await it."""
    return Connection(path, reading_mode(path), READER_PRAGMAS)


def reading_mode(path: Path) -> str:
    """Choose how to open a file that is only read.

    Readers take part in the WAL's bookkeeping, in files beside the store. If they cannot create
    these and they do not exist, nobody writes either, so readers can do without them.
    """
    wal = beside(path, "-wal")
    return "rw" if os.access(wal.parent, os.W_OK) or wal.exists() else "ro&immutable=1"


def connect(path: Path, mode: str, pragmas: Iterable[str] = ()) -> sqlite3.Connection:
    """Open a plain connection, in autocommit mode: transactions are begun by hand.

    Args:
        mode: ``ro``, ``rw``, or ``rwc`` to create it; further parameters may follow.
        pragmas: what to set on it.

    Raises:
        StoreError: it cannot be opened.
    """
    with translated(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path.absolute()))}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        for pragma in pragmas:
            connection.execute(pragma)
    return connection


def identify(path: Path) -> int:
    """Return the schema version of a file; 0 if it does not exist or is empty.

    Raises:
        StoreForeign: it is not a jobstore file.
        StoreNewer: it comes from a newer jobstore.
        StoreDamaged: SQLite cannot read it.
        StoreMixed: the log beside it belongs to another file.
    """
    if not path.exists():
        return 0
    if not path.is_file():
        raise StoreError(path, "this is not a file")
    mixture.check(path)
    if path.stat().st_size == 0:
        return 0
    try:
        application_id, version, tables = _marks(path)
    except StoreDamaged:
        if not _is_sqlite(path):
            raise StoreForeign(path) from None
        raise
    if tables == 0 and application_id == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise StoreForeign(path)
    if version > SCHEMA_VERSION:
        raise StoreNewer(path, version, SCHEMA_VERSION)
    return version


def _marks(path: Path) -> tuple[int, int, int]:
    """Read a file's application id, schema version, and number of tables and other objects."""
    connection = connect(path, reading_mode(path), READER_PRAGMAS)
    try:
        with translated(path):
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    finally:
        connection.close()
    return application_id, version, tables


def _is_sqlite(path: Path) -> bool:
    return beginning(path, len(_MAGIC)) == _MAGIC


def require(path: Path) -> None:
    """Ensure that a file is a store of this jobstore's schema version.

    Raises:
        StoreError: it is missing, foreign, newer, older or damaged.
    """
    if not path.exists():
        raise StoreMissing(path)
    version = identify(path)
    if version < SCHEMA_VERSION:
        raise StoreOutdated(path, version, SCHEMA_VERSION)


def begin(connection: sqlite3.Connection) -> bool:
    """Begin a write transaction, if possible at once.

    Returns:
        whether it was; if not, another process is writing.
    """
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if primary_code(error) != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def begin_patiently(connection: sqlite3.Connection) -> None:
    """Begin a write transaction; wait if another process is writing."""
    if begin(connection):
        return
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    try:
        connection.execute("BEGIN IMMEDIATE")
    finally:
        connection.execute("PRAGMA busy_timeout = 0")
