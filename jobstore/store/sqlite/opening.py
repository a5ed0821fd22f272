"""Open a file for reading, beside its server or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jobstore.store.history import History
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite.lock import held


@asynccontextmanager
async def open_history(path: Path) -> AsyncIterator[History]:
    """Open a store for reading, beside its server or without one.

    Args:
        path: an existing store of this schema version.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    with held(path):
        sqlite.require(path)
        async with sqlite.reader(path) as reader:
            yield History(reader)
