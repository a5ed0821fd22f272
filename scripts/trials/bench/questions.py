"""Questions to a file that a server works on."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

# How long to rest between two looks, in seconds.
_LOOK: Final = 0.002
# How long a server may take to do something by itself.
_PATIENCE: Final = 600.0


def ask(path: Path, question: str) -> float:
    """Ask for a number."""
    with closing(_reading(path)) as connection:
        return float(connection.execute(question).fetchone()[0])


def await_true(path: Path, question: str, patience: float = _PATIENCE) -> float:
    """Wait until a question is answered with yes; return when that was.

    Args:
        patience: how long it may take, in seconds.

    Raises:
        TimeoutError: that takes too long.
    """
    start = time.perf_counter()
    with closing(_reading(path)) as connection:
        while not connection.execute(question).fetchone()[0]:
            time.sleep(_LOOK)
            if time.perf_counter() > start + patience:
                raise TimeoutError(question)
    return time.perf_counter()


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
