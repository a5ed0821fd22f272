"""Connections to PostgreSQL."""

import asyncio
import os
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import psycopg
from psycopg import sql
from psycopg.errors import QueryCanceled

from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement
from jobstore.store.postgresql import packing
from jobstore.store.postgresql.database_url import name_of, parts_of
from jobstore.store.postgresql.translation import is_broken, translate
from jobstore.store.waited import waiting

# For how long a connection may take to be made, in seconds.
CONNECT_SECONDS: Final = 4
# The shortest time that libpq gives a host.
_LEAST_SECONDS: Final = 2
# Likewise where nothing has begun yet for which somebody waits.
_START_SECONDS: Final = 30
# For how long a database may be silent until it counts as away, in seconds.
PATIENCE: Final = 5.0
# How many seconds the loop has to take what is there already.
_TO_LISTEN: Final = 0.5
# How often it is asked to stop a statement that goes on, and for how long each time, in seconds.
_ASK_AGAIN: Final = 0.1
_ASK_SECONDS: Final = 1.0
# When a timer is so many seconds late, something else has held the loop up.
_LATE: Final = 0.1
# What fails within so many seconds has not been waited for.
_AT_ONCE: Final = 1.0
# How many statements a session may have prepared: more than there are.
_PREPARED: Final = 1_000

Link = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncRawCursor[tuple[Any, ...]]
Pipeline = psycopg.AsyncPipeline


class DatabaseConnection:
    """A connection that is made again when it has broken.

    It raises the store's own errors, and none of the driver's. Nobody waits for long: a database
    that says nothing is taken for one that is away, and those who wait for a connection to be made
    wait for the same one.

    Args:
        url: the database.
        schema: where the tables are.
        read_only: whether nothing is written.
        patience: for how long a statement may take, in seconds.
        settings: of the session, by their names.
    """

    def __init__(
        self,
        url: str,
        schema: str,
        *,
        read_only: bool = False,
        patience: float = PATIENCE,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._url = url
        self._schema = schema
        self._read_only = read_only
        self._patience = patience
        self._settings = settings
        self._link: Link | None = None
        self._linking: asyncio.Task[Link] | None = None
        self._heard_at = 0.0
        self.name = name_of(url)

    async def link(self, seconds: float | None = None) -> Link:
        """Give the connection, which is made if it does not exist.

        Args:
            seconds: for how long to wait at most; None for as long as it may take.

        Raises:
            psycopg.Error: it cannot be.
        """
        if self._link is not None and not self._link.closed:
            return self._link
        if self._linking is None:
            self._linking = asyncio.create_task(self._connect())
            self._linking.add_done_callback(_seen)
        async with _answering(seconds):
            return await asyncio.shield(self._linking)

    async def _connect(self, seconds: float = CONNECT_SECONDS) -> Link:
        try:
            async with _answering(seconds):
                self._link = await connect(
                    self._url, self._schema, self._settings, read_only=self._read_only
                )
                return self._link
        finally:
            self._linking = None

    async def drop(self) -> None:
        """Forget the connection, and close it when nobody waits for an answer there any more.

        The loop would go on listening to its number, which the next connection gets.
        """
        link, self._link = self._link, None
        if link is not None:
            if link.lock.locked():
                _break_off(link)
            async with link.lock:
                await link.close()

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and give all its rows.

        Raises:
            StoreError: it failed.
        """
        with waiting() as began:
            return await self._rows_or_error(statement, values, began)

    async def _rows_or_error(
        self, statement: Statement, values: Mapping[str, object], began: float
    ) -> list[Any]:
        try:
            return await self._rows(statement, values, began)
        except psycopg.Error as error:
            at_once = time.monotonic() - began < _AT_ONCE
            # One that was meant for the statement before may have stopped this one.
            passing = (is_broken(error) and at_once) or isinstance(error, QueryCanceled)
            if statement.changes or not passing:
                raise translate(self.name, error) from error
        try:  # in a new session, since that of before turned out to be over
            return await self._rows(statement, values, began)
        except psycopg.Error as error:
            raise translate(self.name, error) from error

    async def _rows(
        self, statement: Statement, values: Mapping[str, object], began: float
    ) -> list[Any]:
        async with self._impatient(began) as link:
            cursor = await execute(link, statement, values)
            return await cursor.fetchall() if cursor.description else []

    @asynccontextmanager
    async def _impatient(self, began: float) -> AsyncIterator[Link]:
        """Give the connection, whose making counts as waiting for the database as well."""

        def left() -> float:
            return max(began + self._patience - time.monotonic(), least)

        least = min(_TO_LISTEN, self._patience)
        link = await self.link(left())
        # Who waits for their turn does not wait for the database.
        with impatient(link, left, lambda: self._heard_at):
            yield link
        self._heard_at = time.monotonic()

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and give its first row, or None."""
        return next(iter(await self.rows(statement, **values)), None)

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Execute statements that find the store as of one moment; give their rows."""
        try:
            with waiting() as began:
                return await self._at_one_moment(statements, values, began)
        except BaseException as error:
            await self.drop()
            if isinstance(error, psycopg.Error):
                raise translate(self.name, error) from error
            raise

    async def _at_one_moment(
        self, statements: Sequence[Statement], values: Mapping[str, object], began: float
    ) -> list[list[Any]]:
        async with self._impatient(began) as link:
            await link.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursors = [await execute(link, each, values) for each in statements]
            rows = [await cursor.fetchall() for cursor in cursors]
            await link.execute("COMMIT")
        return rows

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
                with self._stopped():
                    return await self.rows(statement, **values)
        except TimeoutError:
            raise TimeIsUp from None

    @contextmanager
    def _stopped(self) -> Iterator[None]:
        """Ensure that the statement of a task that is cancelled ends.

        The driver asks the database once to stop. That is lost on a statement which is only being
        prepared, and begins after it.
        """
        insisting = asyncio.create_task(self._insist(asyncio.current_task()))
        try:
            yield
        finally:
            insisting.cancel()

    async def _insist(self, task: "asyncio.Task[Any] | None") -> None:
        while task is not None:
            await asyncio.sleep(_ASK_AGAIN)
            if task.cancelling() and self._link is not None:
                with suppress(psycopg.Error):
                    await self._link.cancel_safe(timeout=_ASK_SECONDS)

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self._connect(_START_SECONDS)
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


@asynccontextmanager
async def _answering(seconds: float | None) -> AsyncIterator[None]:
    """Wait for a database, and treat it as unreachable when the time is over."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise psycopg.OperationalError("it does not answer") from None


def _seen(linking: "asyncio.Task[Link]") -> None:
    """Note why a connection could not be made, even if nobody waits for it any more."""
    if not linking.cancelled():
        linking.exception()


@contextmanager
def impatient(
    link: Link, seconds: Callable[[], float], heard_at: Callable[[], float] = lambda: 0.0
) -> Iterator["Patience"]:
    """Close a connection on which nothing was received for too long.

    Its socket is shut down, so that those who wait for an answer learn of it: to cancel them would
    send a message to the database, and wait for that.

    Args:
        link: the connection.
        seconds: tells how long it may be silent from now on.
        heard_at: tells when somebody else has heard something, by the monotonic clock.
    """
    patience = Patience(link, seconds, heard_at)
    try:
        yield patience
    finally:
        patience.timer.cancel()


class Patience:
    """That of one who waits for answers on a connection; see `impatient`.

    Attributes:
        is_over: whether the connection was closed, since the database was silent.
    """

    def __init__(
        self, link: Link, seconds: Callable[[], float], heard_at: Callable[[], float]
    ) -> None:
        self.is_over = False
        self._link = link
        self._seconds = seconds
        self._heard_at = heard_at
        self.timer = self._begin()

    def renew(self) -> None:
        """Wait anew, since something was heard."""
        self.timer.cancel()
        self.timer = self._begin()

    def _begin(self, seconds: float | None = None) -> asyncio.TimerHandle:
        seconds = self._seconds() if seconds is None else seconds
        return asyncio.get_running_loop().call_later(seconds, self._end)

    def _end(self) -> None:
        """Close the connection, unless the loop had no time to read."""
        late = asyncio.get_running_loop().time() - self.timer.when()
        silent = time.monotonic() - self._heard_at()
        if silent < (most := self._seconds()):  # somebody else was answered
            self.timer = self._begin(most - silent)
            return
        with suppress(OSError, psycopg.Error):
            waiting, _, _ = select.select([self._link.fileno()], [], [], 0)
            if waiting or late > _LATE:
                self.timer = self._begin(_TO_LISTEN)
            else:
                self.is_over = True
                _break_off(self._link)


def _break_off(link: Link) -> None:
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(link.fileno())) as end:
        end.shutdown(socket.SHUT_RDWR)


async def execute(link: Link, statement: Statement, values: Mapping[str, object]) -> Cursor:
    """Execute a statement with values for its parameters."""
    cursor = psycopg.AsyncRawCursor(link)
    await cursor.execute(statement.pg_sql, statement.pg_bound(values), prepare=True)
    return cursor


async def connect(
    url: str, schema: str, settings: Mapping[str, str], *, read_only: bool = False
) -> Link:
    """Connect, in autocommit mode: transactions are begun by hand.

    Args:
        schema: where the tables are.
        settings: of the session, by their names.
    """
    link = await psycopg.AsyncConnection.connect(
        url,
        autocommit=True,
        connect_timeout=_seconds_a_host(url),
        application_name="jobstore",
        # So that a server that is gone is noticed within a minute.
        keepalives_idle=10,
        keepalives_interval=10,
        keepalives_count=3,
    )
    link.prepared_max = _PREPARED
    packing.register(link)
    packing.register_texts(link)
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


def _seconds_a_host(url: str) -> int:
    """Tell how long each host of several may take; the caller has a limit for all of them."""
    hosts = parts_of(url).get("host", "").count(",") + 1
    return _START_SECONDS if hosts == 1 else max(_LEAST_SECONDS, CONNECT_SECONDS // hosts)
