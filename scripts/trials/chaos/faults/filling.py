"""The disk fills up, and has room again."""

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Final

from trials.chaos.faults.killing import killer
from trials.chaos.lives import NotStartedError
from trials.chaos.stage import Stage

_ANSWERS: Final = 40
_DISK: Final = 192 * 1024 * 1024
_BLOCKS: Final = (1024 * 1024, 4096)
# Kept free until the end, so that the round can be settled.
_RESERVE: Final = 48 * 1024 * 1024


class Disk:
    """A small disk.

    Args:
        folder: where it is.
    """

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"
        self._reserve = folder / "reserve"
        self._reserve.write_bytes(bytes(_RESERVE))

    def fill(self) -> None:
        """Leave no room on it."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in _BLOCKS:
                _fill(filler, size)

    def make_room(self) -> None:
        """Take away what fills it."""
        self._filler.unlink(missing_ok=True)

    def release(self) -> None:
        """Give free what was kept for the end."""
        self.make_room()
        self._reserve.unlink()


def _fill(filler: IO[bytes], size: int) -> None:
    """Write blocks of a size as long as there is room for them."""
    try:
        while filler.write(bytes(size)):
            pass
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@asynccontextmanager
async def fillings(stage: Stage) -> AsyncIterator[None]:
    """Fill the disk under load and make room again; kill the server while there is none.

    Where no disk can be mounted, the file has a bound instead.
    """
    stage.settings["JOBSTORE_RETENTION__FETCHED"] = "0s"
    if not _can_mount():
        async with _bounded(stage):
            yield
        return
    stage.home = Path("disk")
    with _mounted(stage.folder / stage.home) as disk:
        for _ in range(stage.lives // 3):
            await _fill_once(stage, disk)
        disk.release()
        yield


async def _fill_once(stage: Stage, disk: Disk) -> None:
    async with stage.life() as life:
        await stage.load(life, _answers(stage))
        disk.fill()
        await stage.load(life, _answers(stage))
        disk.make_room()
        await stage.load(life, _answers(stage))
        disk.fill()
        await stage.load(life, _answers(stage), killer(stage, life))
    await _start_without_room(stage)
    disk.make_room()


async def _start_without_room(stage: Stage) -> None:
    """Start the server on a full disk; it may well refuse."""
    try:
        life = await stage.start()
    except NotStartedError:
        return
    await stage.load(life, _answers(stage))
    life.kill()
    await life.ended()
    stage.totals.kills += 1


@asynccontextmanager
async def _bounded(stage: Stage) -> AsyncIterator[None]:
    print("no disk can be mounted here: [store] max_size is set instead")
    stage.settings["JOBSTORE_STORE__MAX_SIZE"] = "6MiB"
    for _ in range(stage.lives // 3):
        async with stage.life() as life:
            await stage.load(life, 4 * _ANSWERS, killer(stage, life))
    del stage.settings["JOBSTORE_STORE__MAX_SIZE"]
    yield


def _answers(stage: Stage) -> int:
    return stage.chance.randint(1, _ANSWERS)


@contextmanager
def _mounted(folder: Path) -> Iterator[Disk]:
    """Mount a disk while the context lasts."""
    folder.mkdir()
    subprocess.run(_mounting(folder), check=True)
    try:
        yield Disk(folder)
    finally:
        kept = folder.with_name("kept")
        kept.mkdir()
        for file in folder.glob("jobs.db*"):
            shutil.copy(file, kept)
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S607 - wherever it is


def _can_mount() -> bool:
    """Try it in a mount namespace that goes away at once."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    probe = ["unshare", "--mount", *_mounting(Path(tempfile.gettempdir()))]
    return subprocess.run(probe, check=False, capture_output=True).returncode == 0


def _mounting(folder: Path) -> list[str]:
    return ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(folder)]
