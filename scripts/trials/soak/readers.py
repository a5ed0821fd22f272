"""Who reads the file beside the server: the commands, and plain SQLite."""

import asyncio
import sqlite3
import sys
import time
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Final

from trials.soak.visitor import Work, see

_QUESTIONS: Final = (
    ("history", "--limit", "20"),
    ("history", "--stats"),
    ("history", "--state", "failed", "--state", "cancelled", "--since", "1m", "--json"),
    ("history", "--longest", "--limit", "10"),
    ("list", "--limit", "20"),
    ("history", "--activity"),
)
_QUERY: Final = "SELECT endpoint, count(*), sum(error) FROM history GROUP BY endpoint"
# How long plain SQLite stays in one transaction, in seconds.
_READ_SECONDS: Final = 1.0


class Readers:
    """Read the store of a server that runs.

    Args:
        store: its file.
        backups: how often a backup is made, in a second.
    """

    def __init__(self, store: Path, backups: float) -> None:
        self._store = store
        self._backups = backups
        self._questions = cycle(_QUESTIONS)

    def works(self) -> list[Work]:
        """List what they do, and how often in a second."""
        return [
            Work("readers", "ask the history", self.ask, 1 / 5),
            Work("readers", "plain SQLite", self.read, 1 / 10),
            Work("readers", "backup and check", self.back_up, self._backups),
        ]

    async def ask(self) -> None:
        """Ask one question with a command."""
        await jobstore(self._store, *next(self._questions))

    async def read(self) -> None:
        """Read for a second in one transaction, in which nothing changes."""
        await asyncio.to_thread(_read, self._store)

    async def back_up(self) -> None:
        """Make a backup, and check it."""
        backup = self._store.with_name("backup.db")
        await jobstore(self._store, "backup", "--force", str(backup))
        await jobstore(backup, "check")


async def jobstore(store: Path, command: str, *arguments: str) -> None:
    """Run a command on a store, which has to do what it is asked, and say no more than that.

    Raises:
        Broken: it does not.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobstore", command, "--store", str(store), *arguments),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complaints = await process.communicate()
    see(process.returncode == 0, f"{command} ended with {process.returncode}: {complaints!r}")


def _read(store: Path) -> None:
    with closing(sqlite3.connect(f"{store.as_uri()}?mode=ro", uri=True)) as connection:
        connection.isolation_level = None
        connection.execute("BEGIN")
        first = connection.execute(_QUERY).fetchall()
        end = time.monotonic() + _READ_SECONDS
        while time.monotonic() < end:
            again = connection.execute(_QUERY).fetchall()
            see(again == first, "something changed within a read transaction")
