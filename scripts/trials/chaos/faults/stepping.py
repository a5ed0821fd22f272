"""The machine's clock is set, backwards and forwards, while the server runs."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from trials.chaos.faults.killing import killer
from trials.chaos.rules import Terms
from trials.chaos.settling import stopped
from trials.chaos.stage import Stage

_STEPS: Final = 4
_ANSWERS: Final = 30
# By how much it is ahead then, in seconds: a leap second, daylight saving time, a wrong year.
_OFFSETS: Final = (-1.0, 1.0, -3600.0, 3600.0, -86400.0, 86400.0, -86400.0 * 366, 0.0)


@asynccontextmanager
async def steps(stage: Stage) -> AsyncIterator[None]:
    """Set the clock under load; end each life by a kill or by a signal."""
    stage.terms = Terms(stepped=True)
    for _ in range(stage.lives // 3):
        life = await stage.start()
        for _ in range(_STEPS):
            await stage.load(life, stage.chance.randint(1, _ANSWERS))
            stage.clock.step_to(stage.chance.choice(_OFFSETS))
        if stage.chance.getrandbits(1):
            await stopped(stage, life)
        else:
            await stage.load(life, 1, killer(stage, life))
            stage.totals.kills += 1
    yield
