"""Put a real server through faults, and hold its store against what its clients were told."""

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from itertools import cycle, islice
from pathlib import Path
from random import SystemRandom
from typing import Any, Final

from trials.chaos.chance import LARGEST_SEED, seeds
from trials.chaos.faults import FAULTS
from trials.chaos.nodes import command as nodes
from trials.chaos.rounds import Verdict, play
from trials.chaos.stage import LIVES, Totals
from trials.nursery import open_nursery

_TOTALS: Final = """\
kills                        {kills}
servers asked to stop        {stops}
connections cut              {cuts}
copies after a power cut     {powercuts}
submissions acknowledged     {jobs}
bodies read to the end       {read}
taken, unread                {unread}
rounds                       {rounds}
seconds                      {seconds:.0f}
violations                   {broken}"""


def main() -> None:
    """Play rounds, or put nodes through faults; the exit code is 1 if a rule was broken."""
    if any(each.startswith("--nodes") for each in sys.argv):
        nodes.main(sys.argv[1:])
    options = _options()
    seed = SystemRandom().randrange(LARGEST_SEED) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    open_nursery("trials.chaos.rounds", "trials.chaos.worker")
    verdicts = asyncio.run(_rounds(seed, options))
    totals = summed(verdicts)
    print(_TOTALS.format(**totals, broken=len(totals["violations"])))
    if options.json:
        options.json.write_text(json.dumps({"seed": seed, **totals}, indent=1))
    sys.exit(1 if totals["violations"] else 0)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--nodes", type=int, metavar="N", help="see `scripts/chaos --nodes 3 -h`")
    parser.add_argument("--seed", type=int, help="repeat a round, or many, that printed this")
    parser.add_argument("--rounds", type=int, help="how many; without end but for --seconds")
    parser.add_argument("--seconds", type=float, help="begin no round after so many seconds")
    parser.add_argument("--lives", type=int, default=LIVES, help="in a round; %(default)s")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS), metavar="F")
    parser.add_argument("--json", type=Path, help="write the totals into this file")
    options = parser.parse_args()
    if options.rounds is None and options.seconds is None:
        options.rounds = len(options.faults)
    return options


async def _rounds(seed: int, options: argparse.Namespace) -> list[Verdict]:
    began, verdicts = time.monotonic(), []
    for each, fault in islice(zip(seeds(seed), cycle(options.faults)), options.rounds):
        if options.seconds is not None and time.monotonic() - began > options.seconds:
            break
        verdict = await play(each, fault, options.lives)
        verdicts.append(verdict)
        _tell(verdict, options.lives)
    return verdicts


def _tell(verdict: Verdict, lives: int) -> None:
    print(verdict, flush=True)
    for violation in verdict.violations:
        print(f"    {violation}", flush=True)
    if verdict.folder:
        rounds = f"--rounds 1 --lives {lives} --faults {verdict.fault}"
        again = f"scripts/chaos --seed {verdict.seed} {rounds}"
        print(f"    all of it is in {verdict.folder}; again: {again}", flush=True)


def summed(verdicts: Sequence[Verdict]) -> dict[str, Any]:
    """Add up how rounds went."""
    parts = {
        each.name: sum(getattr(verdict.totals, each.name) for verdict in verdicts)
        for each in fields(Totals)
    }
    return {
        **parts,
        "jobs": sum(verdict.jobs for verdict in verdicts),
        "read": sum(verdict.read for verdict in verdicts),
        "unread": sum(verdict.unread for verdict in verdicts),
        "rounds": dict(Counter(verdict.fault for verdict in verdicts)),
        "seconds": sum(verdict.seconds for verdict in verdicts),
        "violations": [each for verdict in verdicts for each in verdict.violations],
    }


if __name__ == "__main__":
    main()
