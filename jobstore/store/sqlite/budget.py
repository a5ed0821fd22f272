"""How long a search may take, and what stops it when that time is over."""

import asyncio
import sqlite3
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from jobstore.store.expressions import Statement
from jobstore.store.sqlite.engine import Connection

# How long a search takes at most before it gives what it has found, in seconds.
SEARCH_SECONDS: Final = 0.25
# After how many of SQLite's instructions a statement asks whether it shall go on: about 1 ms.
_ASKED_EACH: Final = 20_000


class TimeIsUp(Exception):
    """A search has used its budget up, or was stopped when it had."""


class Budget:
    """The time of one search.

    Until `begin` it does not count: what a search does first is small, and always done to its end,
    so that each search gets on, however slow the disk.

    Args:
        seconds: how long it may take.
        clock: what time it is, in seconds from anywhere.
    """

    def __init__(
        self, seconds: float = SEARCH_SECONDS, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clock = clock
        self._until = clock() + seconds
        self._counts = False

    def begin(self) -> None:
        """Let the time count from now on."""
        self._counts = True

    def left(self) -> float | None:
        """Tell how many seconds are left; None if they do not count yet.

        Raises:
            TimeIsUp: none are.
        """
        if not self._counts:
            return None
        left = self._until - self._clock()
        if left <= 0:
            raise TimeIsUp
        return left


async def rows_within(
    connection: Connection, seconds: float | None, statement: Statement, **values: object
) -> list[Any]:
    """Execute a statement, and stop it when its time is over or nobody waits for it any more.

    Args:
        connection: where.
        seconds: how long it may take, the wait for the connection included, or None.
        statement: what to execute.
        values: its parameters.

    Raises:
        TimeIsUp: it was stopped.
    """
    step = _Step(statement, values)
    timer = None
    if seconds is not None:
        timer = asyncio.get_running_loop().call_later(seconds, step.stop)
    try:
        return await connection.call(step.run)
    finally:
        if timer is not None:
            timer.cancel()
        step.stop()  # whoever asked may have left


class _Step:
    """A statement that can be stopped from another thread.

    It asks now and then whether it shall go on. To interrupt its connection would be no use in the
    moment in which it has begun here, but not yet there; and in others it would be somebody else's
    statement that is interrupted: https://www.sqlite.org/c3ref/interrupt.html
    """

    def __init__(self, statement: Statement, values: dict[str, object]) -> None:
        self._statement = statement
        self._values = values
        self._stopped = False

    def stop(self) -> None:
        """Stop it, whether it runs or waits."""
        self._stopped = True

    def run(self, connection: sqlite3.Connection) -> list[Any]:
        """Execute it, in the connection's thread."""
        if self._stopped:
            raise TimeIsUp
        connection.set_progress_handler(lambda: self._stopped, _ASKED_EACH)
        try:
            statement = self._statement
            return connection.execute(statement.sql, statement.bound(self._values)).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                raise
            raise TimeIsUp from error
        finally:
            connection.set_progress_handler(None, 0)
