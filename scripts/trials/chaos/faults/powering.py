"""The power is cut: file and WAL as they were at one moment are all that is left."""

import copy
import os
import shutil
import signal
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from trials.chaos import evidence
from trials.chaos.ledger import Ledger
from trials.chaos.lives import Life
from trials.chaos.rules import RULES, Terms, violations
from trials.chaos.settling import settled, until
from trials.chaos.stage import Stage

_MOMENTS: Final = 3
_ANSWERS: Final = 60
_TRUNCATIONS: Final = 4
_STOP_SECONDS: Final = 60.0
# https://www.sqlite.org/fileformat2.html#the_write_ahead_log
_WAL_HEADER: Final = 32
_FRAME: Final = 24 + 4096
_SALTS: Final = slice(16, 24)
# How many frames have been moved into the file, or are about to: WalCkptInfo in SQLite's wal.c. The
# WAL was synced before the first of them was, so that no power cut can take these from it.
_BACKFILL_ATTEMPTED: Final = 128
# What is true of a store whose last transactions are lost.
_SOUND: Final = ("timelines are legal", "counters equal counts", "the file is sound")
_LOST: Final = "no acknowledged job is lost"


@dataclass(frozen=True, slots=True)
class _Moment:
    """What is left of a store at one moment, and what had been answered until then.

    Args:
        stage: a stage on a copy.
        wal: the size of its WAL.
        moved: how much of that cannot be lost, since it has been moved into the file.
        salts: what tells this WAL from the ones that were in its file before.
        ledger: what had been answered.
    """

    stage: Stage
    wal: int
    moved: int
    salts: bytes
    ledger: Ledger


@asynccontextmanager
async def power_cuts(stage: Stage) -> AsyncIterator[None]:
    """Copy the store of a server that stands still, and open it; again with less of its WAL."""
    stage.settings["JOBSTORE_RETENTION__INTERVAL"] = "1h"  # so that the WAL grows
    for life_number in range(stage.lives // 6):
        moments: list[_Moment] = []
        async with stage.life() as life:
            for number in range(_MOMENTS):
                await stage.load(life, stage.chance.randint(1, _ANSWERS))
                folder = stage.folder / f"power-{life_number}-{number}"
                moments.append(await _frozen(life, partial(_copied, stage, folder)))
        _truncate_all(stage, moments)
        await _go_on(stage, moments[-1])
    yield


async def _frozen(life: Life, act: Callable[[], _Moment]) -> _Moment:
    """Do something while the server stands still."""
    os.kill(life.pid, signal.SIGSTOP)
    try:
        await until(lambda: _stands_still(life.pid), _STOP_SECONDS)
        return act()
    finally:
        os.kill(life.pid, signal.SIGCONT)


def _stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    return all(each.read_text().rpartition(")")[2].split()[0] == "T" for each in threads)


def _copied(stage: Stage, folder: Path) -> _Moment:
    folder.mkdir()
    wal = stage.store.with_name("jobs.db-wal")
    for file in (stage.store, wal, stage.record):
        if file.exists():
            shutil.copy(file, folder)
    index = stage.store.with_name("jobs.db-shm").read_bytes()
    (moved,) = struct.unpack_from("=I", index, _BACKFILL_ATTEMPTED)
    left = (folder / wal.name).read_bytes()
    return _Moment(
        stage=Stage(stage.seed, folder, ledger=copy.deepcopy(stage.ledger)),
        wal=len(left),
        moved=_WAL_HEADER + moved * _FRAME,
        salts=left[_SALTS],
        ledger=copy.deepcopy(stage.ledger),
    )


def _truncate_all(stage: Stage, moments: list[_Moment]) -> None:
    """See that each copy is sound however little of its WAL is left.

    What had been answered before an earlier moment has to be there, if as much of the WAL is left
    as there was at that moment.
    """
    for number, moment in enumerate(moments):
        earlier = [each for each in moments[:number] if each.salts == moment.salts]
        for _ in range(_TRUNCATIONS):
            least = stage.chance.choice([moment.moved, *(each.wal for each in earlier)])
            least = max(least, moment.moved)  # more may have been moved since that moment
            if least < moment.wal:
                size = stage.chance.randrange(least, moment.wal)
                _truncate(stage, moment, size, [each for each in earlier if each.wal <= size])


def _truncate(stage: Stage, moment: _Moment, size: int, earlier: list[_Moment]) -> None:
    """Cut a copy's WAL to so many bytes, and hold the copy against what has to be left."""
    stage.totals.powercuts += 1
    store = _shortened(moment.stage, size)
    found = evidence.gathered(store, {})
    complaints = [
        f"{name}: {what}" for name in _SOUND for what in RULES[name](Ledger(), found, Terms())
    ]
    complaints += [what for each in earlier for what in RULES[_LOST](each.ledger, found, Terms())]
    stage.complaints += [
        f"with {size} of {moment.wal} bytes of the WAL: {what}" for what in complaints
    ]
    shutil.rmtree(store.parent)


def _shortened(stage: Stage, size: int) -> Path:
    """Copy a copy, with less of its WAL."""
    folder = stage.folder / "shorter"
    folder.mkdir()
    store = Path(shutil.copy(stage.store, folder))
    wal = stage.store.with_name("jobs.db-wal").read_bytes()
    store.with_name("jobs.db-wal").write_bytes(wal[:size])
    return store


async def _go_on(stage: Stage, moment: _Moment) -> None:
    """Start a server on a copy, and hold it against what had been answered until then."""
    stage.totals.powercuts += 1
    other = moment.stage
    found = violations(other.ledger, await settled(other), other.terms)
    stage.complaints += [f"after a power cut: {each}" for each in (*other.complaints, *found)]
