"""Connections to PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import MappingProxyType, TracebackType
from typing import Any, Final, Self

import psycopg
from psycopg.errors import QueryCanceled

from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement
from jobstore.store.postgresql.database_url import name_of
from jobstore.store.postgresql.link import Link
from jobstore.store.postgresql.links import CONNECT_SECONDS, START_SECONDS, connect, execute
from jobstore.store.postgresql.patience import LAST, PATIENCE, impatient, seconds_left
from jobstore.store.postgresql.translation import is_broken, translate
from jobstore.store.waited import waiting

# How often it is asked to stop a statement that goes on, in seconds.
_ASK_AGAIN: Final = 0.1
# What fails within so many seconds has not been waited for.
_AT_ONCE: Final = 1.0


class DatabaseConnection:
    """A connection that is made again when it breaks.

    It raises the store's own errors, never the driver's. Nobody waits long: a silent database
    counts as unreachable, and all who wait for a new connection wait for the same one. Once
    somebody has waited for it in vain, nobody else does so for more than a moment until there is a
    connection again.

    Args:
        url: the database.
        schema: the schema with the tables.
        read_only: whether nothing is written.
        patience: how long a statement may take, in seconds.
        settings: settings of the session, by name.
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
        self._is_away = False  # since somebody has waited in vain
        self._heard_at = 0.0
        self.name = name_of(url)

    async def link(self, seconds: float | None = None) -> Link:
        """Return the connection, which is made if it does not exist.

        Args:
            seconds: how long to wait at most; None for no limit.

        Raises:
            psycopg.Error: it cannot be made.
        """
        if self._link is not None and not self._link.closed:
            return self._link
        if self._linking is None:
            self._linking = asyncio.create_task(self._connect())
            self._linking.add_done_callback(_seen)
        if self._is_away and seconds is not None:
            seconds = min(seconds, LAST * self._patience)
        async with _answering(seconds):
            return await asyncio.shield(self._linking)

    async def _connect(self, seconds: float = CONNECT_SECONDS) -> Link:
        try:
            async with _answering(seconds):
                self._link = await connect(
                    self._url,
                    self._schema,
                    self._settings,
                    seconds=seconds,
                    read_only=self._read_only,
                )
                self._is_away = False
                return self._link
        finally:
            self._linking = None

    async def drop(self) -> None:
        """Forget the connection, and close it when nobody waits for an answer there any more.

        The loop would otherwise continue to watch its descriptor, whose number the next connection
        gets.
        """
        link, self._link = self._link, None
        if link is not None:
            if link.lock.locked():
                link.break_off()
            async with link.lock:
                await link.close()

    async def rows(self, statement: Statement, **values: object) -> list[Any]:
        """Execute a statement with values for its parameters, and return all its rows.

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
        """Return the connection; making it counts as waiting for the database."""

        def left() -> float:
            return seconds_left(self._patience, began, time.monotonic())

        try:
            link = await self.link(left())
            # Who waits for their turn does not wait for the database.
            with impatient(link, left, lambda: self._heard_at):
                yield link
        except psycopg.Error as error:
            if is_broken(error) and time.monotonic() - began >= _AT_ONCE:
                self._is_away = self._link is None or bool(self._link.closed)
            raise
        self._heard_at = time.monotonic()

    async def row(self, statement: Statement, **values: object) -> Any:
        """Execute a statement as `rows` does, and return its first row, or None."""
        return next(iter(await self.rows(statement, **values)), None)

    async def together(
        self, statements: Sequence[Statement], /, **values: object
    ) -> list[list[Any]]:
        """Execute statements that see the store at one moment; return their rows."""
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
        """Execute a statement as `rows` does, and stop it when its time is up.

        Args:
            seconds: how long it may take, including the wait for the connection, or None.

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
                    await self._link.cancel_safe()

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            await self._connect(START_SECONDS)
        except psycopg.Error as error:
            raise translate(self.name, error) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection, also one that is being made: whoever asked for it may have left."""
        if self._linking is not None:
            self._linking.cancel()
            await asyncio.wait([self._linking])
        await self.drop()


@asynccontextmanager
async def _answering(seconds: float | None) -> AsyncIterator[None]:
    """Wait for a database, and treat it as unreachable when the time is up."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise psycopg.OperationalError("it does not answer") from None


def _seen(linking: "asyncio.Task[Link]") -> None:
    """Note why a connection could not be made, even if nobody waits for it any more."""
    if not linking.cancelled():
        linking.exception()
