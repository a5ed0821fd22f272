"""Who may read a store's files."""

import logging
from pathlib import Path
from stat import S_IMODE
from typing import Final

from jobstore.store.sqlite.names import beside

_OTHERS: Final = 0o007
_LOGS: Final = ("-wal", "-shm", "-journal", ".lock")

log = logging.getLogger(__name__)


def keep_private(path: Path) -> None:
    """Make a store private that everybody may read, as earlier versions created it.

    If only a group may read it, it is left alone: somebody chose that.
    """
    mode = S_IMODE(path.stat().st_mode)
    if not mode & _OTHERS:
        return
    try:
        path.chmod(0o600)
        for log_file in filter(_is_file, (beside(path, ending) for ending in _LOGS)):
            log_file.chmod(0o600)
    except OSError as error:
        log.warning(
            "%s: everybody can read it (mode %o), and that could not be changed (%s)",
            path,
            mode,
            error.strerror,
        )
    else:
        log.warning("%s: everybody could read it (mode %o); now only its owner can", path, mode)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()
