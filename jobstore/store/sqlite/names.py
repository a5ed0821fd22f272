"""The names under which a store's files are."""

import os
import re
from pathlib import Path


def beside(path: Path, ending: str) -> Path:
    """Return the path of a file that belongs to a store, beside the real file like SQLite's own."""
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + ending)


def lock_file(path: Path) -> Path:
    """Return the path of the file that shows people the owner's pid."""
    return beside(path, ".lock")


def is_mounted(path: Path) -> bool:
    """Return whether a file is a mount point, from the table described in proc(5)."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    real = os.fsencode(os.path.realpath(path))
    escaped = re.sub(rb"[\\ \t\n]", lambda found: b"\\%03o" % ord(found[0]), real)
    return any(line.split()[4] == escaped for line in mounts.splitlines())
