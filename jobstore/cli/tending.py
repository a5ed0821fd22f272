"""Maintenance of a store as a whole, in a file or in a database."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from jobstore.cli.places import InFile, Place, database_of
from jobstore.config import Config
from jobstore.live.purging import Purged, purge
from jobstore.model.frozen import frozen
from jobstore.store.checks import CheckReport
from jobstore.store.moving import Destination, Source
from jobstore.store.sqlite import moving
from jobstore.store.sqlite.backup import back_up
from jobstore.store.sqlite.checkup import check
from jobstore.store.sqlite.replacing import Replaced, put_in_place

CheckProgress = Callable[[str, int, int], object]
CopyProgress = Callable[[int, int], object]
JobProgress = Callable[[int], object]


class Tended(Place, Protocol):
    """A place whose store is looked after; what its engine has programs for is refused."""

    async def purge(self, before: int, *, rebuild: bool) -> Purged:
        """Delete payloads unavailable since before a time, and free their space."""

    async def check(self, progress: CheckProgress) -> CheckReport:
        """Check for damage."""

    def take_in(self, lines: Iterable[bytes], progress: JobProgress) -> tuple[int, int]:
        """Import exported history; return how many jobs were imported, and left out."""

    async def back_up(self, copy: Path, progress: CopyProgress, *, replace: bool) -> int:
        """Copy the store to a file; return its size."""

    async def restore(self, backup: Path, progress: CopyProgress, *, discard: bool) -> Replaced:
        """Put a copy of a backup in the store's place."""

    def read_whole(self) -> AbstractContextManager[Source]:
        """Read the whole store as of one moment, while nothing else may use it."""

    def written_whole(self) -> AbstractContextManager[Destination]:
        """Write all of an empty store, created first if necessary."""


def tended(config: Config) -> Tended:
    """Return the place of the configured store.

    Raises:
        ConfigError: it is in a database, and what that needs is not installed.
    """
    return database_of(config) if config.store.url else TendedFile(config.store.path)


@frozen
class TendedFile(InFile):
    """A store in a file; see `Tended`."""

    async def purge(self, before: int, *, rebuild: bool) -> Purged:
        """Delete payloads, and make the file smaller."""
        return await purge(self.file, before, rebuild=rebuild)

    async def check(self, progress: CheckProgress) -> CheckReport:
        """Check for damage."""
        return await check(self.file, progress)

    def take_in(self, lines: Iterable[bytes], progress: JobProgress) -> tuple[int, int]:
        """Import exported history."""
        # Only one command needs it, and loading it takes a while.
        from jobstore.store.sqlite.importing import import_history

        imported = import_history(self.file, lines, progress)
        return imported.jobs, imported.left_out

    async def back_up(self, copy: Path, progress: CopyProgress, *, replace: bool) -> int:
        """Copy it to another file."""
        return await back_up(self.file, copy, progress, replace=replace)

    async def restore(self, backup: Path, progress: CopyProgress, *, discard: bool) -> Replaced:
        """Put a copy of a backup in its place."""
        return await put_in_place(self.file, backup, progress, discard=discard)

    def read_whole(self) -> AbstractContextManager[Source]:
        """Read all of it."""
        return moving.reading(self.file)

    def written_whole(self) -> AbstractContextManager[Destination]:
        """Write all of it."""
        return moving.writing(self.file)
