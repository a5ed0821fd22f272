"""What the kernel knows of a process: proc(5)."""

import os
import re
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> int:
    """Tell how much memory a process has just now, in bytes."""
    return _kib(pid, "VmRSS") * 1024


def peak_memory(pid: int) -> int:
    """Tell how much memory a process has had at most, in bytes."""
    return _kib(pid, "VmHWM") * 1024


def descriptors(pid: int) -> int:
    """Count what a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid: int) -> float:
    """Tell how much processor time a process has used, in its own and in the kernel's code."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _kib(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found, f"no {name} of process {pid}"
    return int(found[1])
