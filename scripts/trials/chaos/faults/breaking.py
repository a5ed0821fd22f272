"""Connections break, on both sides of the server; its upstream hangs, breaks off and lies."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from trials import services
from trials.chaos.faults.killing import MOST_ANSWERS, killer
from trials.chaos.proxy import Proxy, listening
from trials.chaos.rules import Terms
from trials.chaos.settling import Resources, calm
from trials.chaos.stage import Stage
from trials.chaos.submissions import echo_work
from trials.chaos.upstream import Upstream, lying_work

_ANSWERS: Final = 300
_LIED: Final = 250


@asynccontextmanager
async def cuts(stage: Stage) -> AsyncIterator[None]:
    """Cut connections at random offsets: those of the clients, and those to the upstream.

    The first lives end by a kill; the last one has to let go of all that was cut.
    """
    stage.terms = Terms(over_sockets=True, cut=True)
    stage.work = echo_work
    below, above = Proxy(stage.seed, "below"), Proxy(stage.seed, "above")
    async with (
        services.listening(Upstream(stage.witnessed).talk) as above.server,
        listening(above),
        listening(below),
    ):
        stage.target = ("--upstream", above.url)
        for _ in range(stage.lives // 3):
            async with stage.life() as life:
                below.server = life.url
                answers, kill = stage.chance.randint(1, MOST_ANSWERS), killer(stage, life)
                await stage.load(life, answers, kill, below.url)
        life = await stage.start()
        resources, below.server = Resources(life), life.url
        await stage.load(life, _ANSWERS, url=below.url)
        above.cutting = False
        await calm(stage, life, resources)
        stage.totals.cuts += below.cuts + above.cuts
        yield


@asynccontextmanager
async def lies(stage: Stage) -> AsyncIterator[None]:
    """Put it before an upstream that does what no service should."""
    stage.terms = Terms(over_sockets=True)
    stage.work = lying_work
    stage.settings |= {
        "JOBSTORE_EXECUTOR__TIMEOUT": "500ms",
        "JOBSTORE_EXECUTOR__CONCURRENCY": "16",
        "JOBSTORE_EXECUTOR__RETRIES": str(stage.chance.choice([0, 2])),
        "JOBSTORE_EXECUTOR__RETRY_DELAY": "20ms",
    }
    async with services.listening(Upstream(stage.witnessed).talk) as upstream:
        stage.target = ("--upstream", upstream)
        life = await stage.start()
        resources = Resources(life)
        await stage.load(life, _LIED)
        await calm(stage, life, resources)
        yield
