"""What a node does for the database that its store is in: nothing, the database does it."""

import asyncio

from jobstore.store.facts import Changes


class ByItself:
    """See `jobstore.store.keeping`: PostgreSQL vacuums and checkpoints without being told."""

    async def shrink(self, *, wholly: bool = False) -> int:  # noqa: ARG002
        """Give nothing back."""
        return 0

    async def keep_wal_short(self) -> None:
        """Wait until cancelled."""
        await asyncio.Event().wait()

    async def cut_wal(self, seen: tuple[int, int] | None = None) -> tuple[int, int] | None:  # noqa: ARG002
        """Cut nothing."""
        return None

    async def renew_mark(self) -> None:
        """Mark nothing."""

    async def checkpoint(self) -> None:
        """Move nothing."""

    def written(self, changes: Changes, /) -> None:
        """Note nothing."""
