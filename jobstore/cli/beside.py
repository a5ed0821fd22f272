"""Change a store beside its server or without one: open it, and tell what the server would."""

import getpass
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from jobstore.cli.places import Place, place_of
from jobstore.config import Config
from jobstore.config.limits import store_limits
from jobstore.live import Store
from jobstore.model.errors import NoTarget
from jobstore.store.starts import StartState
from jobstore.targets.router import longest

# How many nodes are looked at for one that is alive.
_NODES: Final = 100


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


async def is_served(place: Place) -> bool:
    """Return whether a server runs that starts queued jobs."""
    return any(start.state is StartState.ALIVE for start in await place.starts(_NODES))


def target_of(config: Config, path: str) -> str:
    """Name the target that answers a path; a running server finds its own APIs by itself.

    Raises:
        NoTarget: it does not exist.
    """
    target = longest((target.prefix for target in config.targets), path)
    if target is None:
        raise NoTarget
    return target
