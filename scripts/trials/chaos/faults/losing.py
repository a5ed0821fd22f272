"""The store's files are taken away from under the server, or others are put in their place."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from trials.chaos.faults.killing import MOST_ANSWERS
from trials.chaos.stage import Stage

_FILES: Final = ("", "-wal", "-shm")
_FOREIGN: Final = b"of somebody else\n"


@asynccontextmanager
async def losses(stage: Stage) -> AsyncIterator[None]:
    """Take one of the files away under load, and put it back when the server has gone."""
    for _ in range(stage.lives // 2):
        async with stage.life() as life:
            await stage.load(life, stage.chance.randint(1, MOST_ANSWERS))
            name = "jobs.db" + stage.chance.choice(_FILES)
            with _taken(stage, stage.store.with_name(name)):
                await stage.load(life, stage.chance.randint(1, MOST_ANSWERS))
                if stage.chance.getrandbits(1) and (code := await life.stop()):
                    stage.complaints.append(f"without {name} the server ended with {code}")
                life.kill()
                await life.ended()
    yield


@contextmanager
def _taken(stage: Stage, file: Path) -> Iterator[None]:
    """Take a file away while the context lasts; there may be another one in its place."""
    aside = file.with_name("aside")
    replaced = bool(stage.chance.getrandbits(1))
    if replaced:
        aside.write_bytes(_FOREIGN)
        _exchange(file, aside)
    else:
        file.rename(aside)
    try:
        yield
    finally:
        if replaced and not (file.exists() and file.read_bytes() == _FOREIGN):
            stage.complaints.append(f"{file.name} belonged to somebody else, and was changed")
        aside.replace(file)


def _exchange(one: Path, other: Path) -> None:
    """Let two files change places, one after the other."""
    between = one.with_name("between")
    one.rename(between)
    other.rename(one)
    between.rename(other)
