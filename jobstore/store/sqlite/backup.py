"""Copy a store into another file, whole or not at all."""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobstore.model.errors import StoreError, StoreFull
from jobstore.store.new_file import check_destination, new_file, writing
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.lock import held, is_owned
from jobstore.store.sqlite.names import beside
from jobstore.store.sqlite.translation import translated


class _Stopped(Exception):
    """The copy was abandoned."""


async def back_up(
    path: Path, destination: Path, progress: Callable[[int, int], object], *, replace: bool = False
) -> int:
    """Copy a store as of one moment, beside its server or without one.

    Args:
        path: an existing store of this schema version.
        destination: the copy; it gets its name when it is complete and on the disk.
        progress: called with the numbers of copied and of all pages, from another thread.
        replace: whether the copy may replace a file.

    Returns:
        the copy's size in bytes.

    Raises:
        StoreError: the store cannot be read, or the copy cannot be written.
    """
    with held(path):
        sqlite.require(path)
        with writing(destination):
            check_destination(destination, path, replace=replace)
            _check_unused(destination)
        with new_copy(destination) as partial:
            await copy(path, destination, partial, progress)
    return _size(destination)


def _check_unused(destination: Path) -> None:
    if is_owned(destination):
        raise StoreError(destination, "a server is using this store; stop it first")
    for ending in ("-wal", "-journal"):
        log = beside(destination, ending)
        # SQLite would take it for a part of the copy, and apply it.
        if log.exists() and log.stat().st_size:
            raise StoreError(destination, f"{log.name} lies beside it: the file is in use")


@contextmanager
def new_copy(destination: Path, *, like: os.stat_result | None = None) -> Iterator[Path]:
    """Yield a new file that replaces a destination if the context ends without an error."""
    with new_file(destination, "backup", like=like) as partial:
        try:
            yield partial
        except BaseException:
            # SQLite may have had no room to roll back what it had begun.
            partial.with_name(partial.name + "-journal").unlink(missing_ok=True)
            raise


async def copy(
    path: Path, destination: Path, partial: Path, progress: Callable[[int, int], object]
) -> None:
    """Copy a store into a file that is to become the destination."""
    stopped = False

    def told(left: int, total: int) -> None:
        if stopped:
            raise _Stopped
        progress(total - left, total)

    def copied(connection: sqlite3.Connection) -> None:
        pages.backup(connection, partial, told)

    async with sqlite.reader(path) as reader:
        try:
            with translated(path):
                await reader.call(copied)
        except StoreFull as full:
            raise StoreFull(destination) from full
        except asyncio.CancelledError:
            stopped = True
            raise


def _size(path: Path) -> int:
    return path.stat().st_size
