"""The file beside a store that tells people who owns it; `lock` says what it is worth."""

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import Final

from jobstore.model.errors import StoreInUse
from jobstore.store.ownership import give
from jobstore.store.sqlite.names import lock_file

_PIDS: Final = re.compile(rb"\d{0,20}\n?")

log = logging.getLogger(__name__)


@contextmanager
def announced(path: Path) -> Iterator[None]:
    """Write the owner's pid beside a store, and keep out servers of earlier versions.

    Raises:
        StoreInUse: such a server owns it.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(lock_file(path), flags, 0o600)
    except OSError as error:
        log.warning("%s: cannot write the process id to it (%s)", lock_file(path), error.strerror)
        yield
        return
    try:
        if _is_ours(descriptor):
            _write_pid(descriptor, path)
        else:
            log.warning("%s: not ours, left as it is", lock_file(path))
        yield
    finally:
        os.close(descriptor)


def _is_ours(descriptor: int) -> bool:
    return S_ISREG(os.fstat(descriptor).st_mode) and bool(
        _PIDS.fullmatch(os.pread(descriptor, 32, 0))
    )


def _write_pid(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise StoreInUse(path, int(os.pread(descriptor, 32, 0) or b"0") or None) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    give(descriptor, path.stat())
