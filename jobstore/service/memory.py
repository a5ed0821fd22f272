"""When memory is given back: that of garbage to Python, and that of large blocks to the system.

Objects that refer to each other do not go away by themselves: once nobody needs them, they are
garbage until a collection finds them. It looks through all objects of a generation and of the
younger ones. A command has tens of thousands that are no garbage, and a job makes hardly any that
is. But asyncio makes some for each connection that ends, and each error may hold on to what its
functions worked on.

glibc gives large blocks back as soon as they are free, and keeps the others for what comes next. It
counts fewer and fewer as large, though: those larger than any that was freed before, up to 32 MiB.
"""

import atexit
import gc
from contextlib import suppress
from typing import Final

# After how many objects more the youngest are looked through, after how many such collections the
# next generation is, and after how many of those the oldest.
_LOADING: Final = (10_000, 20, 50)
_SERVING: Final = (5_000, 10, 10)
# https://www.gnu.org/software/libc/manual/html_node/Malloc-Tunable-Parameters.html
_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
# From which size on blocks are large, in bytes: more than the 256 KiB into which asyncio receives,
# which would else come from the system, and go back to it, with each request.
_LARGE: Final = 512 * 1024
# How much is kept at the end of the heap.
_KEPT: Final = 4 * 1024 * 1024


def while_loading() -> None:
    """Look seldom at long-lived objects, and not at all before the interpreter ends.

    Loading makes tens of thousands of objects, and hardly any of them is garbage. To look through
    them, time and again while they come and once more before the interpreter ends, was measured as
    a fifth of what a short command takes.
    """
    gc.set_threshold(*_LOADING)
    atexit.register(gc.freeze)


def while_serving() -> None:
    """Never look again at the objects that are there now, and more often at those to come.

    To scan the former again and again was measured as a sixth of a job's whole cost. Of the latter,
    what lived for long before it became garbage, such as a connection, is freed in time: else a
    server grew by 2 MiB a minute for a quarter of an hour.
    """
    gc.collect(0)  # what is older has been looked through while it was loaded
    gc.freeze()
    gc.set_threshold(*_SERVING)
    _give_large_blocks_back()


def _give_large_blocks_back() -> None:
    """Have the same blocks count as large for ever, where the C library is glibc."""
    with suppress(ImportError, AttributeError, OSError):  # some Pythons are built without it
        import ctypes  # noqa: PLC0415 - no short command needs it

        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE)
        mallopt(_TRIM_THRESHOLD, _KEPT)
