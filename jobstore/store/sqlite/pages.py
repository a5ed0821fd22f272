"""How SQLite uses the pages of a file: the WAL, free space, and copies of the whole.

A database server would do all of this by itself.
"""

import os
import sqlite3
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jobstore.store.sqlite.engine import translated
from jobstore.store.sqlite.names import beside

# How often in a row `settle` tries to come to the end of a WAL that others write on.
_SETTLE_TRIES: Final = 4


def checkpoint(connection: sqlite3.Connection) -> None:
    """Move the WAL into the file and cut it to nothing, unless somebody reads.

    A reader is not waited for, since every writer would have to wait as well.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def wal_pages(path: Path) -> int:
    """Tell how many pages stand in a store's WAL, moved into the file already or not.

    The WAL is written over from its beginning once all of it is in the file, and then keeps its
    length; the salts of its header stand in those of its pages that belong to it still.
    https://www.sqlite.org/fileformat2.html#wal_file_format

    Raises:
        StoreFailing: the disk returned an error.
    """
    try:
        descriptor = os.open(beside(path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none, or the writer, who has it open, will mind it alone
        return 0
    try:
        with translated(path):
            return _valid_frames(descriptor)
    finally:
        os.close(descriptor)


def _valid_frames(wal: int) -> int:
    header = os.pread(wal, 32, 0)
    frame = 24 + int.from_bytes(header[8:12])
    frames = range(32 + 8, os.fstat(wal).st_size, frame)
    return bisect_left(frames, 1, key=lambda at: os.pread(wal, 8, at) != header[16:24])


def written(path: Path) -> tuple[int, int] | None:
    """Tell how long a store's WAL is and when it was last written; None if nothing is in it."""
    try:
        wal = beside(path, "-wal").stat()
    except OSError:
        return None
    return (wal.st_size, wal.st_mtime_ns) if wal.st_size else None


def settle(connection: sqlite3.Connection) -> bool:
    """Move the WAL into the file while others write, so that no writer is held up by it.

    What others add meanwhile is left for the next try, and is little. The disk is waited for by the
    first try that they add nothing to.

    Args:
        connection: one that nobody writes on.

    Returns:
        whether nothing was left in the end.
    """
    pages = [move(connection) for _ in range(_SETTLE_TRIES)]
    return pages[-1] == pages[-2]


def move(connection: sqlite3.Connection) -> int:
    """Move what can be moved from the WAL into the file; return how many pages there were."""
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)


def free_pages(connection: sqlite3.Connection) -> int:
    """Tell how many pages of a file are free."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free)


def count(connection: sqlite3.Connection) -> int:
    """Tell how many pages a file has, free ones and others."""
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    return int(count)


def gives_back(connection: sqlite3.Connection) -> bool:
    """Tell whether a file can be made smaller page by page: that was fixed when it was made."""
    (auto_vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return bool(auto_vacuum)


def give_back(connection: sqlite3.Connection, limit: int) -> int:
    """Cut free pages off a file's end, after moving to them what stands there.

    Args:
        connection: in a transaction.
        limit: how many at most, besides those that only tell where the others belong.

    Returns:
        how many pages the file has less.
    """
    before = count(connection)
    for _ in range(limit):
        # Python takes one step of this statement, and each step gives a single page back.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return before - count(connection)


def rebuild(connection: sqlite3.Connection) -> None:
    """Write a whole file anew, without a gap, and such that it can be made smaller page by page.

    If that breaks off, the file stays as it was.
    """
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("VACUUM")


def backup(
    source: sqlite3.Connection, destination: Path, progress: Callable[[int, int], object]
) -> None:
    """Copy a store into another file as of one moment.

    The read transaction around the copy keeps later commits out of it, so that a busy server does
    not make it start over.

    Args:
        source: a connection to the store.
        destination: a file that does not exist yet.
        progress: told the pages that are left and the pages in all, now and then.
    """
    target = sqlite3.connect(destination)
    try:
        source.execute("BEGIN")
        source.execute("SELECT count(*) FROM boot").fetchone()
        source.backup(target, pages=2048, progress=lambda _, left, total: progress(left, total))
        source.execute("COMMIT")
        # So that it needs no log, and no log that it may come to lie beside is taken for its own.
        target.execute("PRAGMA journal_mode = DELETE")
    finally:
        target.close()
