"""Purge a store beside its server, or without one, and make its file as small as it can be."""

import asyncio
from pathlib import Path

from jobstore.live.opening import shared_store
from jobstore.model.errors import StoreInUse
from jobstore.model.frozen import frozen
from jobstore.store.sqlite import engine as sqlite
from jobstore.store.sqlite import pages
from jobstore.store.sqlite.lock import held, owned
from jobstore.store.sqlite.translation import translated
from jobstore.store.steps import ALONE


@frozen(kw_only=True)
class Purged:
    """What was purged.

    Args:
        payloads: the number of jobs whose payloads were deleted.
        given_back: by how many bytes the file shrank; None if its server does that.
    """

    payloads: int
    given_back: int | None = None


async def purge(path: Path, before: int, *, rebuild: bool = False) -> Purged:
    """Delete payloads unavailable since before a time, and free their space.

    It may be interrupted at any time: each step happens completely or not at all.

    Args:
        path: an existing store of this schema version.
        before: microseconds since 1970.
        rebuild: whether to rewrite the whole file.

    Raises:
        StoreInUse: it should be rewritten, but a server owns it.
        StoreError: it is missing, foreign, of another version, or damaged.
    """
    with held(path):
        sqlite.require(path)
    try:
        with owned(path):
            size = _size(path)
            payloads = await _purged_alone(path, before)
            if rebuild:
                await _rebuild(path)
            return Purged(payloads=payloads, given_back=max(0, size - _size(path)))
    except StoreInUse:
        if rebuild:
            raise
    async with shared_store(path) as store:
        return Purged(payloads=await store.upkeep.purge(before))


async def _purged_alone(path: Path, before: int) -> int:
    async with shared_store(path, pace=ALONE) as store:
        payloads = await store.upkeep.purge(before)
        await store.upkeep.sweep()  # only a server knows which of the bodies are being received
        await store.file.shrink(wholly=True)
        return payloads


async def _rebuild(path: Path) -> None:
    async with sqlite.writer(path) as connection:
        with translated(path):
            try:
                await connection.call(pages.rebuild)
            except asyncio.CancelledError:
                await connection.interrupt()
                raise


def _size(path: Path) -> int:
    return path.stat().st_size
