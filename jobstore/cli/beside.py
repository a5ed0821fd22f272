"""Open the store for a change, beside its server or without one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.live import Store, shared_store
from jobstore.store.sqlite.migrate import migrate


@asynccontextmanager
async def beside(config: Config, *, create: bool = False) -> AsyncIterator[Store]:
    """Open the configured store for a single change.

    Args:
        config: where it is, and what it takes in.
        create: whether to make it if there is none yet.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    path = config.store.path
    if create and not path.exists():
        migrate(path)
    async with shared_store(path, store_limits(config)) as store:
        yield store
