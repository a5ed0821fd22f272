"""When Python looks for garbage; `jobstore.service.heap` is about what the C library keeps.

Objects that refer to each other do not go away by themselves: once nobody needs them, they are
garbage until a collection finds them. It looks through all objects of a generation and of the
younger ones. A command has tens of thousands that are no garbage, and a job makes hardly any that
is. But asyncio makes some for each connection that ends, and each error may hold on to what its
functions worked on.
"""

import atexit
import gc
from typing import Final

# The three thresholds of `gc.set_threshold`: how many new objects there are before a collection of
# the youngest generation, how many of those before one of the next, and of these before one of all.
_WORKING: Final = (10_000, 20, 50)
_SERVING: Final = (5_000, 10, 10)


def while_loading() -> None:
    """Look for no garbage until all is loaded, nor before the interpreter ends.

    Loading makes tens of thousands of objects, and hardly any of them is garbage. To look through
    them, time and again while they come and once more before the interpreter ends, was measured as
    a fifth of what a short command takes.
    """
    gc.disable()
    atexit.register(gc.freeze)


def once_loaded() -> None:
    """Look for garbage from now on, seldom, and never among what a command has loaded.

    In a process that has looked for garbage meanwhile, such as that of a test, nothing changes.
    """
    if gc.isenabled():
        return
    gc.freeze()
    gc.set_threshold(*_WORKING)
    gc.enable()


def while_serving() -> None:
    """Never look again at the objects that are there now, and more often at those to come.

    To scan the former again and again was measured as a sixth of a job's whole cost. Of the latter,
    what lived for long before it became garbage, such as a connection, is freed in time: else a
    server grew by 2 MiB a minute for a quarter of an hour.
    """
    gc.collect(0)  # what is older was looked through, or has been loaded
    gc.freeze()
    gc.set_threshold(*_SERVING)
