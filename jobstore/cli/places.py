"""Where a store is, and what the commands do there: a file, or a database that nodes share."""

import json
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from jobstore.config import Config
from jobstore.live import Limits, Store, shared_store
from jobstore.live.opening import with_postgresql
from jobstore.live.purging import Purged, purge
from jobstore.store import questions
from jobstore.store.checks import CheckReport
from jobstore.store.history import History, open_history
from jobstore.store.moving import Destination, Source
from jobstore.store.search import Death
from jobstore.store.sqlite import moving
from jobstore.store.sqlite.backup import back_up
from jobstore.store.sqlite.checkup import check
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.replacing import Replaced, put_in_place
from jobstore.store.sqlite.serving import running
from jobstore.store.starts import Start

CheckProgress = Callable[[str, int, int], object]
CopyProgress = Callable[[int, int], object]


class Place(Protocol):
    """A place that a store is in; its text is its name for people, without any password."""

    def is_there(self) -> bool:
        """Tell whether there is something already."""

    @property
    def file(self) -> Path | None:
        """Its file, if it is one, which nothing else must replace."""

    def history(self) -> AbstractAsyncContextManager[History]:
        """Open the store for reading."""

    def store(self, limits: Limits | None = None) -> AbstractAsyncContextManager[Store]:
        """Open the store for a single change, beside its server or without one."""

    def migrate(self) -> tuple[int, int]:
        """Create the store or bring it up to date; return the versions before and after."""

    async def death(self, history: History) -> Death:
        """Tell which server was the last one that died."""

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of nodes, the newest first; of a file, the one server's."""

    async def purge(self, before: int, *, rebuild: bool) -> Purged:
        """Delete payloads unavailable since before a time, and free their space."""

    async def check(self, progress: CheckProgress) -> CheckReport:
        """Look for damage."""

    def take_in(self, lines: Iterable[bytes], progress: Callable[[int], object]) -> tuple[int, int]:
        """Take exported history in; return how many jobs were imported, and left out."""

    async def back_up(self, copy: Path, progress: CopyProgress, *, replace: bool) -> int:
        """Copy the store to a file; return its size."""

    async def restore(self, backup: Path, progress: CopyProgress, *, discard: bool) -> Replaced:
        """Put a copy of a backup in the store's place."""

    def read_whole(self) -> AbstractContextManager[Source]:
        """Read all of the store as it stands at one moment, while nobody else may use it."""

    def written_whole(self) -> AbstractContextManager[Destination]:
        """Write all of an empty store, which is made first if there is none."""

    def as_written(self) -> str:
        """Write it as the configuration says it below [store], without any password."""


def place_of(config: Config) -> Place:
    """Give the place of the configured store.

    Raises:
        ConfigError: it is in a database, and what that needs is not installed.
    """
    if not config.store.url:
        return InFile(config.store.path)
    with with_postgresql():
        from jobstore.cli.databases import InDatabase  # noqa: PLC0415 - an extra

    section = config.store
    return InDatabase(section.url, section.schema, section.lease)


@dataclass(frozen=True, slots=True)
class InFile:
    """A store in a file; see `Place`."""

    file: Path

    def __str__(self) -> str:
        """Name it for people."""
        return str(self.file)

    def is_there(self) -> bool:
        """Tell whether there is such a file."""
        return self.file.exists()

    def history(self) -> AbstractAsyncContextManager[History]:
        """Open it for reading."""
        return open_history(self.file)

    def store(self, limits: Limits | None = None) -> AbstractAsyncContextManager[Store]:
        """Open it for a single change."""
        return shared_store(self.file, limits)

    def migrate(self) -> tuple[int, int]:
        """Create it or bring it up to date."""
        return migrate(self.file)

    async def death(self, history: History) -> Death:
        """Tell which server was the last one that died."""
        return await questions.death(history, self.file)

    async def starts(self, limit: int) -> list[Start]:
        """Give the start of the server that runs, if any."""
        async with self.history() as history:
            return (await running(history, self.file))[:limit]

    async def purge(self, before: int, *, rebuild: bool) -> Purged:
        """Delete payloads, and make the file smaller."""
        return await purge(self.file, before, rebuild=rebuild)

    async def check(self, progress: CheckProgress) -> CheckReport:
        """Look for damage."""
        return await check(self.file, progress)

    def take_in(self, lines: Iterable[bytes], progress: Callable[[int], object]) -> tuple[int, int]:
        """Take exported history in."""
        # Only one command needs it, and loading it takes a while.
        from jobstore.store.importing import import_history  # noqa: PLC0415

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

    def as_written(self) -> str:
        """Write it as the configuration says it."""
        return f"path = {json.dumps(str(self.file))}"
