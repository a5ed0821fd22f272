"""Work at a steady rate: each kind has a bucket of its own, which a new token drops into."""

import asyncio
from collections.abc import Iterable
from typing import Final

from trials.soak.tally import Tally
from trials.soak.visitor import PATIENCE, Work

# So many of one kind go on at once at most; what would be more is left out, and counted.
MOST_AT_ONCE: Final = 20


class Load:
    """Work that goes on until it is stopped.

    Args:
        tally: where it is put down.
        rate: by how much all rates are multiplied.
    """

    def __init__(self, tally: Tally, rate: float = 1.0) -> None:
        self._tally = tally
        self._rate = rate
        self._pacing: list[asyncio.Task[None]] = []
        self._going_on: set[asyncio.Task[None]] = set()

    def begin(self, works: Iterable[Work]) -> None:
        """Begin with some kinds of work, one after the other in the first second."""
        listed = list(works)
        for number, work in enumerate(listed):
            pace = self._pace(work, number / len(listed))
            self._pacing.append(asyncio.create_task(pace))

    async def end(self) -> None:
        """Begin no further work, and wait until what goes on has ended."""
        for each in self._pacing:
            each.cancel()
        await asyncio.wait(self._pacing)
        if self._going_on:
            _, stuck = await asyncio.wait(self._going_on, timeout=2 * PATIENCE)
            for each in stuck:
                self._tally.broke(each.get_name(), "never ended")
                each.cancel()

    async def _pace(self, work: Work, delay: float) -> None:
        loop, running = asyncio.get_running_loop(), set[asyncio.Task[None]]()
        at = loop.time() + delay
        while True:
            await asyncio.sleep(at - loop.time())
            if len(running) < MOST_AT_ONCE:
                self._start(work, running)
            else:
                self._tally.left_out[work.kind] += 1
            at += 1 / (work.rate * self._rate)

    def _start(self, work: Work, running: set[asyncio.Task[None]]) -> None:
        task = asyncio.create_task(self._do(work), name=work.kind)
        for tasks in (running, self._going_on):
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    async def _do(self, work: Work) -> None:
        try:
            await work.story()
        except Exception as error:  # noqa: BLE001 - whatever a client stumbles over is put down
            self._tally.broke(work.kind, f"{type(error).__name__} {error}")
        else:
            self._tally.done[work.kind] += 1
