"""Turns: a limited number at a time, fairly shared between sources."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """Admit a limited number at a time; waiting sources take turns.

    Args:
        slots: how many at a time.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, source: str) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the context lasts."""
        await self._enter(source)
        try:
            yield
        finally:
            self._pass_on()

    async def _enter(self, source: str) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, deque()).append(place)
        try:
            await place
        except asyncio.CancelledError:
            if not place.cancelled():  # it was given the turn in the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            source, places = self._waiting.popitem(last=False)
            place = places.popleft()
            if places:
                self._waiting[source] = places  # behind all others
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
