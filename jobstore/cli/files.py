"""New files: whole or not there at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobstore.cli.plain import Complaint


@contextmanager
def new_file(path: Path, store: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """Give a file that gets its name if the context ends well; only its owner may read it.

    Args:
        path: its name.
        store: the store, which it must not replace.
        replace: whether it may replace another file.

    Raises:
        Complaint: its name is taken, or there is no such folder.
    """
    _check(path, store, replace=replace)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _check(path: Path, store: Path, *, replace: bool) -> None:
    if not path.parent.is_dir():
        raise Complaint(f"{path}: its folder does not exist")
    if not path.exists():
        return
    if store.exists() and path.samefile(store):
        raise Complaint(f"{path}: this is the store itself; name another file")
    if not path.is_file():
        raise Complaint(f"{path}: this is not a file")
    if not replace:
        raise Complaint(f"{path}: the file exists; --force replaces it")
