"""Round trips to PostgreSQL: many statements are sent together, and waited for once.

This uses libpq's pipeline functions directly, below the driver's own pipeline, in which each
statement costs a cursor, several generators and system calls. Measured, a job of a single client,
which is four small batches, cost 5.2 ms of processor time with the driver's pipeline, and 2.6 so.

https://www.postgresql.org/docs/current/libpq-pipeline-mode.html

**Invariants.** In the context of `using`, nothing else uses the connection. What is sent up to a
`set_out` makes one round trip, and several may be under way: they are answered in order, each by a
`come_back`. If a statement fails, those after it on the same trip are not executed, and `come_back`
raises the first error once the whole trip is answered. A connection that broke, whether or not
anybody was waiting on it, or that still has answers pending, cannot be used afterwards.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Self

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from jobstore.store.expressions import Statement
from jobstore.store.postgresql.link import Link
from jobstore.store.postgresql.packing import Packed, text

# No name is ever given twice: the driver may have dropped all that is prepared, or not.
_NUMBERS: Final = count()
_GOOD: Final = frozenset({ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK})


@dataclass(slots=True)
class Sent:
    """A statement that was sent.

    Args:
        rows: its rows; None until it is answered.
        rowcount: how many rows it changed or returned.
        prepares: the statement to be prepared, if that is what was sent.
    """

    rows: list[Any] | None = None
    rowcount: int = 0
    prepares: Statement | None = None


class Journeys:
    """A connection on which statements are sent together and waited for together.

    Args:
        link: the connection.
    """

    def __init__(self, link: Link) -> None:
        self.link = link
        self._libpq = link.pgconn
        self._socket = self._libpq.socket  # which a connection that is lost cannot tell
        self._decoding = Transformer(link)
        self._prepared: dict[Statement, bytes] = {}
        self._sent: list[Sent] = []
        self._under_way: deque[list[Sent]] = deque()
        self._answered: Callable[[], None] = _nothing
        self._waiter: asyncio.Future[None] | None = None
        self._lost: psycopg.Error | None = None

    @asynccontextmanager
    async def using(self, answered: Callable[[], None]) -> AsyncIterator[Self]:
        """Use the connection while the context lasts; pending answers are waited for at its end.

        Args:
            answered: called whenever the database answers.
        """
        self._answered = answered
        self._libpq.enter_pipeline_mode()
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._readable)
        try:
            yield self
            if self._sent:
                await self.make()
        except BaseException:
            await self._come_to_rest()
            raise
        finally:
            if self._lost is None:
                loop.remove_reader(self._socket)
            with suppress(psycopg.Error):  # a connection that is lost is not used any more
                self._libpq.exit_pipeline_mode()

    def say(self, words: bytes) -> Sent:
        """Send a statement without parameters that is not worth preparing."""
        self._libpq.send_query_params(words, None)
        return self._on_its_way(Sent())

    def send(self, statement: Statement, values: Mapping[str, object]) -> Sent:
        """Send a statement with values for its parameters."""
        name = self._prepared.get(statement)
        if name is None:
            name = self._prepared[statement] = b"s%d" % next(_NUMBERS)
            self._libpq.send_prepare(name, statement.pg_sql.encode())
            self._on_its_way(Sent(prepares=statement))
        written = [_written(value) for value in statement.pg_bound(values)]
        self._libpq.send_query_prepared(
            name, [value for value, _ in written], [form for _, form in written]
        )
        return self._on_its_way(Sent())

    def _on_its_way(self, sent: Sent) -> Sent:
        self._sent.append(sent)
        return sent

    async def make(self) -> None:
        """Wait for the answers to everything sent, while nothing else is under way.

        Raises:
            psycopg.Error: a statement failed, or the connection broke.
        """
        await self.set_out()
        await self.come_back()

    async def set_out(self) -> None:
        """Let what was sent go its way.

        Raises:
            psycopg.Error: the connection broke.
        """
        self._under_way.append(self._sent)
        self._sent = []
        self._libpq.pipeline_sync()
        await self._flushed()

    async def come_back(self) -> None:
        """Wait for the answers to what set out first.

        Raises:
            psycopg.Error: a statement failed, or the connection broke.
        """
        failed: PGresult | None = None
        for each in self._under_way.popleft():
            result = await self._result()
            if not self._take(each, result):
                failed = failed or result
            await self._next()  # which says that there is no more of it
        await self._next()  # and of all of it
        self._answered()
        if failed is not None:
            raise error_from_result(failed)

    async def _come_to_rest(self) -> None:
        """Wait for all that is under way after something failed, so that the rest can be undone."""
        with suppress(psycopg.Error):
            if self._sent and self._lost is None:
                await self.set_out()
        while self._under_way and self._lost is None:
            with suppress(psycopg.Error):  # there is one already
                await self.come_back()

    def _take(self, sent: Sent, result: PGresult) -> bool:
        """Take a statement's result; return whether it succeeded."""
        if result.status not in _GOOD:
            if sent.prepares is not None:
                del self._prepared[sent.prepares]
            return False
        sent.rows, sent.rowcount = [], result.command_tuples or 0
        if result.status == ExecStatus.TUPLES_OK:
            self._decoding.set_pgresult(result)
            sent.rows = self._decoding.load_rows(0, result.ntuples, tuple)
        return True

    async def _result(self) -> PGresult:
        result = await self._next()
        if result is None:
            raise self._lost or psycopg.OperationalError("the connection is lost")
        return result

    async def _next(self) -> PGresult | None:
        while self._libpq.is_busy():
            await self._stirred()
        return self._libpq.get_result()

    async def _flushed(self) -> None:
        if not self._libpq.flush():
            return
        loop, socket = asyncio.get_running_loop(), self._libpq.socket
        loop.add_writer(socket, self._wake)
        try:
            while self._libpq.flush():
                await self._stirred()
        finally:
            loop.remove_writer(socket)

    async def _stirred(self) -> None:
        """Wait until the connection can be read or written.

        Raises:
            psycopg.Error: it is lost, perhaps since before anybody waited.
        """
        if self._lost is None:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        if self._lost is not None:
            raise self._lost

    def _readable(self) -> None:
        try:
            self._libpq.consume_input()
        except psycopg.Error as error:
            self._lost = error
            # Its number may be another connection's before the context is left.
            asyncio.get_running_loop().remove_reader(self._socket)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _written(value: object) -> tuple[bytes | None, Format]:
    """Encode a value for the wire; the statement determines its type."""
    match value:
        case None:
            return None, Format.TEXT
        case str():
            return text(value), Format.TEXT
        case int():  # also one that is true or false
            return b"%d" % value, Format.TEXT
        case Packed():
            return value.data, Format.BINARY
        case bytes() | bytearray() | memoryview():
            return bytes(value), Format.BINARY
        case float():
            return repr(value).encode(), Format.TEXT
    raise TypeError(f"no parameter can be {type(value).__name__}")


def _nothing() -> None:
    """Do nothing when the database answers."""
