"""The server is killed: at any moment, at commits, and while it recovers from being killed."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from typing import Final

from trials.chaos.client import Ask, BrokenError, Client
from trials.chaos.customers import Customer
from trials.chaos.ledger import Sent
from trials.chaos.lives import Life
from trials.chaos.rules import Terms
from trials.chaos.stage import Stage
from trials.chaos.submissions import Submission
from trials.doomed import Doom, When

MOST_ANSWERS: Final = 60  # that are seen before a kill
# A life that its doom does not end is ended after so many answers.
LONGEST: Final = 400
_COMMIT: Final = "COMMIT"
_MOST_COMMITS: Final = 40
_COMMITS_OF_A_START: Final = 8
# What purging, expiring, forgetting and sweeping consist of.
_CLEANING: Final = r"(?s)DELETE|UPDATE body|UPDATE job SET[^(]*'expired'"
_MOST_CLEANINGS: Final = 300
# Numbers that no customer gives, for jobs whose results are large.
_DELIVERED: Final = 10**9
_LARGE: Final = 3 * 1024 * 1024


@asynccontextmanager
async def kills(stage: Stage) -> AsyncIterator[None]:
    """Kill it when some answers have been seen, and a moment has passed."""
    for _ in range(stage.lives):
        async with stage.life() as life:
            await stage.load(life, stage.chance.randint(1, MOST_ANSWERS), killer(stage, life))
    yield


@asynccontextmanager
async def commits(stage: Stage) -> AsyncIterator[None]:
    """Kill it just before, during and right after a commit."""
    for _ in range(stage.lives):
        await stage.doomed(doom(stage.chance, _COMMIT, _MOST_COMMITS), LONGEST)
    yield


@asynccontextmanager
async def deliveries(stage: Stage) -> AsyncIterator[None]:
    """Kill it half-way through the delivery of a large body."""
    for number in range(stage.lives // 2):
        async with stage.life() as life:
            load = asyncio.create_task(stage.load(life, LONGEST, life.kill))
            try:
                await _deliver_half(stage, life, number)
            except BrokenError:  # it was asked for too much meanwhile
                pass
            finally:
                life.kill()
                await load
    yield


async def _deliver_half(stage: Stage, life: Life, number: int) -> None:
    """Read some of a large result that nobody else asks for, and kill the server."""
    sent = Sent(method="PUT", path=f"/echo?n={_DELIVERED + number}", size=_LARGE)
    submission = Submission(
        "store", sent, Ask("PUT", sent.path, {"x-arango-async": "store"}, sent.body)
    )
    reader, client = Customer(stage.seed, -1, stage.ledger, stage.work), Client(life.url)
    try:
        job_id = await reader.have_done(client, submission)
        await reader.begin_to_read(client, job_id, stage.chance.randrange(_LARGE))
        life.kill()
    finally:
        client.close(reset=True)


@asynccontextmanager
async def recoveries(stage: Stage) -> AsyncIterator[None]:
    """Kill it again and again at the first commits after its start."""
    for _ in range(stage.lives // 4):
        async with stage.life() as life:
            await stage.load(life, MOST_ANSWERS, killer(stage, life))
        for _ in range(3):
            await stage.doomed(doom(stage.chance, _COMMIT, _COMMITS_OF_A_START), LONGEST)
    yield


@asynccontextmanager
async def upkeep(stage: Stage) -> AsyncIterator[None]:
    """Kill it while it purges, expires, forgets and sweeps."""
    stage.terms = Terms(forgetting=True)
    stage.settings |= {
        "JOBSTORE_RETENTION__FETCHED": "0s",
        "JOBSTORE_RETENTION__HISTORY": "500ms",
        "JOBSTORE_RETENTION__INTERVAL": "10ms",
    }
    for _ in range(stage.lives):
        await stage.doomed(doom(stage.chance, _CLEANING, _MOST_CLEANINGS), LONGEST)
    yield


def killer(stage: Stage, life: Life) -> Callable[[], None]:
    """Return what kills a server, some microseconds later."""
    microseconds = stage.chance.randrange(1000)

    def kill() -> None:
        time.sleep(microseconds / 1e6)
        life.kill()

    return kill


def doom(chance: Random, statement: str, most: int) -> Doom:
    """Choose a moment at one of the first so many statements of a kind."""
    when = chance.choice(list(When))
    return Doom(when, statement, chance.randint(1, most), chance.randrange(2000))
