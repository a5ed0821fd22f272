"""Put nodes on one PostgreSQL through faults, and hold it against what their clients were told."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from trials.chaos.chance import LARGEST_SEED
from trials.chaos.nodes.trial import Outcome, play
from trials.chaos.nodes.waits import Limits
from trials.nursery import open_nursery

_TOTALS: Final = """\
nodes                        {nodes}
faults                       {faults}
submissions acknowledged     {jobs}
jobs in the end              {ended}
interrupted, not sent again  {interrupted}
attempts after the first     {again}
bodies read to the end       {read}
taken, unread                {unread}
answers                      {answers}
  waited, s                  p50 {p50:.3f}, p99 {p99:.3f}, longest {longest:.3f}
told that it is away         {refusals}
  waited, s                  p50 {refused_p50:.3f}, longest {refused_longest:.3f}
quiet after, s               {quiet:.1f}
seconds                      {seconds:.0f}
violations                   {broken}"""


def main(arguments: Sequence[str]) -> None:
    """Do a trial; the exit code is 1 if a rule was broken."""
    options = _options(arguments)
    seed = SystemRandom().randrange(LARGEST_SEED) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    open_nursery("trials.chaos.nodes.trial", "jobstore.live.joining")
    began = time.monotonic()

    def go_on() -> bool:
        return options.seconds is None or time.monotonic() - began < options.seconds

    limits = Limits(options.longest, options.away)
    outcome = asyncio.run(play(seed, options.nodes, options.faults, go_on, limits))
    totals = figures(outcome)
    print(_TOTALS.format(**totals, broken=len(outcome.violations)))
    for told in totals["slowest"]:
        print(f"    {told}")
    for violation in outcome.violations:
        print(f"    {violation}")
    if outcome.folder:
        print(f"    all of it is in {outcome.folder}")
    if options.json:
        options.json.write_text(json.dumps({"seed": seed, **totals}, indent=1))
    sys.exit(1 if outcome.violations else 0)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True, help="how many")
    parser.add_argument("--store", choices=["postgresql"], required=True, help="what they share")
    parser.add_argument("--seed", type=int, help="make the choices of a trial that printed this")
    parser.add_argument("--faults", type=int, default=200, help="how many; %(default)s")
    parser.add_argument("--seconds", type=float, help="begin no fault after so many seconds")
    parser.add_argument(
        "--longest",
        type=float,
        default=Limits().answered,
        help="how many seconds a client may wait for an answer; %(default)s",
    )
    parser.add_argument(
        "--away",
        type=float,
        default=Limits().away,
        help="how many seconds it may wait to be told that the database is away; %(default)s",
    )
    parser.add_argument("--json", type=Path, help="write the totals into this file")
    return parser.parse_args(arguments)


def figures(outcome: Outcome) -> dict[str, Any]:
    """Say how a trial went, in plain values."""
    waits = outcome.waits
    seconds = [wait.seconds for wait in waits.all]
    refused = [wait.seconds for wait in waits.all if wait.away]
    return {
        "nodes": outcome.nodes,
        "faults": dict(sorted(outcome.faults.items())),
        "jobs": outcome.jobs,
        "ended": dict(sorted(outcome.ended.items())),
        "interrupted": outcome.interrupted,
        "again": outcome.again,
        "read": outcome.read,
        "unread": outcome.unread,
        "answers": len(seconds),
        "p50": _percentile(seconds, 0.5),
        "p99": _percentile(seconds, 0.99),
        "longest": max(seconds, default=0.0),
        "slowest": [waits.told(wait) for wait in waits.longest],
        "refusals": len(refused),
        "refused_p50": _percentile(refused, 0.5),
        "refused_longest": max(refused, default=0.0),
        "quiet": outcome.quiet,
        "seconds": outcome.seconds,
        "violations": list(outcome.violations),
    }


def _percentile(numbers: Sequence[float], part: float) -> float:
    return sorted(numbers)[int(part * (len(numbers) - 1))] if numbers else 0.0
