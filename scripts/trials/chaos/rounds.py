"""Rounds: a fault, a seed, and a verdict."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trials.chaos.faults import FAULTS
from trials.chaos.lives import NotStartedError
from trials.chaos.rules import violations
from trials.chaos.settling import settled
from trials.chaos.stage import LIVES, Stage, Totals


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a round went.

    Args:
        seed: repeats it.
        fault: its name.
        totals: what it was made of.
        jobs: how many jobs were acknowledged.
        read: how many results were read to their end.
        unread: how many were marked as taken before anybody had read them.
        violations: what was wrong, a sentence each.
        folder: where ledger and store are kept, if anything was wrong.
        seconds: how long it took.
    """

    seed: int
    fault: str
    totals: Totals
    jobs: int
    read: int
    unread: int
    violations: Sequence[str]
    folder: Path | None
    seconds: float

    def __str__(self) -> str:
        totals = self.totals
        verdict = f"{len(self.violations)} VIOLATIONS" if self.violations else "clean"
        return (
            f"seed {self.seed:10}  {self.fault:9} kills {totals.kills:3}  stops {totals.stops:2}"
            f"  cuts {totals.cuts:3}  jobs {self.jobs:4}  bodies read {self.read:4}"
            f"  taken, unread {self.unread:2}  {self.seconds:4.1f} s  {verdict}"
        )


async def play(seed: int, fault: str, lives: int = LIVES) -> Verdict:
    """Play a round; the same seed and fault make the same choices.

    Args:
        seed: what decides.
        fault: the name of what happens to the server.
        lives: of how many servers it is the end, more or less.
    """
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix=f"chaos-{fault}-"))
    stage = Stage(seed, folder, lives)
    found = await _played(stage, fault)
    if found:
        stage.ledger.write(folder / "ledger.json")
        (folder / "violations").write_text("\n".join(found) + "\n")
    else:
        shutil.rmtree(folder)
    return Verdict(
        seed=seed,
        fault=fault,
        totals=stage.totals,
        jobs=len(stage.ledger.accepted) + len(stage.ledger.unnamed),
        read=len(stage.ledger.whole),
        unread=stage.unread,
        violations=found,
        folder=folder if found else None,
        seconds=time.monotonic() - began,
    )


async def _played(stage: Stage, fault: str) -> list[str]:
    try:
        async with FAULTS[fault](stage):
            evidence = await settled(stage)
    except NotStartedError as error:
        return [*stage.complaints, f"the server did not start, but ended with {error}"]
    found = violations(stage.ledger, evidence, stage.terms)
    return [*stage.complaints, *map(str, found)]
