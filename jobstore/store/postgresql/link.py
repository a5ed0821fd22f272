"""A single connection to PostgreSQL, which can be given up."""

import os
import socket
from contextlib import suppress
from typing import Any, Final

import psycopg

# For how long a database is asked to stop a statement, in seconds.
ASK_SECONDS: Final = 0.5


class Link(psycopg.AsyncConnection[tuple[Any, ...]]):
    """The driver's connection; nobody waits long for what was cancelled on it."""

    async def cancel_safe(
        self,
        *,
        timeout: float = ASK_SECONDS,  # noqa: ASYNC109 - as its own base has it
    ) -> None:
        """Ask the database to stop the current statement.

        The driver asks for five seconds when a task is cancelled that waits for an answer. So long
        nobody else could use the connection, or learn that the database is away.
        """
        await super().cancel_safe(timeout=min(timeout, ASK_SECONDS))

    def break_off(self) -> None:
        """Shut the socket down; who waits for an answer there learns of it."""
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as end:
            end.shutdown(socket.SHUT_RDWR)
