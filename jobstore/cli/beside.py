"""Open the store for a change, beside its server or without one, and say who wants that."""

import getpass
import os
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


def operator() -> str:
    """Return the user who runs the command, as far as the system knows."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
