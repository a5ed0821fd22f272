"""Long work in bounded steps, between which everybody else has their turn."""

from collections.abc import Awaitable, Callable
from typing import Final

from jobstore.store.writer import Operation, Writer

# How many rows one step may touch.
STEP: Final = 500


async def in_steps(writer: Writer, operation: Operation[int]) -> int:
    """Repeat a bounded operation until it finds nothing to do; return how much it did in all."""
    return await until_none(lambda: writer.run(operation))


async def until_none(step: Callable[[], Awaitable[int]]) -> int:
    """Repeat a step until it does nothing; return how much was done in all."""
    total = 0
    while done := await step():
        total += done
    return total
