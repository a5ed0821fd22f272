"""The owner of a file that root creates beside a store: the store's own, as with SQLite's logs."""

import os
from contextlib import suppress


def give(descriptor: int, like: os.stat_result) -> None:
    """Change the owner of a file that root created to that of another file.

    Without the right to do so, as in some containers, root remains the owner.
    """
    if os.geteuid() == 0:
        with suppress(PermissionError):
            os.fchown(descriptor, like.st_uid, like.st_gid)
