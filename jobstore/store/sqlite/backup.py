"""Copy a store into another file, whole or not at all."""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from jobstore.model.errors import StoreError, StoreFull
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.lock import beside, held, is_owned


class _Stopped(Exception):
    """Nobody waits for the copy any more."""


async def back_up(
    path: Path, destination: Path, progress: Callable[[int, int], object], *, replace: bool = False
) -> int:
    """Copy a store as it stands at one moment, beside its server or without one.

    Args:
        path: an existing store of this schema version.
        destination: the copy; it gets its name when it is complete and on the disk.
        progress: told how many pages are copied, and how many there are, from another thread.
        replace: whether the copy may replace a file.

    Returns:
        the copy's size in bytes.

    Raises:
        StoreError: the store cannot be read, or the copy cannot be written.
    """
    with held(path):
        sqlite.require(path)
        with _translated(destination):
            _check_destination(path, destination, replace=replace)
        with new_copy(destination) as partial:
            await copy(path, destination, partial, progress)
    return _size(destination)


def _check_destination(path: Path, destination: Path, *, replace: bool) -> None:
    if not destination.parent.is_dir():
        raise StoreError(destination, "its folder does not exist")
    if destination.exists():
        if destination.samefile(path):
            raise StoreError(destination, "this is the store itself; name another file")
        if not destination.is_file():
            raise StoreError(destination, "this is not a file")
        if not replace:
            raise StoreError(destination, "the file exists; --force replaces it")
    if is_owned(destination):
        raise StoreError(destination, "a server owns this store")
    for ending in ("-wal", "-journal"):
        log = beside(destination, ending)
        # SQLite would take it for a part of the copy, and apply it.
        if log.exists() and log.stat().st_size:
            raise StoreError(destination, f"{log.name} lies beside it: the file is in use")


@contextmanager
def new_copy(destination: Path) -> Iterator[Path]:
    """Give a new file beside a destination that takes its place if the context ends well.

    Only its owner may read it: it holds all that the store holds.

    Raises:
        StoreError: it cannot be written, or another process writes it.
    """
    partial = destination.with_name(destination.name + ".partial")
    with _translated(destination):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(partial, flags, 0o600)
        os.fchmod(descriptor, 0o600)
    try:
        with _translated(destination):
            _claim(descriptor, partial, destination)
        try:
            yield partial
            with _translated(destination):
                os.fsync(descriptor)
                partial.replace(destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            # SQLite may have had no room to roll back what it had begun.
            partial.with_name(partial.name + "-journal").unlink(missing_ok=True)
            raise
        _sync_folder(destination.parent)
    finally:
        os.close(descriptor)


def _claim(descriptor: int, partial: Path, destination: Path) -> None:
    """Empty what an earlier backup may have left, unless another one is writing it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        ours = partial.exists() and os.path.samestat(os.fstat(descriptor), partial.stat())
    except BlockingIOError:
        ours = False
    if not ours:
        raise StoreError(destination, f"another backup is writing {partial.name}")
    os.ftruncate(descriptor, 0)


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
            with sqlite.translated(path):
                await reader.call(copied)
        except StoreFull as full:
            raise StoreFull(destination) from full
        except asyncio.CancelledError:
            stopped = True
            raise


@contextmanager
def _translated(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(destination, f"cannot write it ({error.strerror})") from error


def _size(path: Path) -> int:
    return path.stat().st_size


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
