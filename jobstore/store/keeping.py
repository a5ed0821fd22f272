"""What a server does for the file or database that its store is in, for both engines."""

from dataclasses import dataclass
from typing import Protocol

from jobstore.store.facts import Changes


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much room a store takes, in bytes; None is what its engine does not know.

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
    """Keep a store's place in order; what an engine does by itself is nothing here."""

    @property
    def engine(self) -> str:
        """Which engine the store is on, and in which version."""

    @property
    def place(self) -> str:
        """Where it is, for people, without any password."""

    async def shrink(self, *, wholly: bool = False) -> int:
        """Return free space of the file to the disk; return how many bytes."""

    async def keep_wal_short(self) -> None:
        """Move what is in the WAL into the file beside the writer, until cancelled."""

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Cut the WAL to nothing if nothing was written since it was seen last."""

    async def renew_mark(self) -> None:
        """Give the store a new mark, if anything was written since it got the last one here."""

    async def checkpoint(self) -> None:
        """Move the WAL into the file and cut it to nothing, if nothing else is to do."""

    async def sizes(self) -> Sizes:
        """Tell how much room the store takes."""

    def full(self, sizes: Sizes) -> str | None:
        """Tell in a clause why the place has no room left; None if it has."""

    def written(self, changes: Changes, /) -> None:
        """Note that a batch was committed."""
