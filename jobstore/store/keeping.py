"""Maintenance of the file or database of a store, for both engines."""

from typing import Protocol

from jobstore.model.frozen import frozen
from jobstore.store.facts import Changes


@frozen
class Sizes:
    """The sizes of a store, in bytes; None if the engine does not know.

    Args:
        file: its file, or its tables.
        wal: the log beside the file.
        free: what is free in the file.
        disk: what is free on the disk.
    """

    file: int
    wal: int | None = None
    free: int | None = None
    disk: int | None = None


class Keeping(Protocol):
    """Maintain a store's file or database; methods do nothing where the engine does it itself."""

    @property
    def engine(self) -> str:
        """Return the engine and its version."""

    @property
    def place(self) -> str:
        """Return where it is, for people, without any password."""

    async def shrink(self, *, wholly: bool = False) -> int:
        """Return free space in the file to the disk; return how many bytes."""

    async def keep_wal_short(self) -> None:
        """Checkpoint the WAL in the background, until cancelled."""

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Truncate the WAL if nothing was written since the last look."""

    async def renew_mark(self) -> None:
        """Give the store a new mark, if anything was written since the last one."""

    async def checkpoint(self) -> None:
        """Checkpoint and truncate the WAL, if nothing else is to do."""

    async def sizes(self) -> Sizes:
        """Return the sizes of the store."""

    def full(self, sizes: Sizes) -> str | None:
        """Return, as a clause, why there is no room left; None if there is."""

    def written(self, changes: Changes, /) -> None:
        """Note that a batch was committed."""
