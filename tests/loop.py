"""Turns of the event loop, for tests of what happens, or does not, before anything else does."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

# More than a request needs for its way through a server, and back.
_TURNS: Final = 200


async def turns(number: int) -> None:
    """Let everything else go on for so many turns of the loop."""
    for _ in range(number):
        await asyncio.sleep(0)


class HeldClock:
    """The monotonic clock of this process, which can be held, and then goes on where it was moved.

    While it is held, no timer of the loop comes due, however busy the machine is.
    """

    def __init__(self) -> None:
        self._real = time.monotonic
        self._ahead = 0.0
        self._held: float | None = None

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self._real() + self._ahead if self._held is None else self._held

    def skip(self, seconds: float) -> None:
        """Move it, as if the loop had been held up for so long."""
        self._ahead += seconds
        if self._held is not None:
            self._held += seconds

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it while the context lasts."""
        self._held = self()
        try:
            yield
        finally:
            self._ahead, self._held = self._held - self._real(), None

    async def until(self, done: asyncio.Future[Any], step: float = 0.1) -> float:
        """Move it until something is done, and tell by how many seconds.

        Args:
            step: by how much at a time; what is due then gets all the turns that it needs.
        """
        assert self._held is not None
        began = self._held
        await turns(_TURNS)
        while not done.done():
            self._held += step
            await turns(_TURNS)
        return self._held - began
