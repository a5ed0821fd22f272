"""Join a store on PostgreSQL, as one of the nodes that share it."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from jobstore import __version__
from jobstore.live.nodes import Nodes
from jobstore.live.store import Store
from jobstore.live.submissions import Limits
from jobstore.model import clock
from jobstore.model.clock import Clock, ClockWatch
from jobstore.store import claiming, recovery
from jobstore.store.history import History
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.engine import Connection
from jobstore.store.postgresql.keeping import ByItself
from jobstore.store.postgresql.migrate import migrate
from jobstore.store.postgresql.node_writer import NodeWriter
from jobstore.store.postgresql.notices import Notices
from jobstore.store.postgresql.points import points_of
from jobstore.store.steps import AMONG_OTHERS, Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """Where a store is that nodes share.

    Args:
        url: of the database.
        schema: where its tables are.
        name: what this node is called.
        lease: for how long a node may be silent until the others take it for dead, in seconds.
    """

    url: str
    schema: str = "jobstore"
    name: str = ""
    lease: float = 10.0


@asynccontextmanager
async def joined_store(
    database: Database,
    limits: Limits | None = None,
    clock: Clock = clock.now,
    steady: Clock = clock.steady,
) -> AsyncIterator[Store]:
    """Join a store as a node that runs its jobs; create or migrate its schema first.

    Raises:
        StoreError: it is foreign or newer, or cannot be written.
    """
    url, schema = database.url, database.schema
    await asyncio.to_thread(migrate, url, schema)
    async with (
        Connection(url, schema) as connection,
        Connection(url, schema, read_only=True) as reader,
        Connection(url, schema, read_only=True) as searcher,
        Connection(url, schema) as side,
        Connection(url, schema) as notifier,
        Connection(url, schema) as listener,
    ):
        own = OwnBoot()
        writer = NodeWriter(connection, clock, own)

        async def begin() -> int:
            start = {"now": clock(), "pid": os.getpid(), "version": __version__}
            row = await side.row(boots.BEGIN, **start, name=database.name)
            return int(row[0])

        own.number = await begin()
        queued = await writer.run(claiming.count_queued)
        with points_of(url, schema) as points:
            store = Store(
                writer,
                reader,
                points,
                limits or Limits(),
                History(reader, searcher),
                file=ByItself(),
                steps=Steps(writer, AMONG_OTHERS),
                boot=own,
                queued=queued,
                clock=clock,
                watch=ClockWatch(clock, steady),
            )
            nodes = Nodes(writer, side, own, begin, database.lease, store)
            store.beat, store.lease = nodes.beat, nodes.trusted
            notices = Notices(schema, notifier, listener, own, store.heard)
            store.tell(notices.tell)
            listening = asyncio.create_task(notices.listen())
            try:
                yield store
            finally:
                listening.cancel()
                await asyncio.wait([listening])
                await writer.drained()
                boot = own.number
                await writer.run(lambda tx: tx.execute(recovery.END_BOOT, boot=boot, now=tx.now))
                await writer.close()
