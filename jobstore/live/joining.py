"""Join a store on PostgreSQL, as one of the nodes that share it."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import field
from socket import gethostname
from types import MappingProxyType
from typing import Any, Final

from jobstore import __version__
from jobstore.live.limits import Limits
from jobstore.live.nodes import Nodes
from jobstore.live.store import Store
from jobstore.model import clock
from jobstore.model.clock import Clock, ClockWatch
from jobstore.model.errors import StoreError
from jobstore.model.frozen import frozen
from jobstore.model.lifecycle import State
from jobstore.store import recovery
from jobstore.store.about import About
from jobstore.store.counters import COUNTERS, count_queued
from jobstore.store.history import History
from jobstore.store.own_boot import OwnBoot
from jobstore.store.postgresql import boots
from jobstore.store.postgresql.database_clock import DatabaseClock
from jobstore.store.postgresql.engine import DatabaseConnection
from jobstore.store.postgresql.keeping import ByItself
from jobstore.store.postgresql.migrate import migrate, named, require
from jobstore.store.postgresql.node_writer import NodeWriter
from jobstore.store.postgresql.notices import Notices
from jobstore.store.postgresql.patience import PATIENCE
from jobstore.store.postgresql.points import NodePoints
from jobstore.store.steps import ALONE, IN_A_NODE, Steps

# All that a node asks for is found by an index, row by row. But PostgreSQL keeps a plan that it has
# made while a table was small, until somebody analyses that, and reads all of the table with it for
# so long. So what counts is how many rows are looked at, and not from how many pages they come; and
# no join reads all of an index.
BY_INDEX: Final = MappingProxyType(
    {
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "seq_page_cost": "0",
        "random_page_cost": "0",
        "cpu_tuple_cost": "0.1",
        "jit": "off",  # it would be put to work by what a plan costs that cannot be avoided
    }
)
# For how long a batch may say nothing to its database on a busy machine, in seconds.
_SHORTEST_SILENCE: Final = 1.0

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Database:
    """The database of a store that nodes share.

    Args:
        url: the database's URL.
        schema: the schema with its tables.
        name: this node's name.
        lease: how long a node may be silent before the others declare it dead, in seconds.
        patience: how long anybody waits for a database that does not answer, in seconds.
    """

    url: str = field(repr=False)
    schema: str = "jobstore"
    name: str = ""
    lease: float = 10.0
    patience: float = PATIENCE

    def connection(
        self, *, read_only: bool = False, settings: Mapping[str, str] = MappingProxyType({})
    ) -> DatabaseConnection:
        """Create a connection to it; see `DatabaseConnection`."""
        return DatabaseConnection(
            self.url,
            self.schema,
            read_only=read_only,
            patience=self.patience,
            settings={**BY_INDEX, **settings},
        )


@asynccontextmanager
async def joined_store(
    database: Database,
    limits: Limits | None = None,
    clock: Clock | None = None,
    steady: Clock = clock.steady,
) -> AsyncIterator[Store]:
    """Join a store as a node that runs its jobs; create or migrate its schema first.

    Args:
        clock: the time, or None for the database's clock.
        steady: a monotonic clock.

    Raises:
        StoreError: it is foreign or newer, or cannot be written.
    """
    await asyncio.to_thread(migrate, database.url, database.schema)
    async with (
        database.connection(settings=_of_writer(database.lease)) as connection,
        database.connection(read_only=True) as reader,
        database.connection(read_only=True) as searcher,
        database.connection() as side,
        database.connection() as listener,
    ):
        database_clock = DatabaseClock(steady)
        await database_clock.look(side)
        time = clock or database_clock
        own, points = OwnBoot(shared=True), NodePoints(reader)
        writer = NodeWriter(connection, time, own, database.patience)

        async def begin(targets: str) -> int:
            who = {"name": database.name, "host": gethostname(), "targets": targets}
            start = {"now": time(), "pid": os.getpid(), "version": __version__}
            row = await side.row(boots.BEGIN, **start, **who)
            return int(row[0])

        others = [boots.Other(*row) for row in await side.rows(boots.OTHERS)]
        own.number = await begin(boots.encode_targets({}))
        await points.refresh()
        store = Store(
            writer,
            reader,
            points,
            limits or Limits(),
            History(reader, searcher),
            file=ByItself(reader, named(database.url, database.schema)),
            steps=Steps(writer, IN_A_NODE),
            boot=own,
            queued=await writer.run(count_queued),
            clock=time,
            # The database's clock is nobody's here to watch.
            watch=ClockWatch(steady, steady) if clock is None else ClockWatch(clock, steady),
        )
        store.since = min([time(), *(other.started_at for other in others)])
        _greet(others, database.name)
        store.others = nodes = Nodes(
            writer,
            side,
            own,
            begin=begin,
            lease=database.lease,
            store=store,
            clock=time,
            look=lambda: database_clock.look(side),
        )

        async def hear(about: About, ids: Sequence[int]) -> None:
            if about is About.HERE:
                nodes.greeted()
            else:
                await store.heard(about, ids)

        notices = Notices(database.schema, side, listener, own, hear=hear, company=nodes.company)
        store.tell(notices.tell)
        try:
            async with _beside(notices.listen(), nodes.tell_deliveries()):
                yield store
        finally:
            await writer.drained()
            await notices.close()
            boot = own.number
            with suppress(StoreError):  # the others find out by themselves
                await writer.run(lambda tx: tx.execute(recovery.END_BOOT, boot=boot, now=tx.now))
            await writer.close()


def _of_writer(lease: float) -> dict[str, str]:
    """Return the settings of a node's writing session.

    A node that freezes in the middle of a batch keeps its own row locked: until that lock is
    released, the others cannot declare it dead.
    """
    silent = max(_SHORTEST_SILENCE, lease / 2)
    return {"idle_in_transaction_session_timeout": f"{silent * 1000:.0f}ms"}


def _greet(others: list[boots.Other], name: str) -> None:
    """Warn of another node with the same name, which may be an earlier start of this one."""
    for other in others:
        if name and other.name == name:
            words = "node %d has the name %s too; if it is gone, it will be declared dead within "
            "a lease"
            log.warning(words, other.boot, name, extra={"action": "node"})


@asynccontextmanager
async def _beside(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something in the background while the context lasts."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


@asynccontextmanager
async def shared_database(
    database: Database,
    limits: Limits | None = None,
    clock: Clock | None = None,
    steady: Clock = clock.steady,
) -> AsyncIterator[Store]:
    """Open a store for a single change, beside its nodes or without any.

    It is not a node: it runs nothing and has no lease. Its reading connection is read-only; its
    writing connection is made at the first write.

    Args:
        clock: the time, or None for the database's clock.

    Raises:
        StoreError: it is missing, foreign, of another version, or cannot be reached.
    """
    await asyncio.to_thread(require, database.url, database.schema)
    connection, teller = database.connection(), database.connection()
    async with database.connection(read_only=True) as reader:
        database_clock = DatabaseClock(steady)
        await database_clock.look(reader)
        time = clock or database_clock
        own, points = OwnBoot(shared=True), NodePoints(reader)
        writer = NodeWriter(connection, time, own, database.patience)
        await points.refresh()
        counters = await reader.rows(COUNTERS)
        store = Store(
            writer,
            reader,
            points,
            limits or Limits(),
            History(reader),
            file=ByItself(reader, named(database.url, database.schema)),
            steps=Steps(writer, ALONE),  # nobody waits for it
            boot=own,
            queued=sum(count for _, state, count in counters if state == State.QUEUED),
            clock=time,
            watch=ClockWatch(steady, steady),  # not open for long enough
        )
        notices = Notices(database.schema, teller, teller, own, hear=store.heard)
        store.tell(notices.tell)
        try:
            yield store
        finally:
            await writer.close()
            await notices.close()
            await connection.drop()
            await teller.drop()
