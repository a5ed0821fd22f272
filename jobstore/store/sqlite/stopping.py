"""Statements that are stopped when their time is over, or when nobody waits for them any more."""

import sqlite3
from typing import Any, Final

from jobstore.store.budget import TimeIsUp
from jobstore.store.expressions import Statement

# After how many of SQLite's instructions a statement asks whether it shall go on: about 1 ms.
_ASKED_EACH: Final = 20_000


class Stoppable:
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
