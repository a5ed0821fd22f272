"""Connections to PostgreSQL, and what its errors mean for a store."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import psycopg
from psycopg import conninfo, sql
from psycopg.errors import (
    AdminShutdown,
    CannotConnectNow,
    CrashShutdown,
    DataCorrupted,
    DiskFull,
    IdleInTransactionSessionTimeout,
    InsufficientPrivilege,
    LockNotAvailable,
    QueryCanceled,
    ReadOnlySqlTransaction,
)

from jobstore.model.errors import (
    JobstoreError,
    StoreAway,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFailing,
    StoreFull,
)
from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement

# For how long a connection may take to be made, in seconds.
CONNECT_SECONDS: Final = 5
# What a database says that is about to go away, or has not come yet; the next try may succeed.
AWAY: Final = (
    AdminShutdown,
    CannotConnectNow,
    CrashShutdown,
    IdleInTransactionSessionTimeout,
)

P = ParamSpec("P")
T = TypeVar("T")
Link = psycopg.Connection[tuple[Any, ...]]


def name_of(url: str) -> str:
    """Name a database for people, without its password."""
    parts = conninfo.conninfo_to_dict(url)
    host, database = parts.get("host") or "localhost", parts.get("dbname") or parts.get("user")
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{host}{port}/{database or ''}"


class Connection:
    """A connection that is used in a thread of its own, and made again when it has broken.

    It raises the store's own errors, and none of the driver's.

    Args:
        url: the database.
        schema: where the tables are.
        read_only: whether nothing is written.
        settings: of the session, by their names.
    """

    def __init__(self, url: str, schema: str, *, read_only: bool = False, **settings: str) -> None:
        self._url = url
        self._schema = schema
        self._read_only = read_only
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, "jobstore-postgresql")
        self._link: Link | None = None
        self.name = name_of(url)

    def link(self) -> Link:
        """Give the connection, which is made if there is none; in its thread only."""
        if self._link is None or self._link.closed:
            self._link = connect(
                self._url, self._schema, read_only=self._read_only, **self._settings
            )
        return self._link

    def drop(self) -> None:
        """Forget the connection; in its thread only."""
        if self._link is not None:
            self._link.close()
        self._link = None

    async def call(
        self, function: Callable[Concatenate[Link, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function with the connection in its thread.

        Raises:
            StoreError: it failed.
        """
        return await self.run(lambda: function(self.link(), *args, **kwargs))

    async def run(self, work: Callable[[], T]) -> T:
        """Run something in the connection's thread, such as what makes the connection anew."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except psycopg.Error as error:
            raise translate(self.name, error) from error

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows."""
        return await self.call(_fetched, statement, values)

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and give its first row, or None."""
        return next(iter(await self.rows(statement, **values)), None)

    async def within(
        self, seconds: float | None, statement: Statement, /, **values: object
    ) -> list[Any]:
        """Execute a statement as `rows` does, and stop it when its time is over.

        Args:
            seconds: how long it may take, the wait for the connection included, or None.

        Raises:
            TimeIsUp: it was stopped.
        """
        link = self._link
        timer = None
        if seconds is not None and link is not None:
            timer = asyncio.get_running_loop().call_later(seconds, link.cancel)
        try:
            return await self.rows(statement, **values)
        except StoreBusy:
            raise TimeIsUp from None
        finally:
            if timer is not None:
                timer.cancel()

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.call(lambda _: None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, and end its thread."""
        await self.run(self.drop)
        self._thread.shutdown()


def _fetched(link: Link, statement: Statement, values: Mapping[str, object]) -> list[Any]:
    return execute(link, statement, values).fetchall()


def execute(
    link: Link, statement: Statement, values: Mapping[str, object], more: str = ""
) -> "psycopg.RawCursor[tuple[Any, ...]]":
    """Execute a statement with values for its parameters.

    Args:
        more: what is added to its text.
    """
    cursor = psycopg.RawCursor(link)
    cursor.execute(statement.pg_sql + more, statement.pg_bound(values), prepare=True)
    return cursor


def connect(url: str, schema: str, *, read_only: bool = False, **settings: str) -> Link:
    """Connect, in autocommit mode: transactions are begun by hand.

    Args:
        schema: where the tables are.
        settings: of the session, by their names.
    """
    link = psycopg.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        application_name="jobstore",
        # So that a server that is gone is noticed within a minute.
        keepalives_idle=10,
        keepalives_interval=10,
        keepalives_count=3,
    )
    link.execute(sql.SQL("SET search_path TO {}").format(sql.Identifier(schema)))
    # What a client may choose, a store does not: what is acknowledged is on the disk.
    link.execute("SET synchronous_commit TO on")
    if read_only:
        link.execute("SET default_transaction_read_only TO on")
    for setting, value in settings.items():
        link.execute(sql.SQL("SET {} TO {}").format(sql.Identifier(setting), sql.Literal(value)))
    return link


def is_broken(error: psycopg.Error) -> bool:
    """Tell whether an error is that of the connection, so that nothing is known of its session."""
    return isinstance(error, AWAY) or error.sqlstate is None or error.sqlstate[:2] == "08"


def translate(name: str, error: psycopg.Error) -> JobstoreError:
    """Say what an error of PostgreSQL means for the store."""
    match error:
        case QueryCanceled() | LockNotAvailable():
            return StoreBusy(name)
        case DiskFull():
            return StoreFull(name)
        case DataCorrupted():
            return StoreDamaged(name, _said(error))
        case InsufficientPrivilege() | ReadOnlySqlTransaction():
            return StoreFailing(name, _said(error))
    if is_broken(error):
        return StoreAway(name, _said(error))
    return StoreError(name, _said(error))


def _said(error: psycopg.Error) -> str:
    """Give PostgreSQL's words for what happened, on one line and without a hint."""
    said = error.diag.message_primary or str(error)
    return " ".join(said.split()) or type(error).__name__
