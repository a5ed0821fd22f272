"""The disk fails to sync, once, for a while, or for good; the server is killed meanwhile or not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from trials import disk
from trials.chaos.faults.killing import MOST_ANSWERS, killer
from trials.chaos.stage import Stage

_MOST_SPARED: Final = 40
_FOR_GOOD: Final = 10**9
_FAILING: Final = (1, 1, 1, 2, 3, 5, 20, _FOR_GOOD)


@asynccontextmanager
async def failures(stage: Stage) -> AsyncIterator[None]:
    """Let syncs of the WAL fail under load, and kill the server right then or later."""
    plans = disk.Plans(stage.folder / "faults")
    stage.settings[disk.PLANS] = str(plans.folder)
    failed = 0
    for _ in range(stage.lives // 2):
        async with stage.life() as life:
            await stage.load(life, stage.chance.randint(1, MOST_ANSWERS))
            plans.fail_syncs(stage.chance.randrange(_MOST_SPARED), stage.chance.choice(_FAILING))
            await stage.load(life, stage.chance.randint(1, MOST_ANSWERS))
            if stage.chance.getrandbits(1):
                plans.heal()
            await stage.load(life, stage.chance.randint(1, MOST_ANSWERS), killer(stage, life))
        failed += plans.failed("syncs")
        plans.heal()
    if not failed:
        print(f"no sync has failed: {disk.MISSING}")
    yield
