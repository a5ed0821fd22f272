"""Put a backup in a store's place, whole or not at all, and keep what was there.

The order is such that whatever a crash leaves is complete or is refused: the old file gets a second
name first, and a store with two names is refused (see `lock`); then its log goes to that name;
then the copy takes the first name in one step.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from jobstore.model.clock import iso, now
from jobstore.model.errors import StoreDamaged, StoreError, StoreForeign
from jobstore.model.frozen import frozen
from jobstore.store.facts import Changes
from jobstore.store.sequences import LAST, raise_ids
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.backup import copy, new_copy
from jobstore.store.sqlite.lock import StoreFile, alone, held, owned
from jobstore.store.sqlite.names import beside
from jobstore.store.sqlite.transaction import FileTransaction
from jobstore.store.sqlite.translation import translated

# What SQLite would apply to the copy if it stayed.
_LOGS: Final = ("-wal", "-journal")


@frozen(kw_only=True)
class Replaced:
    """What was put in place.

    Args:
        size: of the store, in bytes.
        aside: where the store is that was there; None if there was none, or it was discarded.
        ids_known: whether the ids are known that were given since the backup; if they are, none
            of them is given again.
    """

    size: int
    aside: Path | None
    ids_known: bool


async def put_in_place(
    path: Path, backup: Path, progress: Callable[[int, int], object], *, discard: bool = False
) -> Replaced:
    """Put a copy of a backup in a store's place; the backup stays as it is.

    Args:
        path: the store, which may be missing, damaged, or mixed with another one's log.
        backup: a store of this schema version or an earlier one.
        progress: told how many pages are copied, and how many there are, from another thread.
        discard: whether to remove what was there.

    Raises:
        StoreInUse: a server owns the store.
        StoreError: another process has it open, the backup cannot be used, or there is no room.
    """
    with _both(path, backup) as file:
        return await _put(file, backup, progress, discard=discard)


@contextmanager
def _both(path: Path, backup: Path) -> Iterator[StoreFile]:
    """Own a store, which is made if it is missing, and hold the backup."""
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist")
    with held(backup), ExitStack() as stack:
        if not sqlite.identify(backup):
            raise StoreForeign(backup)
        if path.exists() and path.samefile(backup):
            raise StoreError(backup, "this is the store itself; name another file")
        is_new = not path.exists()
        file = stack.enter_context(owned(path, create=True, any_name=True))
        if is_new:
            stack.callback(_drop_empty, path)
        yield file


async def _put(
    file: StoreFile, backup: Path, progress: Callable[[int, int], object], *, discard: bool
) -> Replaced:
    path = beside(file.path, "")
    given = await asyncio.to_thread(_given, file)
    with ExitStack() as undoing:
        with alone(file), new_copy(path, like=os.fstat(file.descriptor)) as partial:
            await copy(backup, path, partial, progress)
            await asyncio.to_thread(_prepare, partial, backup, given or {})
            aside = _set_aside(file, path, undoing)
        undoing.pop_all()
    if discard and aside is not None:
        _discard(aside)
        aside = None
    return Replaced(size=_size(path), aside=aside, ids_known=given is not None)


def _given(file: StoreFile) -> Mapping[str, int] | None:
    """Tell the last ids that were given; None if the store cannot tell."""
    if os.fstat(file.descriptor).st_nlink > 1:
        return None
    try:
        if not sqlite.identify(file.path):
            return None
        with (
            translated(file.path),
            closing(sqlite.connect(file.path, "rw", sqlite.READER_PRAGMAS)) as connection,
        ):
            return dict(connection.execute(LAST.sql, LAST.bound({})).fetchall())
    except StoreError:
        return None


def _prepare(partial: Path, backup: Path, given: Mapping[str, int]) -> None:
    """Ensure that a copy is sound, and sync it."""
    with translated(backup), closing(sqlite3.connect(partial)) as connection:
        ((found,),) = connection.execute("PRAGMA integrity_check(1)").fetchall()
        if found != "ok":
            raise StoreDamaged(backup, found)
        with connection:
            raise_ids(FileTransaction(connection, now(), Changes()), given)


def _set_aside(file: StoreFile, path: Path, undoing: ExitStack) -> Path | None:
    """Return what lies there another name, with its log; None if that is nothing."""
    logs = [ending for ending in _LOGS if beside(path, ending).exists()]
    if not logs and not os.fstat(file.descriptor).st_size:
        return None
    aside = _free_name(path)
    try:
        aside.hardlink_to(path)
        undoing.callback(aside.unlink)
        for ending in logs:
            log, kept = beside(path, ending), aside.with_name(aside.name + ending)
            log.rename(kept)
            undoing.callback(kept.rename, log)
        beside(path, "-shm").unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(path, f"cannot rename it ({error.strerror})") from error
    return aside


def _free_name(path: Path) -> Path:
    stamp = iso(now())[:19].replace(":", "")
    names = (f"{path.name}.replaced-{stamp}{f'-{n}' if n else ''}" for n in count())
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def _discard(aside: Path) -> None:
    for ending in ("", *_LOGS):
        aside.with_name(aside.name + ending).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size


def _drop_empty(path: Path) -> None:
    """Leave nothing where nothing was, if that is how it ended."""
    if path.stat().st_size == 0:
        path.unlink()
