"""The server is asked to stop, under load."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from trials.chaos.settling import stopped
from trials.chaos.stage import Stage

_MOST_ANSWERS: Final = 60


@asynccontextmanager
async def stops(stage: Stage) -> AsyncIterator[None]:
    """Send it SIGTERM while customers go on asking."""
    for _ in range(stage.lives // 2):
        life = await stage.start()
        await stage.load(life, stage.chance.randint(1, _MOST_ANSWERS), life.process.terminate)
        await stopped(stage, life)
    yield
