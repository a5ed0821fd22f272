"""What a run has found, in a file, and what it ran on."""

import json
import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Self

from trials.bench.figures import Row

_SYNCS: Final = 200


@dataclass(frozen=True, slots=True)
class Report:
    """All of a run.

    Args:
        machine: what it ran on.
        date: when it began, in UTC.
        command: how to repeat it.
        rows: what it has found.
    """

    machine: Mapping[str, Any]
    date: str
    command: str
    rows: Sequence[Row]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what was written."""
        values = json.loads(path.read_text())
        rows = [Row.from_json(row) for row in values.pop("rows")]
        return cls(**values, rows=rows)

    def write(self, path: Path) -> None:
        """Write all of it to a file."""
        values = {
            "machine": self.machine,
            "date": self.date,
            "command": self.command,
            "rows": [row.as_json() for row in self.rows],
        }
        path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def machine(folder: Path) -> dict[str, Any]:
    """Describe the machine, and how long its disk takes to sync."""
    return {
        "model": _model(),
        "cpus": len(os.sched_getaffinity(0)),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "aiohttp": version("aiohttp"),
        "fsync_p50_ms": round(_sync_p50(folder / "synced"), 3),
    }


def _model() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _sync_p50(path: Path) -> float:
    """Measure how long it takes to sync a page of a file, in milliseconds."""
    took = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            start = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - start)
    path.unlink()
    return statistics.median(took) * 1000
