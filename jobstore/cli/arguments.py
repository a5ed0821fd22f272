"""What other users of the machine see of this process's arguments in ``ps``."""

import ctypes
import re
from pathlib import Path
from typing import Final

# A password in the URL of a database, in either of its two places.
_PASSWORD: Final = re.compile(
    rb"(?<=://)[^:/@\0]*:(?P<first>[^@/\0]+)@|[?&](?:ssl)?password=(?P<second>[^&\0]+)"
)
# Where they begin and end in memory, counted from the third field: proc_pid_stat(5).
_BEGIN: Final = 48 - 3
_END: Final = 49 - 3


def hide_passwords() -> None:
    """Overwrite passwords in the arguments that this process was started with.

    They can be seen until then, for as long as Python takes to start. Where the kernel does not say
    where the arguments lie, nothing is done.
    """
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        begin, end = int(fields[_BEGIN]), int(fields[_END])
    except (OSError, IndexError, ValueError):
        return
    if not begin:
        return
    for found in _PASSWORD.finditer(ctypes.string_at(begin, end - begin)):
        start, stop = found.span("first" if found["first"] else "second")
        ctypes.memset(begin + start, ord("x"), stop - start)
