"""Where a store is: in a file, or in a database that nodes share."""

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Optional, Protocol

from jobstore.config import Config
from jobstore.model.frozen import frozen
from jobstore.store import questions
from jobstore.store.history import History
from jobstore.store.optional import with_postgresql
from jobstore.store.search import Death
from jobstore.store.sqlite.lock import is_owned
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.opening import open_history
from jobstore.store.sqlite.serving import running
from jobstore.store.starts import Start

if TYPE_CHECKING:
    from jobstore.cli.databases import InDatabase
    from jobstore.live import Limits, Store


class Place(Protocol):
    """A place that a store is in; its text is its name for people, without any password."""

    @property
    def file(self) -> Path | None:
        """Its file, if it is one, which nothing else must replace."""

    def is_there(self) -> bool:
        """Return whether there is something already."""

    def history(self) -> AbstractAsyncContextManager[History]:
        """Open the store for reading."""

    def store(self, limits: Optional["Limits"] = None) -> AbstractAsyncContextManager["Store"]:
        """Open the store for a single change, beside its server or without one."""

    def migrate(self) -> tuple[int, int]:
        """Create the store or bring it up to date; return the versions before and after."""

    async def death(self, history: History) -> Death:
        """Return which server was the last one that died."""

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of nodes, the newest first; of a file, the one server's."""

    def as_written(self) -> str:
        """Write it as the configuration says it below [store], without any password."""


def place_of(config: Config) -> Place:
    """Return the place of the configured store.

    Raises:
        ConfigError: it is in a database, and what that needs is not installed.
    """
    section = config.store
    return database_of(config) if section.url else InFile(section.path, external=section.external)


def database_of(config: Config) -> "InDatabase":
    """Return the place of a configured store that is in a database.

    Raises:
        ConfigError: what that needs is not installed.
    """
    with with_postgresql():
        from jobstore.cli.databases import InDatabase  # an extra

    return InDatabase(config.store.url, config.store.schema, config.store.lease)


@frozen
class InFile:
    """A store in a file; see `Place`."""

    file: Path
    external: bool = False

    def __str__(self) -> str:
        """Name it for people."""
        return str(self.file)

    def is_there(self) -> bool:
        """Return whether there is such a file."""
        return self.file.exists()

    def history(self) -> AbstractAsyncContextManager[History]:
        """Open it for reading."""
        return open_history(self.file)

    def store(self, limits: Optional["Limits"] = None) -> AbstractAsyncContextManager["Store"]:
        """Open it for a single change."""
        # Whoever only reads does without, and loading it takes a while.
        from jobstore.live import shared_store

        return shared_store(self.file, limits, external=self.external)

    def migrate(self) -> tuple[int, int]:
        """Create it or bring it up to date."""
        return migrate(self.file)

    async def death(self, history: History) -> Death:
        """Return which server was the last one that died."""
        return await questions.death(history, runs=is_owned(self.file))

    async def starts(self, limit: int) -> list[Start]:
        """Return the start of the server that runs, if any."""
        async with self.history() as history:
            return (await running(history, self.file))[:limit]

    def as_written(self) -> str:
        """Write it as the configuration says it."""
        return f"path = {json.dumps(str(self.file))}"
