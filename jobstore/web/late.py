"""Load a module late: in a running server, for the first client that needs it.

What takes long is loaded beside the event loop, so that nobody waits but who needs it. Python's
lock changes hands more often meanwhile: the loop gives it up with each statement in the store, and
each time would wait 5 ms to get it back. Measured, with one submission after the other: the loop is
held up by 190 ms if it loads the templates itself, by 83 if they are loaded beside it, and by 7
with shorter waits.

The server may have no file descriptor left at that moment, and some packages can never be loaded
again after a failed attempt. So a server keeps a few in reserve: it normally allows itself fewer
than the system does, and all of them while it loads. If few are left, it loads on the event loop,
which accepts no connection meanwhile: beside it, those that come could take the reserve as well.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from threading import Lock
from typing import Final

# Python opens one or two at a time; threads may open some meanwhile.
_RESERVE: Final = 8
# More than the connections that are accepted while something is loaded beside the loop.
_PLENTY: Final = 512
# How long a thread that wants Python's lock waits for it while something is loaded, in seconds.
_SHORT: Final = 0.0001

_guard: Final = Lock()
_loaded: Final[set[str]] = set()


@contextmanager
def reserve() -> Iterator[None]:
    """Keep descriptors for loading while the context lasts."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    with _limited(soft if hard == RLIM_INFINITY else min(soft, hard - _RESERVE)):
        yield


def load(*modules: str) -> None:
    """Load modules, unless they are loaded already."""
    if _loaded.issuperset(modules):
        return
    with _guard:
        _load(modules)


async def loaded(*modules: str) -> None:
    """Load modules as `load` does, without holding up the event loop if that can be."""
    if _loaded.issuperset(modules):
        return
    if _many_are_left():
        await asyncio.to_thread(_load_beside, modules)
    else:
        load(*modules)


def _load_beside(modules: Sequence[str]) -> None:
    """Load modules in a thread of its own, which leaves Python's lock to the event loop."""
    with _guard:
        interval = sys.getswitchinterval()
        sys.setswitchinterval(min(interval, _SHORT))
        try:
            _load(modules)
        finally:
            sys.setswitchinterval(interval)


def _load(modules: Sequence[str]) -> None:
    soft, hard = getrlimit(RLIMIT_NOFILE)
    with _limited(soft if hard == RLIM_INFINITY else min(soft + _RESERVE, hard)):
        for module in modules:
            import_module(module)
    _loaded.update(modules)


def _many_are_left() -> bool:
    """Return whether there are many descriptors left: a new one has the lowest free number."""
    soft, _ = getrlimit(RLIMIT_NOFILE)
    try:
        descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(descriptor)
    return soft == RLIM_INFINITY or descriptor + _PLENTY < soft


@contextmanager
def _limited(descriptors: int) -> Iterator[None]:
    """Allow so many descriptors while the context lasts."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_NOFILE, (soft, hard))
