"""What the errors of SQLite and of the disk mean for a store."""

import os
import resource
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from jobstore.model.errors import (
    JobstoreError,
    StoreAtLimit,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFailing,
    StoreFull,
)

# A disk with less room than this is taken to be full where SQLite says only that it failed.
_HARDLY_ROOM: Final = 256 * 1024
_PRIMARY_CODE_MASK: Final = 0xFF


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Translate errors of SQLite and of the disk into those of the store."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(path, error) from error


def translate(path: Path, error: sqlite3.Error | OSError) -> JobstoreError:
    """Return the store's error for one of SQLite or of the disk."""
    if isinstance(error, OSError):
        return StoreFailing(path, str(error.strerror))
    match primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(path)
        case sqlite3.SQLITE_FULL:  # of the disk, or by max_page_count: sqlite.org/rescode.html#full
            return StoreFull(path) if _is_full(path) else StoreAtLimit(path)
        case sqlite3.SQLITE_IOERR:
            return StoreFull(path) if _is_full(path) else StoreFailing(path, _named(error))
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreDamaged(path, str(error))
    return StoreError(path, str(error))


def primary_code(error: sqlite3.Error) -> int:
    """Return an error's primary result code: sqlite.org/rescode.html."""
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE_MASK


def _is_full(path: Path) -> bool:
    """Return whether a failed write means a full disk: SQLite does not say why it failed."""
    if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY:
        return True
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _HARDLY_ROOM


def _named(error: sqlite3.Error) -> str:
    """Add SQLite's name for an error, such as SQLITE_IOERR_FSYNC, which says what it tried."""
    name = getattr(error, "sqlite_errorname", "")
    return f"{error}, {name}" if name else str(error)
