"""Connections to PostgreSQL, and what its errors mean for a store."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

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

Link = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncRawCursor[tuple[Any, ...]]


def name_of(url: str) -> str:
    """Name a database for people, without its password."""
    parts = conninfo.conninfo_to_dict(url)
    host, database = parts.get("host") or "localhost", parts.get("dbname") or parts.get("user")
    port = f":{parts['port']}" if "port" in parts else ""
    return f"postgresql://{host}{port}/{database or ''}"


class Connection:
    """A connection that is made again when it has broken.

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
        self._link: Link | None = None
        self._linking = asyncio.Lock()
        self.name = name_of(url)

    async def link(self) -> Link:
        """Give the connection, which is made if there is none.

        Raises:
            psycopg.Error: it cannot be.
        """
        async with self._linking:
            if self._link is None or self._link.closed:
                self._link = await connect(
                    self._url, self._schema, read_only=self._read_only, **self._settings
                )
            return self._link

    async def drop(self) -> None:
        """Forget the connection."""
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows.

        Raises:
            StoreError: it failed.
        """
        try:
            cursor = await execute(await self.link(), statement, values)
            return await cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise translate(self.name, error) from error

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
        try:
            async with asyncio.timeout(seconds):
                return await self.rows(statement, **values)
        except TimeoutError:
            raise TimeIsUp from None

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self.link()
        except psycopg.Error as error:
            raise translate(self.name, error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        await self.drop()


async def execute(link: Link, statement: Statement, values: Mapping[str, object]) -> Cursor:
    """Execute a statement with values for its parameters."""
    cursor = psycopg.AsyncRawCursor(link)
    await cursor.execute(statement.pg_sql, statement.pg_bound(values), prepare=True)
    return cursor


async def connect(url: str, schema: str, *, read_only: bool = False, **settings: str) -> Link:
    """Connect, in autocommit mode: transactions are begun by hand.

    Args:
        schema: where the tables are.
        settings: of the session, by their names.
    """
    link = await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS,
        application_name="jobstore",
        # So that a server that is gone is noticed within a minute.
        keepalives_idle=10,
        keepalives_interval=10,
        keepalives_count=3,
    )
    # What a client may choose, a store does not: what is acknowledged is on the disk.
    settings = {"synchronous_commit": "on", **settings}
    if read_only:
        settings["default_transaction_read_only"] = "on"
    texts = [sql.SQL("SET search_path TO {}").format(sql.Identifier(schema))]
    texts += [
        sql.SQL("SET {} TO {}").format(sql.Identifier(name), sql.Literal(value))
        for name, value in settings.items()
    ]
    for text in texts:
        await link.execute(text)
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
