"""The log beside the file, which grows with each commit until it is moved into the file."""

from pathlib import Path
from typing import Final

from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.pages import move, settle, wal_pages

# How many pages stand in the WAL before they are moved: less than the writer takes for too many.
_WAL_PAGES: Final = 1000


class Wal:
    """Keep the WAL short.

    Args:
        checkpoints: a connection on which nothing else is done, opened with the store: by its name
            another file might be found later.
    """

    def __init__(self, writer: FileWriter, path: Path, checkpoints: Connection) -> None:
        self._writer = writer
        self._path = path
        self._checkpoints = checkpoints

    async def keep_short(self) -> None:
        """Move the WAL into the file if it has become long; see `settle`."""
        if wal_pages(self._path) > _WAL_PAGES:
            await self.settle()

    async def settle(self) -> None:
        """Move the WAL into the file, so that it is written over next and does not grow.

        Everybody else goes on meanwhile. If they do so all the time, they wait for the little that
        they have added last. Measured, with a purge and one submission after the other: the longest
        of these waits 6 to 12 ms, where the writer moves 4000 pages by itself 35 to 50 ms.
        """
        self._writer.condition.require()
        if not await self._checkpoints.call(settle):
            await self._writer.call(move)
