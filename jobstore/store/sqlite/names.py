"""The names under which a store's files are."""

import os
import re
from pathlib import Path


def beside(path: Path, ending: str) -> Path:
    """Name a file that belongs to a store, where SQLite puts its own: beside the real file."""
    real = Path(os.path.realpath(path))
    return real.with_name(real.name + ending)


def lock_file(path: Path) -> Path:
    """Name the file that tells people the owner's pid."""
    return beside(path, ".lock")


def is_mounted(path: Path) -> bool:
    """Tell whether a file is a mount point; proc(5) describes where that stands."""
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes()
    except OSError:
        return False
    real = os.fsencode(os.path.realpath(path))
    escaped = re.sub(rb"[\\ \t\n]", lambda found: b"\\%03o" % ord(found[0]), real)
    return any(line.split()[4] == escaped for line in mounts.splitlines())
