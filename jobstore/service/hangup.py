"""SIGHUP: remembered while the process starts, and handled afterwards."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # it takes longer to load than a process that starts may be without this
    from asyncio import AbstractEventLoop


class EarlyHangup:
    """A handler that only remembers that SIGHUP came."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, _: int, __: object) -> None:
        """Remember it."""
        self.came = True


def remember_hangup() -> None:
    """Keep SIGHUP from ending the process, and remember it for `on_hangup`."""
    signal.signal(signal.SIGHUP, EarlyHangup())


@contextmanager
def on_hangup(loop: "AbstractEventLoop", call: Callable[[], None]) -> Iterator[None]:
    """Call a function at each SIGHUP while the context lasts, and now if one has come already."""
    before = signal.getsignal(signal.SIGHUP)
    loop.add_signal_handler(signal.SIGHUP, call)
    if isinstance(before, EarlyHangup) and before.came:
        call()
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        signal.signal(signal.SIGHUP, before)
