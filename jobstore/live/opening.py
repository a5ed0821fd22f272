"""Open a store: as the server that owns it, or as a command beside that server."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from jobstore import __version__
from jobstore.live.limits import Limits
from jobstore.live.store import Store
from jobstore.model import clock
from jobstore.model.clock import Clock, ClockWatch
from jobstore.model.errors import StoreError, StoreLost
from jobstore.store import recovery
from jobstore.store.counters import count_queued
from jobstore.store.history import History
from jobstore.store.own_boot import OwnBoot
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import mixture
from jobstore.store.sqlite.file_upkeep import FileUpkeep, fitting_pace
from jobstore.store.sqlite.file_writer import FileWriter
from jobstore.store.sqlite.lock import held, owned
from jobstore.store.sqlite.migrate import migrate
from jobstore.store.sqlite.point_reader import PointReader, point_reading
from jobstore.store.sqlite.presence import Presence
from jobstore.store.sqlite.privacy import keep_private
from jobstore.store.sqlite.transaction import connection_of
from jobstore.store.sqlite.wal import ForeignWal, Wal
from jobstore.store.steps import AMONG_OTHERS, Pace, Steps
from jobstore.store.transaction import Transaction


@asynccontextmanager
async def owned_store(
    path: Path,
    limits: Limits | None = None,
    clock: Clock = clock.now,
    steady: Clock = clock.steady,
    *,
    external: bool = False,
) -> AsyncIterator[Store]:
    """Open a store as the one server that runs its jobs; create or migrate it first.

    Args:
        path: the file; its folder must exist.
        steady: a monotonic clock, to notice when the wall clock is set.
        external: whether another program checkpoints the WAL, such as Litestream.

    Raises:
        StoreError: it is owned, foreign, newer, damaged, or cannot be written.
    """
    if not path.parent.is_dir():
        raise StoreError(path, "its folder does not exist")
    limits = limits or Limits()
    with owned(path, create=True):
        await asyncio.to_thread(migrate, path)
        keep_private(path)
        async with (
            _connections(path, limits.size, clock, external=external) as (
                writer,
                reader,
                points,
                wal,
            ),
            sqlite.reader(path) as searcher,
        ):
            searcher.presence = reader.presence
            boot = await writer.run(_begin_boot)
            await writer.run(lambda tx: mixture.settle(connection_of(tx)))
            queued = await writer.run(count_queued)
            steps = Steps(writer, AMONG_OTHERS, wal.keep_short)
            store = Store(
                writer,
                reader,
                points,
                limits,
                History(reader, searcher),
                file=FileUpkeep(writer, path, wal, steps, reader=reader, largest=limits.size),
                steps=steps,
                boot=OwnBoot(boot),
                queued=queued,
                clock=clock,
                watch=ClockWatch(clock, steady),
            )
            try:
                yield store
            finally:
                await writer.drained()
                with suppress(StoreLost):  # it has been said
                    await writer.run(lambda tx: _end_boot(tx, boot))


@asynccontextmanager
async def shared_store(
    path: Path,
    limits: Limits | None = None,
    clock: Clock = clock.now,
    pace: Pace | None = None,
    *,
    external: bool = False,
) -> AsyncIterator[Store]:
    """Open a store for a single change, beside its server or without one.

    Args:
        path: an existing store of this schema version.
        pace: how long each step may take; None to find out whether a server owns the store.
        external: as in `owned_store`.

    Raises:
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    with held(path):
        sqlite.require(path)
        async with _connections(path, 0, clock, external=external) as opened:
            writer, reader, points, wal = opened
            queued = await writer.run(count_queued)
            steps = Steps(writer, pace or fitting_pace(path), wal.keep_short)
            yield Store(
                writer,
                reader,
                points,
                limits or Limits(),
                History(reader),
                file=FileUpkeep(writer, path, wal, steps, reader=reader),
                steps=steps,
                boot=OwnBoot(),
                queued=queued,
                clock=clock,
                watch=ClockWatch(clock, clock),  # not open for long enough
            )


@asynccontextmanager
async def _connections(
    path: Path, max_size: int, clock: Clock, *, external: bool
) -> AsyncIterator[tuple[FileWriter, sqlite.Connection, PointReader, Wal]]:
    async with (
        sqlite.writer(path, max_size, external=external) as connection,
        sqlite.checkpointer(path) as checkpoints,
        sqlite.reader(path) as reader,
    ):
        await connection.call(sqlite.open_log)
        reader.presence = presence = Presence(path)
        writer = FileWriter(connection, path, clock, presence)
        with point_reading(path, presence, writer.condition) as points:
            wal = (ForeignWal if external else Wal)(writer, path, checkpoints)
            yield writer, reader, points, wal
            await writer.close()


def _begin_boot(tx: Transaction) -> int:
    mixture.renew(connection_of(tx))
    return tx.insert(recovery.BOOT, now=tx.now, pid=os.getpid(), version=__version__)


def _end_boot(tx: Transaction, boot: int) -> None:
    tx.execute(recovery.END_BOOT, boot=boot, now=tx.now)
