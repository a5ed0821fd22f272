"""Open a database for reading, beside its nodes or without any."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf

from jobstore.store.history import History
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.migrate import require


@asynccontextmanager
async def open_shared_history(url: str, schema: str) -> AsyncIterator[History]:
    """Open a store for reading, on a connection that cannot write.

    Args:
        schema: the schema with its tables.

    Raises:
        StoreError: it is missing, foreign, of another version, or cannot be reached.
    """
    await asyncio.to_thread(require, url, schema)
    # Whoever looks at everything has the patience for that.
    async with DatabaseConnection(url, schema, read_only=True, patience=inf) as reader:
        yield History(reader)
