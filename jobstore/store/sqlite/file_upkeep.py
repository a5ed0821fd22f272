"""A server's maintenance of its file: keep it small, and its log short."""

import asyncio
import os
from pathlib import Path
from typing import Final

from jobstore.store.facts import Changes
from jobstore.store.keeping import Sizes
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import mixture, pages
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.lock import is_owned
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.sqlite.wal import Wal
from jobstore.store.steps import ALONE, BESIDE_A_SERVER, FIRST, Pace, Steps
from jobstore.store.transaction import Transaction

# For how long nothing must have come in before the file is made smaller.
QUIET_SECONDS: Final = 0.1
# How often to look at the length of the WAL, while anything is written.
WAL_LOOK_SECONDS: Final = 0.02
# How much of a file may be free for what comes next, in pages and as a part of the whole. Measured:
# where all of it is given back after each purge, storing and purging cost a third more. A round of
# the janitor frees little, by default the 1440th part of a day's payloads, or an hour's if the
# rounds are that rare: 4 %.
_KEPT_PAGES: Final = 256
_KEPT_PART: Final = 0.05
# With less room than that, in bytes, no further jobs are asked for.
LEAST_ROOM: Final = 2**20


def fitting_pace(path: Path) -> Pace:
    """Choose how a command works on a file that a server may own."""
    return BESIDE_A_SERVER if is_owned(path) else ALONE


class FileUpkeep:
    """Keep a file in order.

    Args:
        wal: the log beside it.
        steps: how long each step may take.
        reader: reads it beside the writer.
        largest: how large it may grow, in bytes; 0 means no limit.
    """

    def __init__(
        self,
        writer: FileWriter,
        path: Path,
        wal: Wal,
        steps: Steps,
        *,
        reader: sqlite.Connection,
        largest: int = 0,
    ) -> None:
        self._reader = reader
        self._largest = largest
        self._writer = writer
        self._path = path
        self._wal = wal
        self._steps = steps
        self._renewed: tuple[int, int] | None = None
        self._written = asyncio.Event()

    @property
    def engine(self) -> str:
        """Tell the version of SQLite."""
        return f"SQLite {sqlite.LIBRARY_VERSION}"

    @property
    def place(self) -> str:
        """Name the file."""
        return str(self._path.resolve())

    async def shrink(self, *, wholly: bool = False) -> int:
        """Return free space of the file to the disk, a little at a time, while the server is idle.

        Args:
            wholly: whether to keep nothing in reserve.

        Returns:
            how many bytes were returned; nothing is left to do then.
        """
        given, most = 0, FIRST
        while True:
            await self._quiet()
            done, most = await self._steps.one(
                lambda tx, limit: _give_back(tx, limit, wholly=wholly), most
            )
            if not done:
                break
            given += done
        if given:
            await self.checkpoint()
        return given * sqlite.PAGE_SIZE

    async def _quiet(self) -> None:
        """Wait until the writer has been idle for a moment."""
        while not self._writer.idle:
            await self._writer.drained()
            await asyncio.sleep(QUIET_SECONDS)

    def written(self, _: Changes) -> None:
        """Note that a batch was committed, so the WAL has grown."""
        self._written.set()

    async def keep_wal_short(self) -> None:
        """Move what is in the WAL into the file beside the writer, until cancelled.

        The writer would do so at four times that length, and delay a whole batch.
        """
        while True:
            await self._written.wait()
            self._written.clear()
            await self._wal.keep_short()
            await asyncio.sleep(WAL_LOOK_SECONDS)

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Cut the WAL to nothing if nothing was written since it was seen last.

        Secrets that were erased in the file stay readable in the WAL until then.

        Args:
            seen: the return value of the last call.

        Returns:
            the WAL's length and when it was last written; None if it is empty.
        """
        found = pages.written(self._path)
        if found is None or found != seen or not (self._writer.idle and self._wal.ours):
            return found
        await self.renew_mark()
        await self.checkpoint()
        return pages.written(self._path)

    async def renew_mark(self) -> None:
        """Give the store a new mark, if anything was written since it got the last one here.

        It distinguishes earlier copies from the store; see `mixture`.
        """
        if pages.written(self._path) in {None, self._renewed}:
            return
        await self._writer.run(lambda tx: mixture.renew(connection_of(tx)))
        await self._writer.run(lambda tx: mixture.settle(connection_of(tx)))
        self._renewed = pages.written(self._path)

    async def sizes(self) -> Sizes:
        """Return how much room the file takes, and how much is left."""
        disk, wal = os.statvfs(self._path.parent), pages.written(self._path)
        return Sizes(
            self._path.stat().st_size,
            wal=wal[0] if wal else 0,
            free=await self._reader.call(pages.free_pages) * sqlite.PAGE_SIZE,
            disk=disk.f_bavail * disk.f_frsize,
        )

    def full(self, sizes: Sizes) -> str | None:
        """Return, as a clause, why there is no room left; None if there is."""
        assert sizes.disk is not None
        assert sizes.free is not None
        if sizes.disk < LEAST_ROOM:
            return "the disk is full"
        if self._largest and sizes.file - sizes.free + LEAST_ROOM > self._largest:
            return "the store has grown as large as it may"
        return None

    async def checkpoint(self) -> None:
        """Checkpoint and truncate the WAL, if nothing else is to do."""
        if not self._wal.ours:
            return
        if self._writer.idle:
            await self._wal.settle()
        if self._writer.idle:
            await self._writer.call(pages.checkpoint)


def _give_back(tx: Transaction, limit: int, *, wholly: bool) -> int:
    """Return some of a file's free pages to the disk; return how many.

    Args:
        limit: how many at most.
        wholly: whether to keep none in reserve.
    """
    file = connection_of(tx)
    kept = 0 if wholly else max(_KEPT_PAGES, int(pages.count(file) * _KEPT_PART))
    return pages.give_back(file, min(limit, pages.free_pages(file) - kept))
