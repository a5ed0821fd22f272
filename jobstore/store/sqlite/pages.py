"""How SQLite uses the pages of a file: the WAL, free space, and copies of the whole.

A database server would do all of this by itself.
"""

import os
import sqlite3
from bisect import bisect_left
from collections.abc import Callable
from pathlib import Path
from typing import Final

from jobstore.store.sqlite.names import beside
from jobstore.store.sqlite.translation import translated

# How often in a row `settle` tries to come to the end of a WAL that others write on.
_SETTLE_TRIES: Final = 4


def checkpoint(connection: sqlite3.Connection) -> None:
    """Checkpoint and truncate the WAL, unless somebody is reading.

    It does not wait for readers, since every writer would have to wait as well.
    """
    connection.execute("PRAGMA busy_timeout = 0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def wal_pages(path: Path) -> int:
    """Return how many pages are in a store's WAL, checkpointed or not.

    Once all of it is in the file, the WAL is overwritten from its beginning and keeps its
    length; only pages with the salts of its header belong to it still.
    https://www.sqlite.org/fileformat2.html#wal_file_format

    Raises:
        StoreFailing: the disk returned an error.
    """
    try:
        descriptor = os.open(beside(path, "-wal"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none, or only the writer, which has it open, can check its length
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
    """Return a store's WAL's length and when it was last written; None if it is empty."""
    try:
        wal = beside(path, "-wal").stat()
    except OSError:
        return None
    return (wal.st_size, wal.st_mtime_ns) if wal.st_size else None


def settle(connection: sqlite3.Connection) -> bool:
    """Checkpoint the WAL while others write, so that no writer is delayed by it.

    The little that others add meanwhile is left for the next try. The first try to which
    nothing is added syncs the file.

    Args:
        connection: one that nobody writes on.

    Returns:
        whether nothing was left in the end.
    """
    pages = [move(connection) for _ in range(_SETTLE_TRIES)]
    return pages[-1] == pages[-2]


def move(connection: sqlite3.Connection) -> int:
    """Checkpoint as much of the WAL as possible; return how many pages it had."""
    _, pages, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return int(pages)


def free_pages(connection: sqlite3.Connection) -> int:
    """Return how many pages of a file are free."""
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    return int(free)


def count(connection: sqlite3.Connection) -> int:
    """Return how many pages a file has, including free ones."""
    (count,) = connection.execute("PRAGMA page_count").fetchone()
    return int(count)


def gives_back(connection: sqlite3.Connection) -> bool:
    """Return whether a file can shrink page by page, which was decided when it was created."""
    (auto_vacuum,) = connection.execute("PRAGMA auto_vacuum").fetchone()
    return bool(auto_vacuum)


def give_back(connection: sqlite3.Connection, limit: int) -> int:
    """Shrink a file by moving its last pages to free ones.

    Args:
        connection: a connection in a transaction.
        limit: how many pages at most, not counting pointer map pages.

    Returns:
        by how many pages the file shrank.
    """
    before = count(connection)
    for _ in range(limit):
        # Python takes one step of this statement, and each step gives a single page back.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return before - count(connection)


def rebuild(connection: sqlite3.Connection) -> None:
    """Rewrite a whole file without gaps, so that it can shrink page by page later.

    If that is interrupted, the file stays as it was.
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
        progress: called with the numbers of remaining and of all pages, now and then.
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
