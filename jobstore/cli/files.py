"""New files that appear whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from jobstore.store.new_file import check_destination, new_file


@contextmanager
def export_file(path: Path, store: Path | None, *, replace: bool) -> Iterator[IO[bytes]]:
    """Yield a file that gets its name if the context ends well; only its owner may read it.

    Args:
        store: the store, which it must not replace, if it is a file.
        replace: whether it may replace another file.

    Raises:
        StoreError: its name is taken, it cannot be written, or there is no such folder.
    """
    check_destination(path, store, replace=replace)
    with new_file(path, "export") as partial, partial.open("r+b") as file:
        yield file
