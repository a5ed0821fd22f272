"""New files beside a store, such as copies and exports: whole, or not there at all."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobstore.model.errors import StoreError
from jobstore.store.ownership import give


@contextmanager
def new_file(destination: Path, what: str, *, like: os.stat_result | None = None) -> Iterator[Path]:
    """Yield a new file that replaces a destination if the context ends without an error.

    Only its owner may read it: it contains what the store contains.

    Args:
        what: what is written, in a word.
        like: the file whose owner it gets, even if root writes it.

    Raises:
        StoreError: it cannot be written, or another process writes it.
    """
    partial = destination.with_name(destination.name + ".partial")
    with writing(destination):
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(partial, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        if like is not None:
            give(descriptor, like)
    try:
        with writing(destination):
            if not _claimed(descriptor, partial):
                raise StoreError(destination, f"another {what} is writing {partial.name}")
        try:
            yield partial
            with writing(destination):
                os.fsync(descriptor)
                partial.replace(destination)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        _sync_folder(destination.parent)
    finally:
        os.close(descriptor)


def _claimed(descriptor: int, partial: Path) -> bool:
    """Truncate what an earlier process may have left, unless another one is writing it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not (partial.exists() and os.path.samestat(os.fstat(descriptor), partial.stat())):
        return False
    os.ftruncate(descriptor, 0)
    return True


def check_destination(destination: Path, store: Path | None, *, replace: bool) -> None:
    """Refuse an invalid destination of a new file.

    Args:
        store: the file that it must not replace, if any.
        replace: whether it may replace another file.

    Raises:
        StoreError: the name is taken, or there is no such folder.
    """
    if not destination.parent.is_dir():
        raise StoreError(destination, "its folder does not exist")
    if not destination.exists():
        return
    if store is not None and store.exists() and destination.samefile(store):
        raise StoreError(destination, "this is the store itself; name another file")
    if not destination.is_file():
        raise StoreError(destination, "this is not a file")
    if not replace:
        raise StoreError(destination, "the file exists; --force replaces it")


@contextmanager
def writing(destination: Path) -> Iterator[None]:
    """Add the file's name to errors about writing it."""
    try:
        yield
    except OSError as error:
        raise StoreError(destination, f"cannot write it ({error.strerror})") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
