"""Whether a store's files are still where they were when it was opened.

SQLite goes on using the files that it has open, whatever happens to their names: after ``rm``,
``mv`` or ``cp`` over them, everything that a server acknowledges would be gone at its next start.
So the writer compares device and inode of all three files before and after each transaction.
"""

import os
from pathlib import Path
from typing import Final

from jobstore.model.errors import StoreReplaced
from jobstore.store.sqlite.names import beside

# The identity of a name that leads to no file.
_NONE: Final = (-1, -1)


class Presence:
    """The files of a store that is open, as they are now.

    Args:
        path: the store; its WAL must be open already, so that all of its files exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        names = [str(path.absolute()), *(str(beside(path, end)) for end in ("-wal", "-shm"))]
        self._known = [(name, *_identity(name)) for name in names]

    def require(self) -> None:
        """Ensure that each name still leads to the file that it led to.

        Raises:
            StoreReplaced: one of them does not.
        """
        for name, device, inode in self._known:
            try:
                found = os.stat(name)  # noqa: PTH116 - it is asked for with each transaction
            except OSError:
                found = None
            if found is None or found.st_ino != inode or found.st_dev != device:
                raise StoreReplaced(self.path, _problem(name, removed=found is None))

    @property
    def replaced(self) -> bool:
        """Whether other files stand in the place of the WAL or of its index."""
        return any(
            _identity(name) not in {(device, inode), _NONE}
            for name, device, inode in self._known[1:]
        )


def _identity(name: str) -> tuple[int, int]:
    try:
        found = Path(name).stat()
    except OSError:
        return _NONE
    return found.st_dev, found.st_ino


def _problem(name: str, *, removed: bool) -> str:
    what = "was removed" if removed else "was replaced by another file"
    return f"{Path(name).name} {what}"
