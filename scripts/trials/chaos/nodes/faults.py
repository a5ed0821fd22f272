"""What can happen to nodes and to their database, each at a moment that nobody has chosen."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from random import Random
from typing import Any, Final, TypeAlias

from trials.chaos.chance import chosen, stream
from trials.chaos.nodes.cluster import LEASE, Cluster
from trials.chaos.nodes.node import Node

# What happens to a node may take so long that its lease is over, or not.
_SHORT: Final = (0.05, 0.75 * LEASE)
_LONG: Final = (1.25 * LEASE, 3 * LEASE)
_SILENCE: Final = (1.0, 6.0)
_AWAY: Final = (2.0, 8.0)
# How long until the next fault begins, though the last one may not be over yet.
_BETWEEN: Final = (0.1, 2.0)
_LOOK_SECONDS: Final = 0.05
# How long until a node is started again: before others may know, and after.
_DEAD: Final = (0.0, 2 * LEASE)

OfNode: TypeAlias = Callable[[Cluster, Node, Random], Awaitable[None]]
OfDatabase: TypeAlias = Callable[[Cluster, Random], Awaitable[None]]


# --- a node ---------------------------------------------------------------------------------------


async def _kill(cluster: Cluster, node: Node, chance: Random) -> None:
    """Kill it as kill -9 does, and start it again."""
    cluster.stage.totals.kills += 1
    await node.kill()
    await asyncio.sleep(chance.uniform(*_DEAD))
    await node.start()


async def _stop(cluster: Cluster, node: Node, chance: Random) -> None:
    """Ask it to stop, and start it again."""
    del cluster, chance
    await node.stop()
    await node.start()


async def _freeze(cluster: Cluster, node: Node, chance: Random) -> None:
    """Let it stand still for less than its lease."""
    del cluster
    async with node.stopped():
        await asyncio.sleep(chance.uniform(*_SHORT))


async def _freeze_long(cluster: Cluster, node: Node, chance: Random) -> None:
    """Let it stand still for so long that the others take it for dead."""
    del cluster
    async with node.stopped():
        await asyncio.sleep(chance.uniform(*_LONG))


async def _drop(cluster: Cluster, node: Node, chance: Random) -> None:
    """Cut all its connections to the database."""
    del cluster
    node.proxy.drop(reset=bool(chance.getrandbits(1)))


async def _silence(cluster: Cluster, node: Node, chance: Random) -> None:
    """Let nothing through between it and the database, and cut the connections then, or do not."""
    del cluster
    upwards, downwards = chance.choice([(True, True), (True, True), (True, False), (False, True)])
    async with node.proxy.silent(upwards=upwards, downwards=downwards):
        await asyncio.sleep(chance.uniform(*_SILENCE))
    if chance.getrandbits(1):
        node.proxy.drop(reset=True)


# --- the database ---------------------------------------------------------------------------------


async def _restart(cluster: Cluster, chance: Random) -> None:
    """Restart it, so that its sessions end, or as if it had crashed."""
    await asyncio.to_thread(cluster.postgres.stop, chance.choice(["fast", "immediate"]))
    await asyncio.to_thread(cluster.postgres.start)


async def _away(cluster: Cluster, chance: Random) -> None:
    """Leave it stopped for some seconds."""
    await asyncio.to_thread(cluster.postgres.stop, chance.choice(["fast", "immediate"]))
    await asyncio.sleep(chance.uniform(*_AWAY))
    await asyncio.to_thread(cluster.postgres.start)


async def _freeze_database(cluster: Cluster, chance: Random) -> None:
    """Let all its processes stand still: it keeps its connections, and says nothing."""
    with cluster.postgres.frozen():
        await asyncio.sleep(chance.uniform(*_SILENCE))


OF_NODE: Final[Mapping[str, OfNode]] = {
    "kill": _kill,
    "stop": _stop,
    "freeze": _freeze,
    "freeze long": _freeze_long,
    "drop": _drop,
    "silence": _silence,
}
OF_DATABASE: Final[Mapping[str, OfDatabase]] = {
    "restart": _restart,
    "away": _away,
    "freeze database": _freeze_database,
}
_WEIGHTS: Final = {
    "kill": 6,
    "stop": 1,
    "freeze": 2,
    "freeze long": 2,
    "drop": 3,
    "silence": 3,
    "restart": 2,
    "away": 1,
    "freeze database": 1,
}


async def strike(
    cluster: Cluster, faults: int, go_on: Callable[[], bool], kinds: Mapping[str, float] = _WEIGHTS
) -> Counter[str]:
    """Do so much to nodes and database while customers go on; return how often was done what.

    Faults may overlap, but one node is always spared, if there are several, and nothing happens
    twice at the same time to one and the same.

    Args:
        faults: how many at most.
        go_on: whether to begin another one.
        kinds: how likely is what.
    """
    done: Counter[str] = Counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(faults):
            if not go_on():
                break
            chance = stream(cluster.stage.seed, "fault", number)
            name = chosen(chance, kinds)
            done[name] += 1
            tasks.create_task(await _begun(cluster, name, chance))
            await asyncio.sleep(chance.uniform(*_BETWEEN))
            await cluster.revive()
    return done


async def _begun(cluster: Cluster, name: str, chance: Random) -> Coroutine[Any, Any, None]:
    """Wait until something can be done, and give what does it."""
    if name in OF_DATABASE:
        await cluster.away.acquire()
        return _to_database(cluster, name, chance)
    node = await _free(cluster, chance)
    node.struck = name
    return _to_node(cluster, name, node, chance)


async def _to_database(cluster: Cluster, name: str, chance: Random) -> None:
    try:
        with cluster.waits.during(name, "database"):
            await OF_DATABASE[name](cluster, chance)
    finally:
        cluster.away.release()


async def _to_node(cluster: Cluster, name: str, node: Node, chance: Random) -> None:
    try:
        with cluster.waits.during(name, node.name):
            await OF_NODE[name](cluster, node, chance)
    finally:
        node.struck = ""


async def _free(cluster: Cluster, chance: Random) -> Node:
    """Wait until something can be done to a node without leaving none that nothing is done to."""
    while True:
        free = [node for node in cluster.nodes if not node.struck and node.life is not None]
        if len(free) > min(1, len(cluster.nodes) - 1):
            return chance.choice(free)
        await asyncio.sleep(_LOOK_SECONDS)
