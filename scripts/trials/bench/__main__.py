"""Measure jobstore, side by side with the least that an HTTP server can do, and with its peers.

Only ratios count, since machines differ and drift: the rounds of what a ratio is made of are
interleaved. The servers' processor time for one operation is what other work disturbs least.

Peers are measured where they are installed: pip install '.[peers]', redis-server, PostgreSQL.
To look at what was found: compare A.json B.json, or table A.json.
"""

import argparse
import multiprocessing
import shlex
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Final

from trials.bench import (
    backlog,
    bodies,
    calls,
    dashboards,
    growth,
    memory,
    nodes,
    pages,
    rates,
    report,
    upgrades,
    upkeep,
    words,
)
from trials.bench.figures import Row
from trials.bench.peers import rows as peers
from trials.bench.plan import Plan
from trials.bench.report import Report

_PARTS: Final = (
    rates,
    dashboards,
    growth,
    backlog,
    upkeep,
    bodies,
    memory,
    calls,
    upgrades,
    nodes,
    pages,
    peers,
)
_KEYS: Final = tuple(key for part in _PARTS for key in part.KEYS)
# What is measured unless rows are named: pages need a store of five million jobs, made first.
_USUAL: Final = tuple(key for key in _KEYS if key not in pages.KEYS)


def main(arguments: Sequence[str]) -> None:
    """Do what the arguments ask for."""
    match arguments:
        case ["compare", one, other]:
            print(*words.comparison(Report.read(Path(one)), Report.read(Path(other))), sep="\n")
        case ["table", one]:
            print(*words.table(Report.read(Path(one))), sep="\n")
        case _:
            _run(_options(arguments), shlex.join(["scripts/bench", *arguments]))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    named = f"{', '.join(_KEYS)}; all but {', '.join(pages.KEYS)} unless named"
    add("--rows", nargs="+", choices=_KEYS, default=_USUAL, metavar="ROW", help=named)
    add("--rounds", type=int, default=5, help="of each row, after one that warms up (%(default)s)")
    add("--seconds", type=float, default=1.0, help="length of a round of a rate (%(default)s)")
    add("--connections", type=int, nargs="+", default=[1, 16, 64], help="at the same time")
    add("--growth", type=int, nargs="+", default=[0, 100_000, 1_000_000], help="jobs in the file")
    add("--scale", type=float, default=1.0, help="of numbers of jobs, and of the large body")
    add("--folder", type=Path, help="on the disk to measure; else a temporary one")
    add("--json", type=Path, default=Path("bench-latest.json"), help="written to (%(default)s)")
    return parser.parse_args(arguments)


def _run(options: argparse.Namespace, command: str) -> None:
    date = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as folder,
        # Not a fork: it shall have nothing of this process.
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as driving,
    ):
        plan = Plan(
            rows=frozenset(options.rows),
            rounds=options.rounds,
            seconds=options.seconds,
            scale=options.scale,
            connections=options.connections,
            growth=options.growth,
            folder=Path(folder),
            driving=driving,
        )
        rows: list[Row] = []
        found = Report(report.machine(plan.folder), date, command, rows)
        for row in _measured(plan):
            rows.append(row)
            found.write(options.json)  # a run that is broken off has found something, too
            print(words.line(row), flush=True)
        found.write(options.json)  # also if there was nothing to find
    print(f"written to {options.json}")


def _measured(plan: Plan) -> Iterator[Row]:
    for part in _PARTS:
        measure: Callable[[Plan], Iterator[Row]] = part.rows
        yield from measure(plan)


if __name__ == "__main__":
    main(sys.argv[1:])
