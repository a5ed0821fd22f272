"""The signals that ask a server to stop, and the end of the process whatever still runs in it."""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, NoReturn

# How long what the application has left behind may take to end, once it is cancelled.
LEFTOVER_SECONDS: Final = 1.0
# For how long the loop may not have come to a signal before the next one ends the process.
UNHEARD_SECONDS: Final = 1.0
_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


@contextmanager
def on_stop(stop: Callable[[], None]) -> Iterator[None]:
    """Call a function on the loop at the first signal to stop, and at each further one.

    A handler may block the loop, so that the call never happens. Then the next signal, after a
    moment, ends the process at once.
    """
    loop = asyncio.get_running_loop()
    since: float | None = None

    def taken() -> None:
        nonlocal since
        since = None
        stop()

    def received(number: int, _: object) -> None:
        nonlocal since
        now = time.monotonic()
        if since is None:
            since = now
            loop.call_soon_threadsafe(taken)
        elif now - since > UNHEARD_SECONDS:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    before = {number: signal.signal(number, received) for number in _STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def cancelled() -> int:
    """Cancel all tasks that the application has left behind; return how many do not end.

    Its handlers and its cleanup have had their time already.
    """
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    if not left:
        return 0
    _, stubborn = await asyncio.wait(left, timeout=LEFTOVER_SECONDS)
    return len(stubborn)


def end_within(seconds: float, code: int) -> None:
    """End the process if it has not ended by itself in so many seconds.

    Python waits for threads without a limit, such as one that a handler started.
    """

    def end() -> None:
        log.warning(
            "the application has threads or tasks that do not end; the server stops without "
            "waiting for them",
            extra={"action": "stop"},
        )
        end_now(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def end_now(code: int) -> NoReturn:
    """End the process, whatever is still running; the store is closed already."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
