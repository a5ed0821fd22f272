"""Open a store: as the server that owns it, or as a command beside that server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jobstore import __version__, clock
from jobstore.clock import Clock
from jobstore.errors import StoreError
from jobstore.lifecycle import State
from jobstore.store import sqlite
from jobstore.store import statements as sql
from jobstore.store.lock import owned
from jobstore.store.migrate import migrate
from jobstore.store.store import Limits, Store
from jobstore.store.writer import Transaction, Writer


@asynccontextmanager
async def owned_store(
    path: Path, limits: Limits | None = None, clock: Clock = clock.now
) -> AsyncIterator[Store]:
    """Open a store as the one server that runs its jobs; create or migrate it first.

    Args:
        path: the file; its folder must exist.
        limits: what it takes in.
        clock: what time it is.

    Raises:
        StoreError: it is owned, foreign, newer, damaged, or cannot be written.
    """
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist")
    limits = limits or Limits()
    with owned(path):
        await asyncio.to_thread(migrate, path)
        async with _connections(path, limits.size, clock) as (writer, reader):
            boot = await writer.run(_begin_boot)
            store = Store(writer, reader, limits, boot, await _count_queued(reader))
            try:
                yield store
            finally:
                await writer.drained()
                await writer.run(lambda tx: _end_boot(tx, boot))


@asynccontextmanager
async def shared_store(path: Path, clock: Clock = clock.now) -> AsyncIterator[Store]:
    """Open a store for a single change, beside its server or without one.

    Args:
        path: an existing store of this schema version.
        clock: what time it is.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    sqlite.require(path)
    async with _connections(path, 0, clock) as (writer, reader):
        yield Store(writer, reader, Limits(), boot=0, queued=0)


@asynccontextmanager
async def _connections(
    path: Path, max_size: int, clock: Clock
) -> AsyncIterator[tuple[Writer, sqlite.Connection]]:
    async with sqlite.writer(path, max_size) as connection, sqlite.reader(path) as reader:
        writer = Writer(connection, path, clock)
        yield writer, reader
        await writer.drained()


def _begin_boot(tx: Transaction) -> int:
    return tx.insert(sql.BOOT, now=tx.now, pid=os.getpid(), version=__version__)


def _end_boot(tx: Transaction, boot: int) -> None:
    tx.execute(sql.END_BOOT, boot=boot, now=tx.now)


async def _count_queued(reader: sqlite.Connection) -> int:
    rows = await reader.execute_fetchall(sql.COUNTERS.sql)
    return sum(n for machine, state, n in rows if (machine, state) == ("job", State.QUEUED))
