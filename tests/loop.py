"""Turns of the event loop, for tests of what happens, or does not, before anything else does."""

import asyncio


async def turns(number: int) -> None:
    """Let everything else go on for so many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)
