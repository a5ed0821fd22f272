"""Where the trial takes place: a database, nodes, customers who ask any of them, and the ledger."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final

from trials import services
from trials.chaos.chance import chosen, stream
from trials.chaos.client import BrokenError
from trials.chaos.customers import Customer
from trials.chaos.evidence import Shared
from trials.chaos.nodes.node import Node, NodeClient
from trials.chaos.nodes.waits import Waits
from trials.chaos.proxy import Proxy, listening
from trials.chaos.rules import Terms
from trials.chaos.stage import Stage
from trials.chaos.submissions import slow_work
from trials.chaos.upstream import Upstream
from trials.postgres import Postgres

LEASE: Final = 2.0
_SETTINGS: Final = {
    "JOBSTORE_STORE__LEASE": f"{LEASE:g}s",
    "JOBSTORE_RETENTION__INTERVAL": "1s",
}
# It waits for so long for the first words on a connection, even if it is to stop.
_POSTGRES: Final = {"authentication_timeout": "3s"}
# How long a customer rests at most between two requests, so that the database is not the limit.
_REST_SECONDS: Final = 0.05
_LATER_SECONDS: Final = 1.0  # where it was told to come again
# For how long customers wait for an answer; most of them for as long as it takes.
_PATIENCE: Final = {None: 8, 0.3: 1, 1.0: 1}
# Of how many jobs whose results nobody has read one is raced for.
_RECENT: Final = 20
# How often a customer asks a node although something is being done to it.
_DARING: Final = 0.3


@dataclass(slots=True)
class Cluster:
    """Nodes on one database, and all that is done to them.

    Args:
        stage: the ledger, the customers and the settings.
        postgres: the database.
        nodes: the nodes.
        waits: how long customers have waited.
        away: whether something is being done to the database.
        open: whether customers go on.
    """

    stage: Stage
    postgres: Postgres
    nodes: list[Node]
    waits: Waits = field(default_factory=Waits)
    away: asyncio.Lock = field(default_factory=asyncio.Lock)
    open: bool = True

    async def revive(self) -> None:
        """Start all nodes again that have ended by themselves."""
        await asyncio.gather(*(node.revive() for node in self.nodes))

    async def load(self) -> None:
        """Let customers ask any node for anything, until there is no more service."""
        customers = enumerate(self.stage.customers)
        await asyncio.gather(
            self.waits.look_at_machine(lambda: self.open),
            self._race(),
            *(self._custom(n, each) for n, each in customers),
        )

    async def _race(self) -> None:
        """Let customers ask all nodes at the same time for one and the same result."""
        stage = self.stage
        chance, ledger = stream(stage.seed, "races"), stage.ledger
        racers = [Customer(stage.seed, -2, stage.ledger, stage.work) for _ in self.nodes]
        while self.open:
            unread = [job_id for job_id in ledger.accepted if not ledger.whole[job_id]]
            job_id = chance.choice(unread[-_RECENT:]) if unread else None
            async with asyncio.TaskGroup() as racing:
                for racer, node in zip(racers, self.nodes, strict=True):
                    if job_id is not None and node.life is not None:
                        client = NodeClient(node, self.waits, None)
                        racing.create_task(_tried(client, racer.try_to_read(client, job_id)))
            await asyncio.sleep(chance.uniform(0, _REST_SECONDS))

    async def _custom(self, number: int, customer: Customer) -> None:
        chance = stream(self.stage.seed, "choices", number)
        while self.open:
            rest = _REST_SECONDS
            if (node := self._chosen(chance)) is not None:
                client = NodeClient(node, self.waits, chosen(chance, _PATIENCE))
                await _tried(client, customer.go_on(client, lambda: False))
                rest = _LATER_SECONDS if client.refused else rest
            await asyncio.sleep(chance.uniform(0, rest))

    def _chosen(self, chance: Random) -> Node | None:
        """Choose a node that lives, and rather one that nothing is done to."""
        living = [node for node in self.nodes if node.life is not None]
        calm = [node for node in living if not node.struck]
        asked = living if chance.random() < _DARING or not calm else calm
        return chance.choice(asked) if asked else None


async def _tried(client: NodeClient, exchange: Awaitable[None]) -> None:
    """Let a customer ask for something, and hang up."""
    try:
        await exchange
    except BrokenError:  # its node was killed, say; it asks another one next
        pass
    finally:
        client.close()


@asynccontextmanager
async def gathered(stage: Stage, nodes: int) -> AsyncIterator[Cluster]:
    """Start a database and nodes, which are all gone when the context ends.

    Args:
        stage: where their files are, and what they are put through.
        nodes: how many.
    """
    stage.terms = Terms(over_sockets=True)
    stage.work = slow_work
    stage.settings |= _SETTINGS
    async with AsyncExitStack() as stack:
        postgres = stack.enter_context(Postgres(durable=True, **_POSTGRES))
        stage.shared = Shared(postgres.url)
        upstream = services.listening(Upstream(stage.witnessed).talk)
        stage.target = ("--upstream", await stack.enter_async_context(upstream))
        cluster = Cluster(stage, postgres, [])
        for number in range(1, nodes + 1):
            way = await stack.enter_async_context(listening(_way(stage, postgres, number)))
            node = Node(number, stage, way)
            stack.push_async_callback(node.kill)
            await node.start()
            cluster.nodes.append(node)
        yield cluster


def _way(stage: Stage, postgres: Postgres, number: int) -> Proxy:
    return Proxy(stage.seed, f"way {number}", f"unix:{postgres.socket}", cutting=False)
