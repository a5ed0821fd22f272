"""A node's maintenance of its database: nothing, the database does it."""

import asyncio
from typing import Final

from sqlalchemy import func, select, text

from jobstore.store.expressions import Statement
from jobstore.store.facts import Changes
from jobstore.store.guards import ZERO
from jobstore.store.keeping import Sizes
from jobstore.store.reading import Reader

SIZE: Final = Statement(
    select(func.coalesce(func.sum(func.pg_total_relation_size(text("oid"))), ZERO))
    .select_from(text("pg_class"))
    .where(text("relkind = 'r' AND relnamespace = current_schema()::regnamespace"))
)


class ByItself:
    """See `jobstore.store.keeping`: PostgreSQL vacuums and checkpoints by itself.

    Args:
        reader: reads the sizes of the tables.
        place: where they are, for people.
    """

    engine = "PostgreSQL"

    def __init__(self, reader: Reader, place: str) -> None:
        self._reader = reader
        self.place = place

    async def shrink(self, *, wholly: bool = False) -> int:
        """Do nothing: the database manages its space."""
        return 0

    async def keep_wal_short(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:
        """Do nothing: the database manages its log."""
        return None

    async def renew_mark(self) -> None:
        """Do nothing: a database needs no mark."""

    async def checkpoint(self) -> None:
        """Do nothing: the database makes checkpoints."""

    async def sizes(self) -> Sizes:
        """Return the size of the tables with their indexes."""
        (size,) = await self._reader.row(SIZE)
        return Sizes(int(size))

    def full(self, sizes: Sizes) -> str | None:
        """Return None: only the database knows how much room is left."""
        return None

    def written(self, changes: Changes, /) -> None:
        """Do nothing: nothing depends on it."""
