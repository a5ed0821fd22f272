"""The write-ahead log, which grows with each commit until it is checkpointed into the file."""

import logging
from pathlib import Path
from typing import Final

from jobstore.store.sqlite.engine import Connection
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.pages import move, settle, wal_pages

# How many pages stand in the WAL before they are moved: less than the writer takes for too many.
_WAL_PAGES: Final = 1000
# How many pages of a WAL that somebody else should move are too many: 256 MiB.
_FORGOTTEN_PAGES: Final = 65_536

log = logging.getLogger(__name__)


class Wal:
    """Keep the WAL short.

    Args:
        checkpoints: a connection on which nothing else is done, opened with the store: by its name
            another file might be found later.

    Attributes:
        ours: whether it is moved into the file here.
    """

    ours = True

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


class ForeignWal(Wal):
    """A WAL that another program copies and checkpoints, such as Litestream.

    Two who do so are one too many: what is moved and written over before it was copied is missing
    in the copy, which then has to be begun anew.
    """

    ours = False
    _said = False

    async def keep_short(self) -> None:
        """Warn if no other program seems to checkpoint it."""
        forgotten = wal_pages(self._path) > _FORGOTTEN_PAGES
        if forgotten and not self._said:
            log.warning(
                "the write-ahead log is larger than 256 MiB: no other program checkpoints it, as "
                '[store] checkpoints = "external" expects',
                extra={"action": "checkpoint"},
            )
        self._said = forgotten

    async def settle(self) -> None:
        """Leave it to them."""
