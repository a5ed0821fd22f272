"""Stores in a database, for the commands; imported only if a URL names one."""

import asyncio
import json
import shlex
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import field
from pathlib import Path
from typing import NoReturn

from jobstore.cli.plain import Complaint
from jobstore.cli.tending import CheckProgress, CopyProgress, JobProgress
from jobstore.config.sections import StoreSection
from jobstore.live import Limits, Store
from jobstore.live.joining import Database, shared_database
from jobstore.live.purging import Purged
from jobstore.model.errors import StoreMissing
from jobstore.model.frozen import frozen
from jobstore.store.checks import CheckReport
from jobstore.store.history import History
from jobstore.store.moving import Destination, Source
from jobstore.store.postgresql import moving, nodes
from jobstore.store.postgresql.checkup import check
from jobstore.store.postgresql.database_url import has_secrets, name_of, without_secrets
from jobstore.store.postgresql.migrate import migrate, require
from jobstore.store.postgresql.opening import open_shared_history
from jobstore.store.search import Death
from jobstore.store.sqlite.replacing import Replaced
from jobstore.store.starts import Start


@frozen
class InDatabase:
    """A store in a database; see `jobstore.cli.tending.Tended`.

    Args:
        lease: how long a node may be silent before the others declare it dead, in seconds.
    """

    url: str = field(repr=False)
    schema: str
    lease: float

    def __str__(self) -> str:
        """Name it for people."""
        return name_of(self.url)

    @property
    def file(self) -> None:
        """It has no file."""

    def is_there(self) -> bool:
        """Return whether there is such a schema."""
        try:
            require(self.url, self.schema)
        except StoreMissing:
            return False
        return True

    def history(self) -> AbstractAsyncContextManager[History]:
        """Open it for reading."""
        return open_shared_history(self.url, self.schema)

    def store(self, limits: Limits | None = None) -> AbstractAsyncContextManager[Store]:
        """Open it for a single change."""
        return shared_database(Database(url=self.url, schema=self.schema), limits)

    def migrate(self) -> tuple[int, int]:
        """Create its schema or bring it up to date."""
        return migrate(self.url, self.schema)

    async def death(self, history: History) -> Death:
        """Return which node was the last one that died."""
        return await nodes.last_death(history, self.lease)

    async def starts(self, limit: int) -> list[Start]:
        """List the newest starts of nodes, the newest first."""
        async with self.history() as history:
            return await nodes.latest(history, limit, self.lease)

    async def purge(self, before: int, *, rebuild: bool) -> Purged:
        """Delete payloads."""
        if rebuild:
            await asyncio.to_thread(require, self.url, self.schema)
            self._refuse(
                "--rebuild is for files",
                f"psql {self._quoted()} -c 'VACUUM (FULL, ANALYZE)' shrinks the tables, and locks "
                "each of them meanwhile",
            )
        async with self.store() as store:
            payloads = await store.upkeep.purge(before)
            await store.upkeep.sweep()  # but for what nodes receive
            return Purged(payloads=payloads)

    async def check(self, progress: CheckProgress) -> CheckReport:
        """Check for damage."""
        async with self.history() as history:
            return await check(history, progress)

    def take_in(self, lines: Iterable[bytes], progress: JobProgress) -> tuple[int, int]:
        """Import exported history."""
        # Only one command needs it, and loading it takes a while.
        from jobstore.store.postgresql.importing import import_lines

        imported = import_lines(self.url, self.schema, self.lease, lines, progress)
        return imported.jobs, imported.left_out

    async def back_up(self, copy: Path, progress: CopyProgress, *, replace: bool) -> int:
        """Refuse: PostgreSQL has a program for it."""
        self._refuse(
            "back up a database with PostgreSQL's own program",
            f"pg_dump {self._quoted()} --schema={self.schema} --format=custom "
            f"--file={shlex.quote(str(copy))}",
        )

    async def restore(self, backup: Path, progress: CopyProgress, *, discard: bool) -> Replaced:
        """Refuse: PostgreSQL has a program for it."""
        self._refuse(
            "restore a database with PostgreSQL's own program, after dropping the schema",
            f"pg_restore --dbname={self._quoted()} {shlex.quote(str(backup))}",
        )

    def read_whole(self) -> AbstractContextManager[Source]:
        """Read all of it."""
        return moving.reading(self.url, self.schema, self.lease)

    def written_whole(self) -> AbstractContextManager[Destination]:
        """Write all of it."""
        return moving.writing(self.url, self.schema, self.lease)

    def as_written(self) -> str:
        """Write it as the configuration says it."""
        url = f"url = {json.dumps(without_secrets(self.url))}"
        if has_secrets(self.url):
            url += "  # and the password here, in PGPASSWORD or in a password file"
        is_usual = self.schema == StoreSection().schema
        return url if is_usual else f"{url}\nschema = {json.dumps(self.schema)}"

    def _quoted(self) -> str:
        return shlex.quote(without_secrets(self.url))

    def _refuse(self, why: str, instead: str) -> NoReturn:
        raise Complaint(f"{self}: {why}: {instead}")
