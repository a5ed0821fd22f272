"""What a soak came to, as JSON and as a table for people."""

import json
import os
import platform
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from trials.soak.sampling import Sample
from trials.soak.tally import Tally
from trials.soak.verdict import MIB, Finding, dialects, judge

_COLUMNS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a soak came to.

    Args:
        machine: where it ran.
        date: when, in ISO 8601.
        command: how it was started.
        warm_up: how long it took to become steady, in seconds.
        samples: what was seen.
        tally: what the clients saw.
    """

    machine: str
    date: str
    command: str
    warm_up: float
    samples: Sequence[Sample]
    tally: Tally

    @property
    def steady(self) -> Sequence[Sample]:
        """What was seen after the warm-up; all, if the server has not lasted as long as that."""
        return [each for each in self.samples if each.seconds > self.warm_up] or self.samples

    @property
    def findings(self) -> list[Finding]:
        """What is flat and what is not."""
        return judge(self.steady)


def machine() -> str:
    """Describe this machine and what the server is made of."""
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, {versions}"


def write_json(report: Report, path: Path) -> None:
    """Write everything down for programs."""
    tally = report.tally
    document = {
        "machine": report.machine,
        "date": report.date,
        "command": report.command,
        "warm_up_seconds": report.warm_up,
        "findings": [{**asdict(each), "flat": each.flat} for each in report.findings],
        "done": dict(sorted(tally.done.items())),
        "broken": dict(sorted(tally.broken.items())),
        "left_out": dict(sorted(tally.left_out.items())),
        "complaints": tally.complaints,
        "samples": [asdict(each) for each in report.samples],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def write_table(report: Report, path: Path) -> None:
    """Write down for people what it was like at the beginning, on the way and at the end."""
    steady = report.steady
    shown = [steady[round(at * (len(steady) - 1) / (_COLUMNS - 1))] for at in range(_COLUMNS)]
    lines = [
        f"{report.machine}; {report.date}; `{report.command}`",
        "",
        _row("minute", [f"{each.seconds / 60:.1f}" for each in shown]),
        _row("---", ["---:"] * len(shown)),
        *(_row(name, [value(each) for each in shown]) for name, value in _measured(steady)),
        "",
        "| after the warm-up | found | at most | |",
        "|---|---:|---:|---|",
        *(_verdict(finding) for finding in report.findings),
        "",
        _work(report),
        *(f"* {complaint}" for complaint in report.tally.complaints),
    ]
    path.write_text("\n".join(lines) + "\n")


def _work(report: Report) -> str:
    tally = report.tally
    return (
        f"Done: {sum(tally.done.values()):,} pieces of work of {len(tally.done)} kinds, by a "
        f"server that used {_share(report.steady)} % of a processor; broken: "
        f"{sum(tally.broken.values()):,}; left out: {sum(tally.left_out.values()):,}."
    )


def _measured(samples: Sequence[Sample]) -> list[tuple[str, Callable[[Sample], str]]]:
    return [
        ("memory, MiB", lambda each: _mib(each.memory)),
        ("file, MiB", lambda each: _mib(each.file)),
        ("WAL, MiB", lambda each: _mib(each.wal)),
        ("descriptors", lambda each: str(each.descriptors)),
        *((f"{name}, p50 / p99 ms", _latency_of(name)) for name in dialects(samples)),
    ]


def _latency_of(dialect: str) -> Callable[[Sample], str]:
    def written(sample: Sample) -> str:
        found = sample.dialects.get(dialect)
        return f"{found.p50:.1f} / {found.p99:.1f}" if found else ""

    return written


def _verdict(finding: Finding) -> str:
    unit = f" {finding.unit}" if finding.unit else ""
    found, bound = f"{finding.value:.1f}{unit}", f"{finding.bound:.1f}{unit}"
    return f"| {finding.name} | {found} | {bound} | {'flat' if finding.flat else '**not flat**'} |"


def _row(name: str, cells: Sequence[Any]) -> str:
    return f"| {' | '.join([name, *cells])} |"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f}"


def _share(samples: Sequence[Sample]) -> int:
    return round(100 * median(each.server_cpu for each in samples))
