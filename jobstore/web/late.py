"""Load a module late: in a running server, for the first client that needs it.

The server may have no file descriptor left at that moment, and some packages can never be loaded
again after a failed attempt. So a server keeps a few in reserve: it normally allows itself fewer
than the system does, and all of them while it loads. Loading happens on the event loop, which
accepts no connection meanwhile.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final

# Python opens one or two at a time; threads may open some meanwhile.
_RESERVE: Final = 8


@contextmanager
def reserve() -> Iterator[None]:
    """Keep descriptors for loading while the context lasts."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    with _limited(soft if hard == RLIM_INFINITY else min(soft, hard - _RESERVE)):
        yield


def load(module: str) -> None:
    """Load a module, unless it is loaded already."""
    if module in sys.modules:
        return
    soft, hard = getrlimit(RLIMIT_NOFILE)
    with _limited(soft if hard == RLIM_INFINITY else min(soft + _RESERVE, hard)):
        import_module(module)


@contextmanager
def _limited(descriptors: int) -> Iterator[None]:
    """Allow so many descriptors while the context lasts."""
    soft, hard = getrlimit(RLIMIT_NOFILE)
    setrlimit(RLIMIT_NOFILE, (descriptors, hard))
    try:
        yield
    finally:
        setrlimit(RLIMIT_NOFILE, (soft, hard))
