"""Many rows, a few at a time: the event loop does other work in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TypeVar

T = TypeVar("T")


async def slices(rows: Sequence[T], size: int) -> AsyncIterator[Sequence[T]]:
    """Yield parts of rows, in order; other tasks run after each of them.

    Args:
        size: how many rows each part has, except the last one.
    """
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
        await asyncio.sleep(0)
