"""The owner's lock: one server a file, told at once."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobstore.errors import StoreError, StoreInUse


@contextmanager
def owned(path: Path) -> Iterator[None]:
    """Own a store while the context lasts, by an advisory lock on a file beside it.

    The lock goes with the process, however that ends; the file with the owner's pid stays.

    Args:
        path: the store.

    Raises:
        StoreInUse: another server owns it.
        StoreError: the lock's file cannot be written.
    """
    try:
        descriptor = os.open(lock_file(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        problem = f"cannot write beside it ({error.strerror})"
        raise StoreError(path, problem) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreInUse(path, _pid(os.pread(descriptor, 32, 0))) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def is_owned(path: Path) -> bool:
    """Tell whether a server owns a store just now."""
    try:
        descriptor = os.open(lock_file(path), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no server has ever owned it, or none that we could ask
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def lock_file(path: Path) -> Path:
    """Name the file that carries the lock of a store."""
    return path.with_name(path.name + ".lock")


def _pid(content: bytes) -> int | None:
    text = content.strip()
    return int(text) if text.isdigit() else None
