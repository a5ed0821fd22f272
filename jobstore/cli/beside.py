"""Open a store for a change, with or without a running server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from jobstore.cli.places import place_of
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.live import Store


@asynccontextmanager
async def beside(config: Config, *, create: bool = False) -> AsyncIterator[Store]:
    """Open the configured store for a single change.

    Args:
        config: where it is, and what it accepts.
        create: whether to make it if there is none yet.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    place = place_of(config)
    if create and not place.is_there():
        place.migrate()
    async with place.store(store_limits(config)) as store:
        yield store
