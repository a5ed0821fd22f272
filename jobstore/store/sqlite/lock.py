"""Which file a store is, and which process owns it: decided by the file itself, whatever its name.

A server owns the *file*, not a name of it: it holds a lock on the store's own inode, which is the
same through a symlink, a hard link or a bind mount, and which nobody can remove. The lock is an
open file description lock (fcntl(2)) on bytes far beyond the end of any database. It conflicts
with none of SQLite's locks, disappears with the process however that ends, and can be examined
without being taken. It is 1 + pid bytes long, so the kernel tells whose it is.

``jobs.db.lock`` beside the store contains the owner's process id for people, and a flock(2) lock,
by which earlier versions of jobstore keep away from each other. Nothing else depends on it: it may
be removed, and anything else under its name, a link or somebody's file, is left as it is.

SQLite's own locks are those of POSIX: **closing any descriptor of a file drops all the locks that
the process has on it** (https://www.sqlite.org/howtocorrupt.html, section 2.2), whereupon another
process may remove the log of a running server. So a store is opened with SQLite only within `held`
or `owned`, and what is opened here is closed only when nothing in this process has that file open
any more. That makes the one table of this module global: these locks belong to the process.

SQLite keeps its log beside the *name* by which it opened a file, once symlinks are resolved. By a
second name, another hard link or the mount point of a single file, it would not see the log and
damage the store. Such a store is refused before SQLite opens it.
"""

import fcntl
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jobstore.model.errors import StoreError, StoreInUse, StoreMissing
from jobstore.model.frozen import frozen
from jobstore.store.ownership import give
from jobstore.store.sqlite.announcing import announced
from jobstore.store.sqlite.names import beside, is_mounted

# Where the owner's lock begins. The largest database ends at 2**48:
# https://www.sqlite.org/limits.html
_OWNERS: Final = 1 << 62
# What SQLite locks: https://www.sqlite.org/fileformat2.html#the_lock_byte_page
_SQLITES: Final = (0x4000_0000, 512)
# struct flock: type, whence, start, length, pid.
_FLOCK: Final = "hhqqi4x"


@dataclass(slots=True)
class _OpenFile:
    """What this process has open of one file."""

    descriptors: list[int] = field(default_factory=list)
    users: int = 0
    owned: bool = False


_files: Final[dict[tuple[int, int], _OpenFile]] = {}  # by device and inode
_guard: Final = threading.Lock()


@frozen
class StoreFile:
    """A store's file, held open.

    Args:
        path: the name by which it was opened.
        descriptor: the file's descriptor; it must not be closed.
        identity: device and inode.
    """

    path: Path
    descriptor: int
    identity: tuple[int, int]


@contextmanager
def held(path: Path, *, create: bool = False) -> Iterator[StoreFile]:
    """Hold a store's file while SQLite has it open: enter this first and leave it last.

    Args:
        create: whether to make an empty file if it does not exist.

    Raises:
        StoreMissing: there is no such file.
        StoreError: it is no file, cannot be opened, or goes by more than one name.
    """
    with _held(path, os.O_RDONLY, create=create) as file:
        _refuse_second_name(file)
        yield file


@contextmanager
def owned(path: Path, *, create: bool = False, any_name: bool = False) -> Iterator[StoreFile]:
    """Hold a store's file, and own it, while the context lasts.

    Args:
        create: whether to make an empty file if it does not exist.
        any_name: whether to take it though it goes by more than one name; then SQLite must not
            open it.

    Raises:
        StoreInUse: another server owns it.
        StoreMissing: there is no such file.
        StoreError: it is no file, cannot be opened, or goes by more than one name.
    """
    with ExitStack() as stack:
        file = stack.enter_context(_held(path, os.O_RDWR, create=create))
        stack.enter_context(_locked(file))
        if not any_name:
            _refuse_second_name(file)
        stack.enter_context(announced(path))
        yield file


@contextmanager
def alone(file: StoreFile) -> Iterator[None]:
    """Keep SQLite from opening a store, in any process, while the context lasts.

    Raises:
        StoreError: a process has it open already.
    """
    try:
        _lock(file.descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, *_SQLITES)
    except BlockingIOError as error:
        _, _, pid = _lock(file.descriptor, fcntl.F_OFD_GETLK, fcntl.F_WRLCK, *_SQLITES)
        who = f"the process {pid}" if pid > 0 else "another process"
        raise StoreError(file.path, f"{who} has it open; wait until it ends") from error
    try:
        yield
    finally:
        _lock(file.descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, *_SQLITES)


def is_owned(path: Path) -> bool:
    """Return whether a server owns a store at the moment, in this process or another one."""
    return owner(path) is not None


def owner(path: Path) -> int | None:
    """Return the process id of the server that owns a store now; None if there is none."""
    try:
        with _opened(path) as descriptor:
            return _owner(descriptor)
    except OSError:  # there is none, or none that we may ask
        return None


def beginning(path: Path, size: int) -> bytes:
    """Read the first bytes of a store's file."""
    with _opened(path) as descriptor:
        return os.pread(descriptor, size, 0)


# --- descriptors --------------------------------------------------------------------------------


@contextmanager
def _held(path: Path, flags: int, *, create: bool) -> Iterator[StoreFile]:
    if path.exists() and not path.is_file():
        raise StoreError(path, "this is not a file")
    try:
        if create:
            _create(path)
        descriptor, identity = _enter(path, flags)
    except FileNotFoundError as error:
        raise StoreMissing(path) from error
    except OSError as error:
        raise StoreError(path, f"cannot open it ({error.strerror})") from error
    try:
        yield StoreFile(path, descriptor, identity)
    finally:
        _leave(identity)


def _create(path: Path) -> None:
    real = beside(path, "")
    try:
        descriptor = os.open(real, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        give(descriptor, real.parent.stat())
    finally:
        os.close(descriptor)


def _enter(path: Path, flags: int) -> tuple[int, tuple[int, int]]:
    with _guard:
        known = _files.get(_identity(path.stat()))
        if known is None or flags != os.O_RDONLY:
            descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK)
            known = _files.setdefault(_identity(os.fstat(descriptor)), _OpenFile())
            known.descriptors.append(descriptor)
        known.users += 1
        return known.descriptors[-1], _identity(os.fstat(known.descriptors[-1]))


def _leave(identity: tuple[int, int]) -> None:
    with _guard:
        file = _files[identity]
        file.users -= 1
        if not file.users:
            del _files[identity]
            for descriptor in file.descriptors:
                os.close(descriptor)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a descriptor of a file; this process's own if it holds the file."""
    with _guard:
        known = _files.get(_identity(path.stat()))
        if known is not None:
            yield known.descriptors[0]
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def _identity(stat: os.stat_result) -> tuple[int, int]:
    return stat.st_dev, stat.st_ino


# --- the owner's lock ---------------------------------------------------------------------------


@contextmanager
def _locked(file: StoreFile) -> Iterator[None]:
    ours = _files[file.identity]
    with _guard:
        if ours.owned:
            raise StoreInUse(file.path, os.getpid())
        try:
            _lock(file.descriptor, fcntl.F_OFD_SETLK, fcntl.F_WRLCK, _OWNERS, 1 + os.getpid())
        except BlockingIOError as error:
            raise StoreInUse(file.path, _owner(file.descriptor)) from error
        except OSError as error:
            raise StoreError(file.path, f"cannot lock it ({error.strerror})") from error
        ours.owned = True
    try:
        yield
    finally:
        with _guard:
            ours.owned = False
            # The descriptor may stay open for others in this process.
            _lock(file.descriptor, fcntl.F_OFD_SETLK, fcntl.F_UNLCK, _OWNERS, 1 + os.getpid())


def _owner(descriptor: int) -> int | None:
    """Return the process id of the lock's owner."""
    ours = _files.get(_identity(os.fstat(descriptor)))
    if ours is not None and ours.owned:
        return os.getpid()
    kind, length, _ = _lock(descriptor, fcntl.F_OFD_GETLK, fcntl.F_RDLCK, _OWNERS, 1)
    return None if kind == fcntl.F_UNLCK else length - 1


def _lock(
    descriptor: int, command: int, kind: int, start: int, length: int
) -> tuple[int, int, int]:
    """Set or query a lock; return the kind, length and pid of a conflicting one."""
    wanted = struct.pack(_FLOCK, kind, os.SEEK_SET, start, length, 0)
    found, _, _, found_length, pid = struct.unpack(_FLOCK, fcntl.fcntl(descriptor, command, wanted))
    return found, found_length, pid


# --- names --------------------------------------------------------------------------------------


def _refuse_second_name(file: StoreFile) -> None:
    names = os.fstat(file.descriptor).st_nlink
    if names > 1:
        problem = f"the file has {names} names (hard links); remove all but the store's own"
    elif is_mounted(file.path):
        problem = "the file is mounted by itself; mount its folder instead"
    else:
        return
    with _guard:
        pid = _owner(file.descriptor)
    by = (
        f"the server with process id {pid} is using it"
        if pid and pid != os.getpid()
        else "nothing was done"
    )
    raise StoreError(file.path, f"{problem}, since SQLite keeps a log beside each name; {by}")
