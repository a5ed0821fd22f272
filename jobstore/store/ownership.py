"""Who owns a file that root makes beside a store: whoever owns the store, as with SQLite's logs."""

import os
from contextlib import suppress


def give(descriptor: int, like: os.stat_result) -> None:
    """Give a file that root has made to the owner of another one, who has to open it later.

    Root without the right to do so, as in some containers, keeps it.
    """
    if os.geteuid() == 0:
        with suppress(PermissionError):
            os.fchown(descriptor, like.st_uid, like.st_gid)
