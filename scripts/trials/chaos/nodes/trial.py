"""A trial of nodes: faults while customers ask them, quiet, and a verdict."""

import asyncio
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobstore.model.job import Failure
from trials.chaos import evidence
from trials.chaos.evidence import Evidence
from trials.chaos.nodes.cluster import Cluster, gathered
from trials.chaos.nodes.faults import strike
from trials.chaos.nodes.waits import Limits, Waits
from trials.chaos.rules import violations
from trials.chaos.settling import settled, until
from trials.chaos.stage import Stage
from trials.chaos.timelines import stories as stories_of

_CUSTOMERS: Final = 8  # for each node
# How long all work may take to end once nothing is done to the nodes any more.
_QUIET_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a trial went.

    Args:
        faults: how often was done what.
        nodes: how many there were.
        jobs: how many jobs were acknowledged.
        ended: how many jobs there were in the end, by state.
        interrupted: how many failed since they may not be sent again.
        again: how many were sent again.
        read: how many results were read to their end.
        unread: how many were marked as taken before anybody had read them.
        waits: how long customers have waited.
        quiet: how long it took until no job ran or waited, in seconds.
        violations: what was wrong, a sentence each.
        folder: where ledger and logs are kept, if anything was wrong.
        seconds: how long it took.
    """

    faults: Counter[str]
    nodes: int
    jobs: int
    ended: Counter[str]
    interrupted: int
    again: int
    read: int
    unread: int
    waits: Waits
    quiet: float
    violations: Sequence[str]
    folder: Path | None
    seconds: float


async def play(
    seed: int,
    nodes: int,
    faults: int,
    go_on: Callable[[], bool],
    limits: Limits,
) -> Outcome:
    """Put nodes through faults.

    Args:
        seed: what decides.
        nodes: how many.
        faults: how many faults at most.
        go_on: whether to begin another fault.
        limits: how long a client may wait.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="chaos-nodes-"))
    stage = Stage(seed, folder, crowd=nodes * _CUSTOMERS)
    async with gathered(stage, nodes) as cluster:
        done = await _loaded(cluster, faults, go_on)
        quiet = await _quiet(cluster)
        found = await settled(stage)
    broken = _broken(cluster, found)
    broken += cluster.waits.too_long(limits)
    _keep(stage, found, broken)
    return Outcome(
        faults=done,
        nodes=nodes,
        jobs=len(stage.ledger.accepted) + len(stage.ledger.unnamed),
        ended=Counter(job.state for job in found.jobs.values()),
        interrupted=sum(job.failure == Failure.INTERRUPTED for job in found.jobs.values()),
        again=sum(execution.attempt > 1 for execution in found.executions),
        read=len(stage.ledger.whole),
        unread=stage.unread,
        waits=cluster.waits,
        quiet=quiet,
        violations=broken,
        folder=stage.folder if broken else None,
        seconds=time.monotonic() - began,
    )


async def _loaded(cluster: Cluster, faults: int, go_on: Callable[[], bool]) -> Counter[str]:
    """Let customers ask while the faults happen, and for a moment more."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(cluster.load())
        try:
            return await strike(cluster, faults, go_on)
        finally:
            cluster.open = False


async def _quiet(cluster: Cluster) -> float:
    """Let all work end at the very nodes that are left, and stop these; tell how long it took."""
    began, stage = time.monotonic(), cluster.stage
    place = stage.place
    if not await until(lambda: evidence.unfinished(place) == 0, _QUIET_SECONDS):
        left = evidence.unfinished(place)
        stage.complaints.append(
            f"{left} jobs still run or wait after {_QUIET_SECONDS:g} s of quiet"
        )
    quiet = time.monotonic() - began
    await cluster.revive()
    for node in cluster.nodes:
        await node.stop()
    return quiet


def _broken(cluster: Cluster, found: Evidence) -> list[str]:
    stage = cluster.stage
    return [*stage.complaints, *map(str, violations(stage.ledger, found, stage.terms))]


def _keep(stage: Stage, found: Evidence, broken: Sequence[str]) -> None:
    """Keep what explains what was wrong."""
    if broken:
        stage.ledger.write(stage.folder / "ledger.json")
        stories = (
            f"{each.job}\n  {each.attempts}\n  {each.events}\n" for each in stories_of(found)
        )
        (stage.folder / "jobs").write_text("".join(stories))
        (stage.folder / "violations").write_text("\n".join(broken) + "\n")
    else:
        shutil.rmtree(stage.folder)
